package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/stretchr/testify/require"
)

// onlooker is a page in a headless Chromium, which tells what it sees.
type onlooker struct {
	t    testing.TB
	site *httptest.Server

	mu      sync.Mutex
	told    []sighting
	changed chan struct{}
}

// sighting is what one of the pages of testdata/livekit-users tells.
type sighting struct {
	Changed *bool // RecordingStatusChanged, with its argument
	Is      bool  // room.isRecording
	Joined  bool
	Left    bool

	Play     string // which player
	At       *float64
	Frames   int
	Width    int
	Height   int
	Live     *bool // of a playlist that was loaded
	Segments int
	Total    float64
	Date     *float64 // ms since the Unix epoch
	Ended    bool
	Error    string
	Fatal    bool
}

// lookOn opens pages in one browser: each is a path with its query. What is below
// media is served at /media/.
func (h *home) lookOn(media string, pages ...string) *onlooker {
	h.t.Helper()
	o := &onlooker{t: h.t, changed: make(chan struct{})}
	site := http.NewServeMux()
	site.Handle("/", http.FileServer(http.Dir(usersDir(h.t))))
	site.Handle("/media/", http.StripPrefix("/media/", http.FileServer(http.Dir(media))))
	site.HandleFunc("POST /told", o.hear)
	o.site = httptest.NewServer(site)
	h.t.Cleanup(o.site.Close)
	for _, page := range pages {
		h.browse(o.site.URL + page)
	}
	return o
}

// browse opens a page in a browser that ends with the test.
func (h *home) browse(address string) *command {
	h.t.Helper()
	chromium, err := exec.LookPath("chromium")
	require.NoError(h.t, err)
	h.mu.Lock()
	profile := filepath.Join(h.tmp, "browser-"+string(rune('a'+len(h.commands))))
	h.mu.Unlock()
	return h.startProgram(nil, chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-extensions", "--disable-background-networking", "--mute-audio",
		"--autoplay-policy=no-user-gesture-required", "--allow-loopback-in-peer-connection",
		"--user-data-dir="+profile, address)
}

func (o *onlooker) hear(_ http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var s sighting
	if err := json.Unmarshal(body, &s); err != nil {
		o.t.Errorf("a page said %q: %v", body, err)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.told = append(o.told, s)
	close(o.changed)
	o.changed = make(chan struct{})
}

// await waits for a sighting, and gives the first that is as wanted.
func (o *onlooker) await(what string, limit time.Duration, wanted func(sighting) bool) sighting {
	o.t.Helper()
	deadline := time.After(limit)
	for {
		all, changed := o.look()
		for _, s := range all {
			if wanted(s) {
				return s
			}
		}
		select {
		case <-changed:
		case <-deadline:
			text, _ := json.Marshal(all)
			require.FailNow(o.t, "it is not seen", "%s within %s: %s", what, limit, text)
		}
	}
}

func (o *onlooker) look() ([]sighting, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]sighting(nil), o.told...), o.changed
}

// statuses gives what a participant was told of the room's being recorded.
func (o *onlooker) statuses() (list []bool) {
	all, _ := o.look()
	for _, s := range all {
		if s.Changed != nil {
			list = append(list, *s.Changed)
		}
	}
	return list
}

// witness is the page of an ordinary participant.
func (s *roomServer) witness(t testing.TB, room, identity string) string {
	t.Helper()
	no, yes := false, true
	token, err := auth.NewAccessToken(s.APIKey, s.APISecret).SetIdentity(identity).SetValidFor(time.Hour).SetVideoGrant(&auth.VideoGrant{
		RoomJoin: true, Room: room, CanPublish: &no, CanSubscribe: &yes,
	}).ToJWT()
	require.NoError(t, err)
	return "/witness.html?" + url.Values{"url": {s.URL()}, "token": {token}}.Encode()
}

// player is the page that plays a playlist below /media/, so many times as fast.
func player(name, playlist, rate string) string {
	return "/player.html?" + url.Values{"name": {name}, "src": {"/media/" + playlist}, "rate": {rate}}.Encode()
}

// requirePlayed checks that nothing was in a player's way.
func (o *onlooker) requirePlayed(name string) {
	o.t.Helper()
	all, _ := o.look()
	for _, s := range all {
		if s.Play == name {
			require.False(o.t, s.Fatal, "%s", s.Error)
		}
	}
}
