package capture_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/capture"
	"tapedeck/recorder/recordertest"
)

var _ recorder.Reviver = (*capture.Session)(nil)

// died requires the death of one of a session's processes, and gives which.
func died(t *testing.T, err error) recorder.EndReason {
	t.Helper()
	require.ErrorIs(t, err, recorder.ErrSessionDied)
	var why recorder.Died
	require.True(t, errors.As(err, &why), "%v", err)
	return recorder.EndReason(why)
}

// A recording is made of what x11grab sees here: the page, its last picture while
// there is no browser, and the page again.
func TestBrowserIsRevivedBehindItsLastPicture(t *testing.T) {
	page := recordertest.StartPage(t)
	s := open(t, recorder.SessionSpec{})
	recordertest.Judged(t, func() []string { return reviveOnFilm(t, s, page) })
}

// reviveOnFilm kills the browser, revives it, and complains of what is not to be seen.
func reviveOnFilm(t *testing.T, s *capture.Session, page *recordertest.Page) []string {
	t.Helper()
	startPage(t, s, page.URL+"/barcode")
	first := s.Pids()
	strays := recordertest.Processes(t, s.Dir())
	in := s.Inputs()

	file, stop := filmOn(t, s, 50_000)
	began := time.Now()
	require.NoError(t, syscall.Kill(first["Chrome"], syscall.SIGKILL))
	assert.Equal(t, recorder.EndBrowserDied, died(t, s.Wait(within(t, notice), recorder.MarkerEnd)))
	t.Logf("noticed after %s", time.Since(began))
	require.NoError(t, s.Revive(within(t)))
	t.Logf("revived after %s", time.Since(began))
	require.ErrorIs(t, s.Wait(within(t, 100*time.Millisecond), recorder.MarkerStart), context.DeadlineExceeded, "its marker is forgotten")
	startPage(t, s, page.URL+"/barcode")
	t.Logf("started after %s", time.Since(began))
	awaitGrowth(t, file, 100_000)
	stop()

	second := s.Pids()
	assert.Equal(t, in, s.Inputs())
	assert.Equal(t, []int{first["Xvfb"], first["PulseAudio"]}, []int{second["Xvfb"], second["PulseAudio"]})
	assert.NotEqual(t, first["Chrome"], second["Chrome"])
	for _, p := range recordertest.Living(strays)() {
		assert.Contains(t, []int{first["Xvfb"], first["PulseAudio"]}, p.PID, "of the first browser: %s", p)
	}
	return otherThanTwoLives(t, file)
}

// filmOn grabs the display from when it returns, which is when there are so many bytes, until stop.
func filmOn(t *testing.T, s *capture.Session, begun int64) (file string, stop func()) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "film.ts")
	cmd := exec.CommandContext(t.Context(), "ffmpeg", strings.Fields("-nostdin -loglevel error -y -f x11grab -draw_mouse 0 -framerate 60"+
		" -video_size 1280x720 -i "+s.Inputs().Display+" -c:v libx264 -preset ultrafast -tune zerolatency -flush_packets 1 "+file)...)
	cmd.Env = append(os.Environ(), "XAUTHORITY="+s.Inputs().XAuthority)
	stop = startGrab(t, cmd)
	awaitGrowth(t, file, begun)
	return file, stop
}

// awaitGrowth waits until a file is longer than now by so many bytes.
func awaitGrowth(t *testing.T, file string, by int64) {
	t.Helper()
	size := func() int64 {
		info, err := os.Stat(file)
		if err != nil {
			return 0
		}
		return info.Size()
	}
	from := size()
	recordertest.AwaitNone(t, patience, func() []string {
		if size() >= from+by {
			return nil
		}
		return []string{"the next frames"}
	})
}

func TestRevivedBrowserIsAsGoodAsNew(t *testing.T) {
	t.Parallel()
	page := recordertest.StartPage(t)
	s := open(t, recorder.SessionSpec{Silent: true, Width: 640, Height: 480})
	for range 2 {
		startPage(t, s, page.URL+"/size")
		assert.Contains(t, consoleOf(t, s), "size: 640x480")
		require.NoError(t, syscall.Kill(s.Pids()["Chrome"], syscall.SIGKILL))
		require.Equal(t, recorder.EndBrowserDied, died(t, s.Wait(within(t, notice), recorder.MarkerEnd)))
		require.ErrorIs(t, s.Navigate(within(t), page.URL), recorder.ErrSessionDied)
		require.NoError(t, s.Revive(within(t)))
		assert.Empty(t, s.Note(recorder.MarkerEnd))
	}
	startPage(t, s, page.URL+"/close?after=100")
	require.ErrorIs(t, s.Wait(within(t), recorder.MarkerEnd), recorder.ErrPageClosed)
}
