package capture_test

import (
	"fmt"
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
	recordertest.Judged(t, func() []string { return crashOnFilm(t, s, page) })
}

// crashOnFilm crashes a tab, starts its page again, and complains of what is not to be seen.
func crashOnFilm(t *testing.T, s *capture.Session, page *recordertest.Page) []string {
	t.Helper()
	startPage(t, s, page.URL+"/barcode?audio=0")

	file, stop := filmOn(t, s, 50_000)
	began := time.Now()
	require.NoError(t, s.CrashTab(within(t)))
	require.ErrorIs(t, s.Wait(within(t, notice), recorder.MarkerEnd), recorder.ErrPageCrashed)
	t.Logf("noticed after %s", time.Since(began))
	assert.NotEmpty(t, s.Diagnose(within(t)).Screenshot)
	t.Logf("diagnosed after %s", time.Since(began))
	startPage(t, s, page.URL+"/barcode?audio=0")
	t.Logf("started after %s", time.Since(began))
	awaitGrowth(t, file, 100_000)
	stop()
	return otherThanTwoLives(t, file)
}

// otherThanTwoLives complains of a film of the barcode page that shows anything but its pictures
// up to an end, and from a new beginning on.
func otherThanTwoLives(t *testing.T, file string) (complaints recordertest.Complaints) {
	t.Helper()
	lives, last := 0, 1<<30
	for i, f := range recordertest.ReadBarcodes(t, file) {
		if f.Counter < 0 {
			complaints.Errorf("frame %d shows something else", i)
			continue
		}
		if f.Counter < last-30 { // a loaded page counts from 0; a grab under load may see a frame twice
			lives++
		}
		last = f.Counter
	}
	assert.Equal(&complaints, 2, lives)
	return complaints
}

func TestPageIsDrawnAtFullRate(t *testing.T) {
	page := recordertest.StartPage(t)
	s := open(t, recorder.SessionSpec{})
	startPage(t, s, page.URL+"/barcode")
	recordertest.Judged(t, func() []string {
		var late recordertest.Complaints
		file := filepath.Join(t.TempDir(), "rate.mkv")
		grab(t, s, "-video_size", "1280x720", "-i", s.Inputs().Display, "-t", "2", "-c:v", "libx264", "-preset", "ultrafast", file)
		frames := recordertest.ReadBarcodes(t, file)
		first, last := frames[0], frames[len(frames)-1]
		rate := float64(last.Counter-first.Counter) / (last.PTS - first.PTS).Seconds()
		t.Logf("%.1f frames per second", rate)
		// 60 on an idle machine; a timer's fallback would give 30 or less.
		assert.Greater(&late, rate, 40.0)
		return late
	})
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
	awaitBeeps(t, s.Inputs())
}

// awaitBeeps listens to a sound server until two beeps were heard.
func awaitBeeps(t *testing.T, in recorder.Inputs) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sound.mka")
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-nostdin", "-loglevel", "error", "-f", "pulse", "-server", in.PulseServer,
		"-i", in.PulseSource, "-c:a", "pcm_s16le", "-flush_packets", "1", "-cluster_time_limit", "100", file)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	stop := startGrab(t, cmd)
	defer stop()
	awaitGrowth(t, file, 100_000) // half a second
	recordertest.AwaitNone(t, patience, func() []string {
		if heard := len(recordertest.BeepOnsets(t, file)); heard < 2 {
			return []string{fmt.Sprintf("silence, but for %d beeps", heard)}
		}
		return nil
	})
}

// startGrab starts a command that records until it is interrupted.
func startGrab(t *testing.T, cmd *exec.Cmd) (stop func()) {
	t.Helper()
	require.NoError(t, cmd.Start())
	return func() {
		require.NoError(t, cmd.Process.Signal(os.Interrupt))
		_ = cmd.Wait() // it says that it was interrupted
	}
}

func TestWebGLWorksWithoutAGPU(t *testing.T) {
	t.Parallel()
	page := recordertest.StartPage(t)
	s := open(t, recorder.SessionSpec{Silent: true})
	startPage(t, s, page.URL+"/webgl")
	assert.Contains(t, consoleOf(t, s), "webgl: WebGL 1")
}
