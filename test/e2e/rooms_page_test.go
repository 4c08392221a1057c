package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// templateServer serves somebody's template page, and keeps what it was asked.
type templateServer struct {
	*httptest.Server
	mu      sync.Mutex
	queries []string // of the page, as they came
	told    []string // that pages said with POST
}

func serveTemplate(t testing.TB, handler http.Handler) *templateServer {
	t.Helper()
	s := &templateServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch {
		case r.Method == http.MethodPost:
			body, _ := io.ReadAll(r.Body)
			s.told = append(s.told, string(body))
		case r.URL.Path == "/":
			s.queries = append(s.queries, r.URL.RawQuery)
			handler.ServeHTTP(w, r)
		default:
			handler.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *templateServer) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.queries...)
}

// buildSDKPage builds the page on LiveKit's SDK from npm's packages, beside the
// checkout, and gives its directory.
func buildSDKPage(t testing.TB, h *home) string {
	t.Helper()
	dir := h.path("page")
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "egress-sdk"))))
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "node_modules")))
	for _, args := range [][]string{{"ci", "--no-audit", "--no-fund", "--prefer-offline"}, {"run", "build"}} {
		cmd := exec.Command("npm", args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "npm %s: %s", args[0], out)
	}
	return dir
}

// roomJob records a room through somebody's template page.
func roomJob(room, base, layout, file string) recorder.Job {
	return recorder.Job{
		Source: recorder.Source{RoomName: room, CustomBaseURL: base, Layout: layout},
		Files:  []recorder.FileOutput{{Filepath: file, DisableManifest: true}},
		Limits: recorder.Limits{MaxDuration: recorder.Duration(time.Minute)},
	}
}

// TestRoomPageOnLiveKitSDK records a page that knows nothing of this recorder, only
// of LiveKit's SDK.
func TestRoomPageOnLiveKitSDK(t *testing.T) {
	s, p := startRooms(t), startPool(t)
	web := serveTemplate(t, http.FileServer(http.Dir(buildSDKPage(t, p.home))))
	p.startWorker("w1", s.env()...)
	judged(t, func() []string { return p.recordSDKPage(s, web) })
}

// recordSDKPage gives what is wrong with the moments at which it was seen to change.
func (p *pool) recordSDKPage(s *roomServer, web *templateServer) recordertest.Complaints {
	t := p.t
	guest := s.enter(t, "talk", low())
	defer guest.Leave()
	opened := len(web.asked())
	id := p.enqueue(roomJob("talk", web.URL+"/?authkey=a%2Bb+c&x#/talks/1", "grid", "sdk.mp4"))
	p.awaitActive(id)
	p.awaitElapsed(id, 2*time.Second)
	require.Zero(t, p.verb("update", id, "--layout", "speaker").code)
	changed := time.Now()
	p.awaitElapsed(id, 4*time.Second)
	s.close(t, "talk")
	closed := time.Now()
	rec := p.awaitStatus(id, recorder.StatusComplete, 20*time.Second)
	assert.Equal(t, recorder.EndRoomClosed, rec.EndReason, "the SDK gives no reason; the server knows")
	assert.Equal(t, "speaker", rec.Layout)

	queries := web.asked()[opened:]
	require.Len(t, queries, 1, "the page is opened once")
	rest, found := strings.CutPrefix(queries[0], "authkey=a%2Bb+c&x&")
	assert.True(t, found, "the page's own query comes first, as it was written: %s", queries[0])
	given, err := url.ParseQuery(rest)
	require.NoError(t, err)
	token, err := auth.ParseAPIToken(given.Get("token"))
	require.NoError(t, err)
	given.Del("token")
	assert.Equal(t, url.Values{"url": {s.URL()}, "layout": {"grid"}, "template": {"grid"}}, given)
	assert.Equal(t, id, token.Identity())

	m := probe(t, p.stored(rec.Files[0].Filename))
	m.requireWhole(t, 30)
	began := time.Unix(0, rec.StartedAt)
	var late recordertest.Complaints
	assert.InDelta(&late, closed.Sub(began), m.duration(t), float64(1500*time.Millisecond), "it ends with the room")
	hearTones(t, m.path, []int{lowTone})
	// The page is green in the layout grid, and blue in others: by brightness 78 and 46.
	ground := recordertest.ReadTiles(t, m.path, recordertest.WholeTile(1000, 600, 200, 100))[0]
	assert.InDelta(t, 78, int(ground[0].Points[0]), 6, "grid")
	assert.InDelta(t, 46, int(ground[len(ground)-1].Points[0]), 6, "speaker")
	var turned time.Duration
	for _, f := range ground {
		if f.Points[0] < 62 {
			turned = f.PTS
			break
		}
	}
	require.Positive(t, turned, "the layout changes")
	assert.InDelta(&late, changed.Sub(began), turned, float64(time.Second), "the layout changes at once")
	t.Logf("the layout was changed at %v and seen changed at %v", changed.Sub(began), turned)
	return append(late, m.gaps(t, 30)...)
}

// nosyPage tells its server everything a page can find out, and starts.
const nosyPage = `<!doctype html><meta charset="utf-8"><title>nosy</title><script>
const seen = new Set(), found = {};
const text = v => { try { return JSON.stringify(v, (k, x) => { if (x && typeof x === 'object') { if (seen.has(x)) return; seen.add(x) } return x }) } catch (e) { return String(e) } };
for (const name of Object.getOwnPropertyNames(window)) try { found[name] = typeof window[name] === 'function' ? '' : text(window[name]) } catch (e) {}
const all = {href: location.href, globals: found, cookie: document.cookie, local: text({...localStorage}), name: window.name,
	agent: navigator.userAgent, referrer: document.referrer, state: text(history.state), html: document.documentElement.outerHTML};
fetch('/told', {method: 'POST', body: JSON.stringify(all)}).then(() => {
	console.log('my address is', location.href); console.log('START_RECORDING'); setTimeout(() => console.log('END_RECORDING'), 2500) });
</script>`

// anyToken matches what is signed.
var anyToken = regexp.MustCompile(`eyJ[\w-]+\.[\w-]+\.[\w-]+`)

// TestRoomSecrets records rooms through a page that looks for secrets and tells its
// server and its console what it has found, and looks for secrets itself.
func TestRoomSecrets(t *testing.T) {
	t.Parallel()
	s, p := startRooms(t), startPool(t)
	web := serveTemplate(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, nosyPage)
	}))
	hidden := secrets{s.APISecret, "eyJ", secret}
	spy := p.spy(hidden, func(p recordertest.Process) bool {
		// What the operator gave to the worker and the verbs; not what these start.
		return strings.HasPrefix(p.Command, tapedeck) && !strings.HasSuffix(p.Command, " child")
	})
	w := p.startWorker("w1", s.env()...)
	watch := p.start(p.redisEnv(), "watch", "--json", "--after", "0")
	s.enter(t, "talk", low())
	base := web.URL + "/?authkey=" + secret + "#/talks/1?key=" + secret
	nosy := p.enqueue(roomJob("talk", base, "grid", "nosy.mp4"))
	p.awaitActive(nosy)
	hidden.requireNone(t, "Redis while the job runs", p.dump(jobsKey, "{tapedeck}:commands:"))
	rec := p.awaitStatus(nosy, recorder.StatusComplete, time.Minute)
	assert.Equal(t, recorder.EndSignal, rec.EndReason, "END_RECORDING of the page's own, while the room is there")
	built := p.enqueue(roomJob("talk", "", "grid", "built-in.mp4"))
	p.awaitActive(built)
	p.awaitElapsed(built, time.Second)
	require.Zero(t, p.verb("update", built, "--layout", "speaker").code)
	require.Zero(t, p.verb("stop", built).code)
	p.awaitStatus(built, recorder.StatusComplete, 20*time.Second)
	failing := roomJob("talk", "", "grid", "never.mp4")
	failing.Token = "eyJ" + secret + ".page.token"
	failing.Limits.ReloadAttempts = new(int)
	assert.Equal(t, recorder.StatusFailed, p.awaitEnd(p.enqueue(failing), time.Minute).Status)

	requireNosyPageSaw(t, s, web, base, nosy)
	list := p.verb("list", "--json")
	spy.requireNothing("tapedeck", "chromium", "Xvfb", "pulseaudio")
	hidden.requireNone(t, "Redis", p.dump())
	hidden.requireNone(t, "list", list.stdout+list.stderr+p.verb("list").stdout)
	watch.await(watch.stdout, `"failed"`, 10*time.Second)
	hidden.requireNone(t, "watch", watch.stdout.String()+watch.stderr.String())
	hidden.requireNone(t, "the worker's log", w.stderr.String()+w.stdout.String())
	kept := files(t, p.spool("w1"))
	assert.Contains(t, kept, "job.log")
	hidden.requireNone(t, "the spool", kept)

	// What is on the command line of record is wiped before it says anything.
	h := newHome(t)
	take := h.enterRoom(s, "talk", "here.mp4", "--base-url", base, "--log-level", "debug")
	take.await(take.stderr, "starting", recordStart)
	spy = h.spy(hidden, func(p recordertest.Process) bool {
		return strings.HasPrefix(p.Command, tapedeck) || strings.Contains(p.Command, "gst-plugin-scanner")
	})
	take.end(30*time.Second, recorder.EndSignal, recorder.StatusComplete)
	spy.requireNothing("tapedeck", "chromium", "Xvfb", "pulseaudio")
	hidden.requireNone(t, "what record says", take.stdout.String()+take.stderr.String())
	hidden.requireNone(t, "the spool of record", files(t, h.path("spool")))
}

// requireNosyPageSaw checks what a page finds out: its own address, whose token lets
// it in and no more, and no other secret.
func requireNosyPageSaw(t *testing.T, s *roomServer, web *templateServer, base, id string) {
	t.Helper()
	web.mu.Lock()
	defer web.mu.Unlock()
	require.Len(t, web.told, 1)
	require.NotContains(t, web.told[0], s.APISecret)
	require.NotContains(t, web.told[0], s.APIKey+":")
	var page struct {
		Href    string
		Globals map[string]string
	}
	require.NoError(t, json.Unmarshal([]byte(web.told[0]), &page))
	assert.Greater(t, len(page.Globals), 100, "it looked everywhere")
	address, err := url.Parse(page.Href)
	require.NoError(t, err)
	own, err := url.Parse(base)
	require.NoError(t, err)
	assert.Equal(t, own.Fragment, address.Fragment)
	assert.Equal(t, own.Query().Get("authkey"), address.Query().Get("authkey"))
	token := address.Query().Get("token")
	for _, found := range anyToken.FindAllString(web.told[0], -1) {
		require.Equal(t, token, found, "there is no other token")
	}
	parsed, err := auth.ParseAPIToken(token)
	require.NoError(t, err)
	_, grants, err := parsed.Verify(s.APISecret)
	require.NoError(t, err)
	assert.Equal(t, id, grants.Identity)
	yes, no := true, false
	assert.Equal(t, &auth.VideoGrant{
		RoomJoin: true, Room: "talk", CanSubscribe: &yes, CanPublish: &no, CanPublishData: &no, Hidden: true, Recorder: true,
	}, grants.Video, "no admin's")
}
