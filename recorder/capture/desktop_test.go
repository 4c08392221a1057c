package capture_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"tapedeck/recorder"
	"tapedeck/recorder/capture"
	"tapedeck/recorder/recordertest"
)

// startDesktop plays a user's desktop: its display is guarded by a cookie, and
// it has a sound server.
func startDesktop(t *testing.T, width, height int) *capture.Session {
	t.Helper()
	desktop := open(t, recorder.SessionSpec{Width: width, Height: height})
	in := desktop.Inputs()
	t.Setenv("DISPLAY", in.Display)
	t.Setenv("XAUTHORITY", in.XAuthority)
	t.Setenv("WAYLAND_DISPLAY", "")
	t.Setenv("PULSE_SERVER", in.PulseServer)
	return desktop
}

func openVisible(t *testing.T, width, height int) (*capture.Session, error) {
	t.Helper()
	s, err := capture.Open(within(t), recorder.SessionSpec{Width: width, Height: height, Dir: t.TempDir()},
		capture.Options{Log: zaptest.NewLogger(t), Visible: true})
	if err == nil {
		t.Cleanup(func() { assert.NoError(t, s.Close()) })
	}
	return s, err
}

func TestVisibleBrowser(t *testing.T) {
	page := recordertest.StartPage(t)
	desktop := startDesktop(t, 1400, 1000)
	s, err := openVisible(t, 1280, 720)
	require.NoError(t, err)
	startPage(t, s, page.URL+"/size")
	assert.Contains(t, consoleOf(t, s), "size: 1280x720")
	assert.NotEmpty(t, s.Diagnose(within(t)).Screenshot)
	assert.Contains(t, s.Pids(), "Chrome")
	assert.Len(t, s.Pids(), 1, "no display and no sound server of its own")
	assert.NotEqual(t, desktop.Dir(), s.Dir())
	recordertest.AwaitNone(t, patience, func() []string { return misplaced(t, desktop, 1400, 1000, 1280, 720) })

	startPage(t, s, page.URL+"/barcode")
	awaitBeeps(t, desktop.Inputs()) // it plays to the user

	require.NoError(t, syscall.Kill(s.Pids()["Chrome"], syscall.SIGKILL))
	require.ErrorIs(t, s.Wait(within(t), recorder.MarkerEnd), recorder.ErrSessionDied)
	require.NoError(t, s.Revive(within(t)))
	startPage(t, s, page.URL+"/size")
	assert.Equal(t, 2, strings.Count(consoleOf(t, s), "size: 1280x720"), "another browser has the size as well")

	processes := recordertest.Processes(t, s.Dir())
	assert.NotContains(t, recordertest.CommandLines(processes), "kiosk")
	require.NoError(t, s.Close())
	assert.Empty(t, recordertest.Living(processes)())
	assert.NoDirExists(t, s.Dir())
	startPage(t, desktop, page.URL+"/token") // it is untouched
}

// misplaced looks on a desktop for a window of the page's background that is as
// large as it should be.
func misplaced(t *testing.T, desktop *capture.Session, width, height, wantWidth, wantHeight int) []string {
	t.Helper()
	pixels := grab(t, desktop, "-video_size", fmt.Sprintf("%dx%d", width, height), "-i", desktop.Inputs().Display,
		"-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1")
	require.Len(t, pixels, 3*width*height)
	rows, widest := 0, 0
	for y := range height {
		own := 0
		for x := range width {
			at := 3 * (y*width + x)
			if pixels[at] == 0x22 && pixels[at+1] == 0x44 && pixels[at+2] == 0x66 {
				own++
			}
		}
		if own > width/2 {
			rows++
		}
		widest = max(widest, own)
	}
	if rows == wantHeight && widest == wantWidth {
		return nil
	}
	return []string{fmt.Sprintf("a page of %dx%d, not %dx%d", widest, rows, wantWidth, wantHeight)}
}

func TestUserClosesTheWindow(t *testing.T) {
	page := recordertest.StartPage(t)
	desktop := startDesktop(t, 1400, 1000)
	s, err := openVisible(t, 800, 600)
	require.NoError(t, err)
	startPage(t, s, page.URL+"/token")
	require.NoError(t, desktop.CloseTopWindow())
	require.ErrorIs(t, s.Wait(within(t, 2*notice), recorder.MarkerEnd), recorder.ErrPageClosed)
	require.NoError(t, s.Close())
}

func TestPageKeepsItsSizeOnASmallDesktop(t *testing.T) {
	page := recordertest.StartPage(t)
	desktop := startDesktop(t, 1024, 768)
	s, err := openVisible(t, 1920, 1080)
	require.NoError(t, err)
	startPage(t, s, page.URL+"/size")
	assert.Contains(t, consoleOf(t, s), "size: 1920x1080")
	recordertest.AwaitNone(t, patience, func() []string { return misplaced(t, desktop, 1024, 768, 1024, 576) })
}

func TestNoWindowCanBeOpened(t *testing.T) {
	desktop := startDesktop(t, 640, 480)
	expect := func(name string, message ...string) {
		t.Run(name, func(t *testing.T) {
			s, err := openVisible(t, 640, 480)
			assert.Nil(t, s)
			assert.Equal(t, recorder.CodeUnavailable, recorder.CodeOf(err))
			for _, part := range append(message, "--record") {
				assert.ErrorContains(t, err, part)
			}
		})
	}
	t.Setenv("XAUTHORITY", "/no/such/file")
	expect("for want of a cookie", "cannot open a window on the display \""+desktop.Inputs().Display+"\"")
	t.Setenv("DISPLAY", "")
	expect("for want of a display", "no display: neither DISPLAY nor WAYLAND_DISPLAY is set")
}

func TestCookiesOfADisplay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "all")
	xauth := func(args ...string) string {
		out, err := exec.CommandContext(t.Context(), "xauth", append([]string{"-q", "-f"}, args...)...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		return string(out)
	}
	for _, display := range []string{":0", ":1", "10.0.0.7:1", ":10"} {
		xauth(file, "add", display, "MIT-MAGIC-COOKIE-1", "00112233445566778899aabbccddeeff")
	}
	all, err := os.ReadFile(file)
	require.NoError(t, err)
	for display, count := range map[string]int{":0": 1, ":1": 2, ":1.0": 2, "localhost:10.0": 1, ":2": 0} {
		found := filepath.Join(dir, "found")
		require.NoError(t, os.WriteFile(found, capture.CookiesOf(all, display), 0o600))
		assert.Equal(t, count, strings.Count(xauth(found, "list"), "MIT-MAGIC-COOKIE-1"), display)
	}
	assert.Equal(t, all[:len(all)/4], capture.CookiesOf(all[:len(all)/4+5], ":0"), "a file that is cut off")
}
