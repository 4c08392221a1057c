package capture_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/capture"
	"tapedeck/recorder/recordertest"
)

// consoleOf gives the console up to now.
func consoleOf(t *testing.T, s *capture.Session) string {
	t.Helper()
	return strings.Join(s.Diagnose(within(t)).Console, "\n")
}

func TestWhatAPageMayNotDo(t *testing.T) {
	t.Parallel()
	page := recordertest.StartPage(t)
	s := open(t, recorder.SessionSpec{Silent: true})

	t.Run("stop everything with a dialog", func(t *testing.T) {
		startPage(t, s, page.URL+"/alert")
		startPage(t, s, page.URL+"/confirm")
		assert.Contains(t, consoleOf(t, s), "confirm: false")
		startPage(t, s, page.URL+"/beforeunload")
		startPage(t, s, page.URL+"/token")
	})
	t.Run("open a window", func(t *testing.T) {
		startPage(t, s, page.URL+"/popup")
		assert.Contains(t, consoleOf(t, s), "popup: blocked")
	})
	t.Run("download", func(t *testing.T) {
		startPage(t, s, page.URL+"/download")
		found, err := exec.Command("find", s.Dir(), "-name", "big.bin*").Output()
		require.NoError(t, err)
		assert.Empty(t, string(found))
	})
	t.Run("use camera and microphone or notify", func(t *testing.T) {
		startPage(t, s, page.URL+"/permissions")
		console := consoleOf(t, s)
		assert.Contains(t, console, "camera: Not")
		assert.Contains(t, console, "microphone: Not")
		assert.Contains(t, console, "notification: denied")
	})
	t.Run("read files", func(t *testing.T) {
		startPage(t, s, page.URL+"/file")
		console := consoleOf(t, s)
		assert.Contains(t, console, "fetch: blocked")
		assert.Contains(t, console, "still at /file")
		assert.NotContains(t, console, "readable")
	})
}

func TestPageGetsTheWholeScreen(t *testing.T) {
	t.Parallel()
	page := recordertest.StartPage(t)
	for _, size := range []struct {
		width, height int
		name          string
	}{{500, 480, "500x480"}, {1920, 1080, "1920x1080"}} {
		t.Run(size.name, func(t *testing.T) {
			s := open(t, recorder.SessionSpec{Silent: true, Width: size.width, Height: size.height})
			startPage(t, s, page.URL+"/size")
			assert.Contains(t, consoleOf(t, s), "size: "+size.name)
			recordertest.AwaitNone(t, patience, func() []string { return foreignEdges(t, s, size.name, size.width, size.height) })
		})
	}
}

// foreignEdges grabs the display and names the edges that do not have the
// page's background, #224466.
func foreignEdges(t *testing.T, s *capture.Session, size string, width, height int) []string {
	t.Helper()
	pixels := grab(t, s, "-video_size", size, "-i", s.Inputs().Display, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1")
	require.Len(t, pixels, 3*width*height)
	own := func(x, y int) bool {
		at := 3 * (y*width + x)
		return pixels[at] == 0x22 && pixels[at+1] == 0x44 && pixels[at+2] == 0x66
	}
	edges := map[string]bool{}
	for x := range width {
		edges["top"] = edges["top"] || !own(x, 0)
		edges["bottom"] = edges["bottom"] || !own(x, height-1)
	}
	for y := range height {
		edges["left"] = edges["left"] || !own(0, y)
		edges["right"] = edges["right"] || !own(width-1, y)
	}
	var foreign []string
	for name, is := range edges {
		if is {
			foreign = append(foreign, name)
		}
	}
	return foreign
}

// grab runs ffmpeg's x11grab on the session's display.
func grab(t *testing.T, s *capture.Session, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ffmpeg", append(strings.Fields("-nostdin -loglevel error -y -f x11grab -draw_mouse 0 -framerate 60"), args...)...)
	cmd.Env = append(os.Environ(), "XAUTHORITY="+s.Inputs().XAuthority)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	return out
}

// A recording is made of what x11grab sees here. The sad tab must never be in
// it: neither between the crash and the reload nor at the reload.
func TestCrashedTabIsNoticedAndNeverShown(t *testing.T) {
	page := recordertest.StartPage(t)
	s := open(t, recorder.SessionSpec{Silent: true})
	startPage(t, s, page.URL+"/barcode?audio=0")

	file := filepath.Join(t.TempDir(), "crash.ts")
	grabbed := make(chan struct{})
	go func() {
		defer close(grabbed)
		grab(t, s, "-video_size", "1280x720", "-i", s.Inputs().Display, "-t", "6", "-c:v", "libx264", "-preset", "ultrafast",
			"-tune", "zerolatency", "-flush_packets", "1", file)
	}()
	recordertest.AwaitNone(t, patience, func() []string {
		if info, err := os.Stat(file); err == nil && info.Size() > 50_000 {
			return nil
		}
		return []string{"the first frames"}
	})
	began := time.Now()
	require.NoError(t, s.CrashTab(within(t)))
	require.ErrorIs(t, s.Wait(within(t, notice), recorder.MarkerEnd), recorder.ErrPageCrashed)
	t.Logf("noticed after %s", time.Since(began))
	assert.NotEmpty(t, s.Diagnose(within(t)).Screenshot)
	t.Logf("diagnosed after %s", time.Since(began))
	startPage(t, s, page.URL+"/barcode?audio=0")
	t.Logf("started after %s", time.Since(began))
	<-grabbed

	lives, last := 0, 1<<30
	for i, f := range recordertest.ReadBarcodes(t, file) {
		require.GreaterOrEqual(t, f.Counter, 0, "frame %d shows something else", i)
		if f.Counter < last-30 { // a loaded page counts from 0; a grab under load may see a frame twice
			lives++
		}
		last = f.Counter
	}
	assert.Equal(t, 2, lives)
}

func TestPageIsDrawnAtFullRate(t *testing.T) {
	page := recordertest.StartPage(t)
	s := open(t, recorder.SessionSpec{})
	startPage(t, s, page.URL+"/barcode")
	file := filepath.Join(t.TempDir(), "rate.mkv")
	grab(t, s, "-video_size", "1280x720", "-i", s.Inputs().Display, "-t", "3", "-c:v", "libx264", "-preset", "ultrafast", file)
	frames := recordertest.ReadBarcodes(t, file)
	first, last := frames[0], frames[len(frames)-1]
	rate := float64(last.Counter-first.Counter) / (last.PTS - first.PTS).Seconds()
	t.Logf("%.1f frames per second", rate)
	// 60 on an idle machine; a timer's fallback would give 30 or less.
	assert.Greater(t, rate, 40.0)
}

func TestOthersCannotLookAtTheDisplay(t *testing.T) {
	t.Parallel()
	s := open(t, recorder.SessionSpec{Silent: true})
	conn, err := net.Dial("unix", "/tmp/.X11-unix/X"+strings.TrimPrefix(s.Inputs().Display, ":"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte{'l', 0, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	require.NoError(t, err)
	answer := make([]byte, 8)
	_, err = conn.Read(answer)
	require.NoError(t, err)
	assert.Zero(t, answer[0], "a client without the cookie is refused")
	for _, path := range []string{s.Dir(), s.Inputs().XAuthority} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.Zero(t, info.Mode().Perm()&0o077, path)
	}
}

func TestPlayedSoundArrives(t *testing.T) {
	t.Parallel()
	page := recordertest.StartPage(t)
	s := open(t, recorder.SessionSpec{})
	startPage(t, s, page.URL+"/barcode")
	file := filepath.Join(t.TempDir(), "sound.wav")
	in := s.Inputs()
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-nostdin", "-loglevel", "error", "-f", "pulse", "-server", in.PulseServer,
		"-i", in.PulseSource, "-t", "3", file)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.GreaterOrEqual(t, len(recordertest.BeepOnsets(t, file)), 2)
}

func TestWebGLWorksWithoutAGPU(t *testing.T) {
	t.Parallel()
	page := recordertest.StartPage(t)
	s := open(t, recorder.SessionSpec{Silent: true})
	startPage(t, s, page.URL+"/webgl")
	assert.Contains(t, consoleOf(t, s), "webgl: WebGL 1")
}
