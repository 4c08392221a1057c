package capture_test

import (
	"context"
	"errors"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"tapedeck/recorder"
	"tapedeck/recorder/capture"
	"tapedeck/recorder/recordertest"
)

var _ recorder.Session = (*capture.Session)(nil)

// patience bounds what a test waits for; notice is what a recorder is promised.
const (
	patience = 30 * time.Second
	notice   = 2 * time.Second
)

func within(t *testing.T, limit ...time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), append(limit, patience)[0])
	t.Cleanup(cancel)
	return ctx
}

func open(t *testing.T, spec recorder.SessionSpec) *capture.Session {
	t.Helper()
	if spec.Width == 0 {
		spec.Width, spec.Height = 1280, 720
	}
	if spec.Dir == "" {
		spec.Dir = t.TempDir()
	}
	s, err := capture.Open(within(t), spec, capture.Options{Log: zaptest.NewLogger(t)})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s
}

// startPage navigates and waits for START_RECORDING.
func startPage(t *testing.T, s *capture.Session, url string) {
	t.Helper()
	require.NoError(t, s.Navigate(within(t), url))
	require.NoError(t, s.Wait(within(t), recorder.MarkerStart))
}

func TestMarkers(t *testing.T) {
	t.Parallel()
	page := recordertest.StartPage(t)
	s := open(t, recorder.SessionSpec{Silent: true})
	for name, path := range map[string]string{
		"log":              "/markers?start=0&end=30",
		"error":            "/markers?start=20&end=30&level=error",
		"debug":            "/markers?start=20&end=30&level=debug",
		"after a redirect": "/redirect?to=/markers?start=1%26end=2",
	} {
		t.Run(name, func(t *testing.T) {
			startPage(t, s, page.URL+path)
			require.NoError(t, s.Wait(within(t), recorder.MarkerEnd))
			require.NoError(t, s.Wait(within(t), recorder.MarkerLoaded))
			require.NoError(t, s.Wait(within(t), recorder.MarkerStart), "markers are remembered")
		})
	}
	for name, path := range map[string]string{"frame": "/iframe", "frame of another site": "/iframe?cross=1"} {
		t.Run(name, func(t *testing.T) { startPage(t, s, page.URL+path) })
	}
	t.Run("of the last page do not count", func(t *testing.T) {
		startPage(t, s, page.URL+"/markers?start=0")
		require.NoError(t, s.Navigate(within(t), page.URL+"/never"))
		require.NoError(t, s.Wait(within(t), recorder.MarkerLoaded))
		cause := errors.New("waited enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, cause)
		defer cancel()
		require.ErrorIs(t, s.Wait(ctx, recorder.MarkerStart), cause)
	})
	t.Run("one that is only part of a text does not count", func(t *testing.T) {
		require.NoError(t, s.Navigate(within(t), page.URL+"/markers"))
		require.NoError(t, s.Wait(within(t), recorder.MarkerLoaded))
		require.ErrorIs(t, s.Wait(within(t, 300*time.Millisecond), recorder.MarkerStart), context.DeadlineExceeded)
	})
}

func TestNoteBesideAMarker(t *testing.T) {
	t.Parallel()
	page := recordertest.StartPage(t)
	s := open(t, recorder.SessionSpec{Silent: true})
	for name, c := range map[string]struct{ path, note string }{
		"a word":                       {"/markers?start=0&end=20&note=room_closed", "room_closed"},
		"blanks around it":             {"/markers?start=0&end=20&note=+room_closed%0a", "room_closed"},
		"none":                         {"/markers?start=0&end=20", ""},
		"the first of two":             {"/markers?start=0&end=20&note=room_empty&note=room_closed", "room_empty"},
		"64 letters":                   {"/markers?start=0&end=20&note=" + strings.Repeat("a", 64), strings.Repeat("a", 64)},
		"65 letters":                   {"/markers?start=0&end=20&note=" + strings.Repeat("a", 65), ""},
		"a sentence":                   {"/markers?start=0&end=20&note=The+room+closed", ""},
		"from a frame":                 {"/iframe?end=70&note=room_empty", "room_empty"},
		"from a frame of another site": {"/iframe?cross=1&end=70&note=recorder_removed", "recorder_removed"},
		"none from a frame":            {"/iframe?cross=1&end=70", ""},
	} {
		t.Run(name, func(t *testing.T) {
			startPage(t, s, page.URL+c.path)
			require.NoError(t, s.Wait(within(t), recorder.MarkerEnd))
			assert.Equal(t, c.note, s.Note(recorder.MarkerEnd))
			assert.Empty(t, s.Note(recorder.MarkerStart))
		})
	}
}

func TestPageThatDoesNotLoad(t *testing.T) {
	t.Parallel()
	page := recordertest.StartPage(t)
	s := open(t, recorder.SessionSpec{Silent: true})
	for name, c := range map[string]struct{ url, message string }{
		"status 503":           {page.URL + "/status/503", "HTTP status 503"},
		"redirect to a 404":    {page.URL + "/redirect?to=/status/404", "HTTP status 404"},
		"redirect to a file":   {page.URL + "/redirect?to=file:///etc/passwd", "net::ERR_UNSAFE_REDIRECT"},
		"nobody listens":       {"http://127.0.0.1:1/?token=secret-token", "net::ERR_"},
		"no such host":         {"http://no-such-host.invalid/", "net::ERR_NAME_NOT_RESOLVED"},
		"a download, no page":  {page.URL + "/attachment", "net::ERR_ABORTED"},
		"certificate unusable": {strings.Replace(page.URL, "http:", "https:", 1), "net::ERR_SSL"},
	} {
		t.Run(name, func(t *testing.T) {
			err := s.Navigate(within(t), c.url)
			assert.Equal(t, recorder.CodePageLoad, recorder.CodeOf(err))
			require.ErrorContains(t, err, c.message)
			require.ErrorContains(t, s.Wait(within(t), recorder.MarkerStart), c.message, "Wait says the same")
			assert.NotContains(t, err.Error(), "secret-token")
		})
	}
	for _, url := range []string{"file:///etc/passwd", "javascript:alert(1)", "chrome://version", "http://", "%", "view-source:http://a"} {
		t.Run("refuses "+url, func(t *testing.T) {
			assert.Equal(t, recorder.CodeInvalid, recorder.CodeOf(s.Navigate(within(t), url)))
		})
	}
	t.Run("server that never answers", func(t *testing.T) {
		cause := errors.New("start timeout")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, cause)
		defer cancel()
		require.ErrorIs(t, s.Navigate(ctx, page.URL+"/silent-server"), cause)
	})
	t.Run("then one that does", func(t *testing.T) { startPage(t, s, page.URL+"/token?a=b") })
}

func TestTemplateError(t *testing.T) {
	t.Parallel()
	page := recordertest.StartPage(t)
	s := open(t, recorder.SessionSpec{Silent: true})
	require.NoError(t, s.Navigate(within(t), page.URL+"/div-error?after=50&text=the+room+is+full"))
	err := s.Wait(within(t, notice), recorder.MarkerStart)
	assert.Equal(t, recorder.CodePageError, recorder.CodeOf(err))
	require.EqualError(t, err, "template error: the room is full")
	require.ErrorIs(t, s.Wait(within(t, 100*time.Millisecond), recorder.MarkerEnd), context.DeadlineExceeded,
		"a recording that runs is not ended by it")
	assert.Equal(t, "the room is full", s.Diagnose(within(t)).PageError)
}

func TestPageGoesAway(t *testing.T) {
	t.Parallel()
	page := recordertest.StartPage(t)
	s := open(t, recorder.SessionSpec{Silent: true})
	t.Run("to one that does not load", func(t *testing.T) {
		startPage(t, s, page.URL+"/leave?after=50")
		err := s.Wait(within(t, notice), recorder.MarkerEnd)
		assert.Equal(t, recorder.CodePageLoad, recorder.CodeOf(err), "%v", err)
	})
	t.Run("to another of its own", func(t *testing.T) {
		startPage(t, s, page.URL+"/leave?to=/markers?end=50")
		require.NoError(t, s.Wait(within(t, notice), recorder.MarkerEnd))
	})
	t.Run("by its tab being closed", func(t *testing.T) {
		startPage(t, s, page.URL+"/token")
		require.NoError(t, s.CloseTab(within(t)))
		require.ErrorIs(t, s.Wait(within(t, notice), recorder.MarkerEnd), recorder.ErrPageClosed)
	})
}

func TestDeathOfAProcessEndsTheSession(t *testing.T) {
	t.Parallel()
	page := recordertest.StartPage(t)
	for name, reason := range map[string]recorder.EndReason{
		"Chrome": recorder.EndBrowserDied, "Xvfb": recorder.EndDisplayDied, "PulseAudio": recorder.EndSoundDied,
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, recorder.SessionSpec{})
			startPage(t, s, page.URL+"/token")
			require.NoError(t, syscall.Kill(s.Pids()[name], syscall.SIGKILL))
			began := time.Now()
			err := s.Wait(within(t, notice), recorder.MarkerEnd)
			t.Logf("noticed after %s", time.Since(began))
			assert.Equal(t, reason, died(t, err))
			require.ErrorContains(t, err, name+" ended: signal: killed")
			require.ErrorIs(t, s.Navigate(within(t), page.URL), recorder.ErrSessionDied)
			if reason != recorder.EndBrowserDied {
				assert.Equal(t, reason, died(t, s.Revive(within(t))))
			}
			s.Diagnose(within(t))
			display := s.Inputs().Display
			began = time.Now()
			require.NoError(t, s.Close())
			t.Logf("closed within %s", time.Since(began))
			assert.Empty(t, recordertest.StaleDisplay(t, display))
			assert.NoDirExists(t, s.Dir())
		})
	}
}

// A page that closes its tab leaves; a browser that is told to end does not.
func TestBrowserEndedBySignal(t *testing.T) {
	t.Parallel()
	page := recordertest.StartPage(t)
	s := open(t, recorder.SessionSpec{Silent: true})
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		startPage(t, s, page.URL+"/token")
		require.NoError(t, syscall.Kill(s.Pids()["Chrome"], sig))
		assert.Equal(t, recorder.EndBrowserDied, died(t, s.Wait(within(t, notice), recorder.MarkerEnd)))
		require.NoError(t, s.Revive(within(t)))
	}
	startPage(t, s, page.URL+"/close?after=50")
	require.ErrorIs(t, s.Wait(within(t, notice), recorder.MarkerEnd), recorder.ErrPageClosed)
}

func TestProcessThatHangsEndsTheSession(t *testing.T) {
	t.Parallel()
	page := recordertest.StartPage(t)
	for name, c := range map[string]struct {
		reason recorder.EndReason
		within time.Duration
	}{
		"Chrome": {recorder.EndBrowserDied, 8 * time.Second},
		"Xvfb":   {recorder.EndDisplayDied, 5500 * time.Millisecond}, "PulseAudio": {recorder.EndSoundDied, 5500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, recorder.SessionSpec{})
			startPage(t, s, page.URL+"/token")
			require.NoError(t, syscall.Kill(s.Pids()[name], syscall.SIGSTOP))
			began := time.Now()
			err := s.Wait(within(t), recorder.MarkerEnd)
			t.Logf("noticed after %s", time.Since(began))
			assert.Equal(t, c.reason, died(t, err))
			require.EqualError(t, err, name+" does not answer any more")
			assert.Less(t, time.Since(began), c.within)
			if c.reason == recorder.EndBrowserDied {
				require.NoError(t, s.Revive(within(t)))
				startPage(t, s, page.URL+"/token")
			}
			began = time.Now()
			require.NoError(t, s.Close())
			assert.Less(t, time.Since(began), 3*time.Second)
		})
	}
}

func TestDiagnosis(t *testing.T) {
	t.Parallel()
	page := recordertest.StartPage(t)
	dir := t.TempDir()
	s := open(t, recorder.SessionSpec{Silent: true, Dir: dir, Width: 720, Height: 1280})
	require.NoError(t, s.Navigate(within(t), page.URL+"/console?token=sesame-in-the-url"))
	require.NoError(t, s.Wait(within(t), recorder.MarkerLoaded))
	d := s.Diagnose(within(t))

	assert.Equal(t, page.URL+"/console?token=redacted", d.URL)
	assert.Equal(t, 200, d.HTTPStatus)
	console := strings.Join(d.Console, "\n")
	assert.Contains(t, console, "log: plain 1 {a: 1} ("+page.URL+"/console:")
	assert.Contains(t, console, "warning: careful")
	assert.Contains(t, console, "error: bad")
	assert.Contains(t, console, "exception: Uncaught Error: boom in the page")
	assert.NotContains(t, console, "sesame")
	assert.Equal(t, filepath.Join(dir, "screenshot.png"), d.Screenshot)
	file, err := os.Open(d.Screenshot)
	require.NoError(t, err)
	defer file.Close()
	picture, err := png.DecodeConfig(file)
	require.NoError(t, err)
	assert.Equal(t, []int{720, 1280}, []int{picture.Width, picture.Height})

	t.Run("of a page that hangs", func(t *testing.T) {
		startPage(t, s, page.URL+"/hang?after=100")
		began := time.Now()
		d := s.Diagnose(within(t))
		assert.Less(t, time.Since(began), 5*time.Second)
		assert.Equal(t, filepath.Join(dir, "screenshot-2.png"), d.Screenshot)
		assert.Contains(t, strings.Join(d.Console, "\n"), "boom", "the console of earlier lives is kept")
		startPage(t, s, page.URL+"/token")
	})
}

func TestNavigateLeavesAPageThatHangs(t *testing.T) {
	t.Parallel()
	page := recordertest.StartPage(t)
	s := open(t, recorder.SessionSpec{Silent: true})
	for name, paths := range map[string][2]string{
		"already": {"/hang?after=0", "/token"},
		// The answer comes when the old page has begun to hang.
		"while the next one is loaded": {"/hang?after=500", "/slow?after=1500"},
	} {
		t.Run(name, func(t *testing.T) {
			startPage(t, s, page.URL+paths[0])
			startPage(t, s, page.URL+paths[1])
		})
	}
}
