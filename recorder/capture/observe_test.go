package capture_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"tapedeck/recorder"
	"tapedeck/recorder/capture"
	"tapedeck/recorder/recordertest"
)

// notebook keeps what a session observes.
type notebook struct {
	mu   sync.Mutex
	seen []recorder.Observation
}

func (n *notebook) write(o recorder.Observation) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seen = append(n.seen, o)
}

// String gives all that was observed.
func (n *notebook) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return fmt.Sprint(n.seen)
}

// read gives what was observed since the last Navigate, of one kind.
func (n *notebook) read(kind recorder.ObservationKind) []recorder.Observation {
	n.mu.Lock()
	defer n.mu.Unlock()
	var found []recorder.Observation
	for _, o := range n.seen {
		switch o.Kind {
		case recorder.ObservedNavigate:
			found = nil
		}
		if o.Kind == kind {
			found = append(found, o)
		}
	}
	return found
}

// await waits until one of a kind was observed and gives it.
func (n *notebook) await(t *testing.T, kind recorder.ObservationKind, is func(recorder.Observation) bool) recorder.Observation {
	t.Helper()
	var found recorder.Observation
	recordertest.AwaitNone(t, patience, func() []string {
		for _, o := range n.read(kind) {
			if is(o) {
				found = o
				return nil
			}
		}
		return []string{fmt.Sprintf("a %s other than %v", kind, n.read(kind))}
	})
	return found
}

func anyOne(recorder.Observation) bool { return true }

func openObserved(t *testing.T) (*capture.Session, *notebook) {
	t.Helper()
	notes := &notebook{}
	s, err := capture.Open(within(t), recorder.SessionSpec{Width: 640, Height: 480, Silent: true, Dir: t.TempDir()},
		capture.Options{Log: zaptest.NewLogger(t), Observe: notes.write})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s, notes
}

func TestObservations(t *testing.T) {
	t.Parallel()
	page := recordertest.StartPage(t)
	s, notes := openObserved(t)

	t.Run("of a page that starts and ends", func(t *testing.T) {
		before := time.Now()
		startPage(t, s, page.URL+"/markers?start=300&end=320&note=room_empty&token=sesame-in-the-url")
		require.NoError(t, s.Wait(within(t), recorder.MarkerEnd))
		end := notes.await(t, recorder.ObservedMarker, func(o recorder.Observation) bool { return o.Text == "END_RECORDING" })
		took := time.Since(before)
		assert.Equal(t, "room_empty", end.Note)
		var markers []string
		for _, m := range notes.read(recorder.ObservedMarker) {
			markers = append(markers, m.Text)
			assert.Less(t, m.After, took)
		}
		assert.ElementsMatch(t, []string{"LOADED", "START_RECORDING", "END_RECORDING"}, markers)
		assert.Greater(t, end.After, 320*time.Millisecond)
		asked := notes.read(recorder.ObservedNavigate)
		require.Len(t, asked, 1)
		assert.Equal(t, page.URL+"/markers?start=redacted&end=redacted&note=redacted&token=redacted", asked[0].Text)
		there := notes.read(recorder.ObservedDocument)
		require.Len(t, there, 1)
		assert.Less(t, asked[0].After, there[0].After)
		assert.Equal(t, 200, there[0].Status)
		assert.Equal(t, asked[0].Text, there[0].Text)
	})
	t.Run("of a console", func(t *testing.T) {
		require.NoError(t, s.Navigate(within(t), page.URL+"/console?token=sesame-open-12345"))
		thrown := notes.await(t, recorder.ObservedException, anyOne)
		assert.Equal(t, "Uncaught Error: boom in the page", thrown.Text)
		lines := notes.read(recorder.ObservedConsole)
		require.Len(t, lines, 4)
		assert.Equal(t, []string{"log", "warning", "error", "log"}, []string{lines[0].Level, lines[1].Level, lines[2].Level, lines[3].Level})
		assert.Equal(t, "careful", lines[1].Text)
		assert.Contains(t, lines[1].Source, page.URL+"/console:")
		assert.Empty(t, lines[1].Leaks)
		assert.Equal(t, []string{"token"}, lines[3].Leaks, "said, and told without the value")
		assert.NotContains(t, notes.String(), "sesame")
	})
	t.Run("of what does not load", func(t *testing.T) {
		err := s.Navigate(within(t), page.URL+"/status/503")
		require.Error(t, err)
		document := notes.await(t, recorder.ObservedDocument, func(o recorder.Observation) bool { return o.Level == "error" })
		assert.Equal(t, 503, document.Status)
		assert.Equal(t, err.Error(), document.Text)
		require.Error(t, s.Navigate(within(t), "http://127.0.0.1:1/"))
		document = notes.await(t, recorder.ObservedDocument, func(o recorder.Observation) bool { return o.Level == "error" })
		assert.Contains(t, document.Text, "net::ERR_")
		assert.Zero(t, document.Status)
	})
	t.Run("of a page that goes on to one with a fault", func(t *testing.T) {
		startPage(t, s, page.URL+"/leave?after=20&to=/status/404")
		document := notes.await(t, recorder.ObservedDocument, func(o recorder.Observation) bool { return strings.HasSuffix(o.Text, "/404") })
		assert.Equal(t, 404, document.Status)
		assert.Equal(t, 200, s.Diagnose(within(t)).HTTPStatus, "only the first page's status is judged")
	})
	t.Run("of a template's error", func(t *testing.T) {
		require.NoError(t, s.Navigate(within(t), page.URL+"/div-error?text=the+room+is+full"))
		assert.Equal(t, "the room is full", notes.await(t, recorder.ObservedPageError, anyOne).Text)
	})
	t.Run("of a crash", func(t *testing.T) {
		startPage(t, s, page.URL+"/token")
		require.NoError(t, s.CrashTab(within(t)))
		notes.await(t, recorder.ObservedCrash, anyOne)
	})
	t.Run("of the end", func(t *testing.T) {
		startPage(t, s, page.URL+"/close")
		notes.await(t, recorder.ObservedClosed, anyOne)
	})
}

func TestOwnEndIsNoObservation(t *testing.T) {
	t.Parallel()
	page := recordertest.StartPage(t)
	s, notes := openObserved(t)
	startPage(t, s, page.URL+"/token")
	require.NoError(t, s.Close())
	assert.Empty(t, notes.read(recorder.ObservedClosed))
	assert.Empty(t, notes.read(recorder.ObservedCrash))
}

func TestObservationOfWhatAPageNeedsAndDoesNotGet(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			_, port, _ := strings.Cut(r.Host, ":")
			fmt.Fprintf(w, `<!doctype html><title>needs</title><link rel=icon href=data:,><script src=/gone.js?access_token=sesame></script>
				<iframe src=http://localhost:%s/frame></iframe>
				<script>new WebSocket('ws://127.0.0.1:1/rtc?access_token=sesame')</script>`, port)
		case "/frame":
			fmt.Fprint(w, `<!doctype html><link rel=icon href=data:,><img src=/gone.png>`)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	s, notes := openObserved(t)
	require.NoError(t, s.Navigate(within(t), server.URL))
	script := notes.await(t, recorder.ObservedResource, func(o recorder.Observation) bool { return strings.HasSuffix(o.Source, "/gone.js") })
	assert.Contains(t, script.Text, "404")
	assert.Equal(t, server.URL+"/gone.js", script.Source)
	notes.await(t, recorder.ObservedResource, func(o recorder.Observation) bool { return strings.HasSuffix(o.Source, "/gone.png") })
	notes.await(t, recorder.ObservedResource, func(o recorder.Observation) bool { return strings.Contains(o.Text, "ws://127.0.0.1:1/rtc") })
	assert.NotContains(t, notes.String(), "sesame")
}

// readingPages take their address apart in every way that is in use.
func readingPages() map[string]struct {
	script string
	asked  []string
} {
	type c = struct {
		script string
		asked  []string
	}
	all := []string{recorder.AnyParameter}
	return map[string]c{
		"nothing":           {``, nil},
		"search params":     {`const p = new URLSearchParams(location.search); p.get('url'); p.getAll('token'); p.has('room'); p.get('url')`, []string{"url", "token", "room"}},
		"a URL":             {`new URL(location.href).searchParams.get('layout')`, []string{"layout"}},
		"without its mark":  {`new URLSearchParams(location.search.slice(1)).get('layout')`, []string{"layout"}},
		"split at the mark": {`new URLSearchParams(location.href.split('?')[1].replace(/#.*$/, '')).get('layout')`, []string{"layout"}},
		"other params":      {`const p = new URLSearchParams('a=b'); p.get('x'); [...p]; p.toString()`, nil},
		"for of":            {`for (const [k, v] of new URLSearchParams(location.search));`, all},
		"from entries":      {`Object.fromEntries(new URLSearchParams(location.search).entries())`, all},
		"a copy":            {`new URLSearchParams(new URLSearchParams(location.search)).get('layout')`, append(all, "layout")},
		"by hand":           {`location.search.slice(1).split('&').map(p => p.split('='))`, all},
		"with a pattern":    {`/[?&]([^&#=]+)=([^&#]*)/.exec(location.href)`, all},
		"with a name in it": {`/[?&](url|token)=([^&#]*)/.exec(location.href); /[?&]page=.*-light(&|$)/.test(location.search)`, []string{"page", "token", "url"}},
		"with a made one":   {`location.search.match(new RegExp('[?&]' + 'layout' + '(=([^&#]*)|&|#|$)'))`, all},
		"with a match":      {`location.search.match(/\burl=([^&]+)/)`, []string{"url"}},
		"with a callback":   {`document.URL.replace(/([^?=&]+)=([^&]*)/g, () => '')`, all},
		"other texts":       {`'a=1&b=2'.split('&'); /a=(.)/.exec('a=1'); location.pathname.split('='); document.title.match(/=/)`, nil},
		"the path only":     {`location.href.split('/'); location.search.startsWith('?'); location.href.replace(/\?.*/, '')`, nil},
		"in a module":       {`import('data:text/javascript,new URLSearchParams(location.search).get("layout")')`, []string{"layout"}},
	}
}

func TestParametersThatAPageAsksFor(t *testing.T) {
	t.Parallel()
	pages := readingPages()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><title>reads</title><script>
			const whole = new Set(Object.getOwnPropertyNames(window));
			%s
			addEventListener('load', () => setTimeout(() => {
				console.log('binding: ' + typeof window.tapedeckParameter, 'lengths: ' + [''.split.length, /a/.exec.length, URLSearchParams.prototype.get.length]);
				console.log('pattern: ' + JSON.stringify(['a-b'.split('-'), 'a1b'.replace(/\d/, '-'), /(?<x>.)/.exec('q').groups.x]));
				console.log('START_RECORDING') }))
			</script>`, pages[r.URL.Query().Get("page")].script)
	}))
	t.Cleanup(server.Close)
	s, notes := openObserved(t)
	for name, c := range pages {
		t.Run(name, func(t *testing.T) {
			query := "?url=ws%3A%2F%2Flivekit.example%3A7880&token=sesame-open&page=" + strings.ReplaceAll(name, " ", "+")
			startPage(t, s, server.URL+"/"+query+"#a=b")
			var asked []string
			for _, o := range notes.read(recorder.ObservedParameter) {
				asked = append(asked, o.Text)
			}
			slices.Sort(asked)
			expected := slices.Clone(c.asked)
			slices.Sort(expected)
			assert.Equal(t, expected, asked)
			lines := notes.read(recorder.ObservedConsole)
			require.Len(t, lines, 3)
			assert.Equal(t, "binding: undefined lengths: 2,1,1", lines[0].Text)
			assert.Equal(t, `pattern: [["a","b"],"a-b","q"]`, lines[1].Text)
		})
	}
}

// A page must not notice that nobody observes it, either.
func TestNothingIsAddedToAPageUnobserved(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<!doctype html><script>
			console.log('plain: ' + [''.split, /a/.exec, URLSearchParams.prototype.get].every(f => (f + '').includes('[native code]')), typeof tapedeckParameter);
			console.log('START_RECORDING')</script>`)
	}))
	t.Cleanup(server.Close)
	s := open(t, recorder.SessionSpec{Silent: true})
	startPage(t, s, server.URL+"/?layout=grid")
	assert.Contains(t, consoleOf(t, s), "plain: true undefined")
}
