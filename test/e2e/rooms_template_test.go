package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
	"tapedeck/recorder/rehearsal"
	"tapedeck/templates"
)

// trial is what `tapedeck test-template --json` prints.
type trial struct {
	Verdict      rehearsal.Level
	Findings     []rehearsal.Finding
	Observations []recorder.Observation
	Recording    *recorder.Recording
}

// trialLimit bounds a trial of a few seconds on a busy machine.
const trialLimit = 2 * time.Minute

// tryTemplate starts `tapedeck test-template`.
func (h *home) tryTemplate(env []string, args ...string) *command {
	h.t.Helper()
	path := "PATH=" + filepath.Dir(livekitServer(h.t)) + ":" + os.Getenv("PATH")
	return h.start(append(env, path), append([]string{"test-template"}, args...)...)
}

func (c *command) trial() trial {
	c.h.t.Helper()
	var result trial
	require.NoError(c.h.t, json.Unmarshal([]byte(c.stdout.String()), &result), "%s\n%s%s", c, c.stdout, lastLines(c.stderr.String(), 20))
	return result
}

// has looks for a finding of a level that begins so.
func (r trial) has(t *testing.T, level rehearsal.Level, text string) {
	t.Helper()
	r.hasLike(t, level, "^"+regexp.QuoteMeta(text))
}

func (r trial) hasLike(t *testing.T, level rehearsal.Level, text string) {
	t.Helper()
	like := regexp.MustCompile(text)
	for _, f := range r.Findings {
		if f.Level == level && like.MatchString(f.Text) {
			return
		}
	}
	assert.Fail(t, "no such finding", "%s %q in %+v", level, text, r.Findings)
}

func TestTemplateThatIsBuiltInPasses(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	out := h.path("out.mp4")
	c := h.tryTemplate(nil, "--dev", "--layout", "grid,speaker", "--publishers", "3", "--record", out, "--duration", "8s", "--json")
	h.lookUntil(c, trialLimit)
	code := c.wait(trialLimit)
	r := c.trial()
	assert.Zero(t, code, "%+v", r.Findings)
	assert.Equal(t, rehearsal.LevelOK, r.Verdict, "%+v", r.Findings)
	r.has(t, rehearsal.LevelOK, "joined the room as "+r.Recording.ID)
	r.has(t, rehearsal.LevelOK, "START_RECORDING after")
	r.has(t, rehearsal.LevelOK, "layout speaker at")
	r.hasLike(t, rehearsal.LevelOK, `^END_RECORDING [\d.]+ s after `)
	assert.NotEmpty(t, r.Observations)
	assert.Equal(t, recorder.EndRoomClosed, r.Recording.EndReason)

	m := probe(t, out)
	assert.Equal(t, []string{"h264", "aac"}, m.codecs())
	assert.Greater(t, m.duration(t), 8*time.Second)
	left, err := filepath.Glob(h.path("spool", "*", "media-*"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

// lookUntil notes what a command started, again and again, until it ended.
func (h *home) lookUntil(c *command, limit time.Duration) {
	h.t.Helper()
	tick, deadline := time.NewTicker(500*time.Millisecond), time.After(limit)
	defer tick.Stop()
	for {
		h.look()
		select {
		case <-tick.C:
		case <-c.done:
			return
		case <-deadline:
			return
		}
	}
}

// badTemplate ignores the room, says what it should not and never starts.
const badTemplate = `<!doctype html><title>bad</title><link rel=icon href=data:,><h1>Nobody here</h1><img src=/gone.png>
<script>console.error('it went wrong at ' + location.href); setTimeout(() => { throw new Error('boom') }, 100)</script>`

func TestTemplateWithFaultsIsTold(t *testing.T) {
	t.Parallel()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, badTemplate)
	}))
	t.Cleanup(page.Close)
	h := newHome(t)
	c := h.tryTemplate(nil, "--dev", "--base-url", page.URL+"/?authkey="+secret, "--layout", "grid", "--publishers", "1",
		"--record", h.path("out.mp4"), "--start-timeout", "6s")
	h.lookUntil(c, trialLimit)
	assert.Equal(t, 1, c.wait(trialLimit))
	said := c.stdout.String()
	for _, line := range []string{
		" s  HTTP 200 " + page.URL,
		" s  did not load: Failed to load resource: the server responded with a status of 404 (Not Found) (" + page.URL + "/gone.png)",
		" s  Uncaught Error: boom",
		"\nok       the page answered HTTP 200",
		"\nwarning  no script of the page asked for `url`",
		"\nwarning  no script of the page asked for `token`",
		"\nwarning  no script of the page asked for `layout`",
		"\nfault    never joined the room as EG_",
		"\nfault    START_RECORDING never came (waited ",
		"\nwarning  uncaught exception after",
		"\nwarning  did not load after",
		"\nwarning  console error after",
		"\nwarning  logged the value of `authkey`",
		"\nfault    logged the token (secret) to the console",
		"\n           -> connect to `url` with `token`",
		"\nverdict: fault (3 faults, 7 warnings)",
	} {
		assert.Contains(t, said, line)
	}
	secrets{secret, "eyJ"}.requireNone(t, "what it says", said+c.stderr.String())
	assert.NoFileExists(t, h.path("out.mp4"))
}

// A page of somebody's own, on a server of somebody's own: its keys are shown to
// nobody, and Ctrl-C ends the trial as its time would.
func TestTemplateOnAServerOfYourOwn(t *testing.T) {
	t.Parallel()
	s := startRooms(t)
	page := httptest.NewServer(templates.Handler())
	t.Cleanup(page.Close)
	h := newHome(t)
	key := h.path("key")
	require.NoError(t, os.WriteFile(key, []byte(s.APIKey+"\n"), 0o600))
	hidden := secrets{s.APISecret, secret, "eyJhbGciOi"}
	c := h.tryTemplate(nil, "--base-url", page.URL+"/?authkey="+secret, "--layout", "grid-light", "--room", "tried", "--publishers", "1",
		"--url", s.URL(), "--api-key", "@"+key, "--api-secret", s.APISecret, "--record", h.path("out.mp4"), "--duration", "10m")
	// On a busy machine it is first said that it has not come yet.
	c.awaitLike(c.stdout, regexp.MustCompile(` s  START_RECORDING(\n| \()`), trialLimit)
	// From here on: what is on its command line is wiped as soon as it runs.
	spy := h.spy(hidden, func(recordertest.Process) bool { return false })
	everybody, err := s.rooms.ListParticipants(t.Context(), &livekit.ListParticipantsRequest{Room: "tried"})
	require.NoError(t, err)
	assert.Len(t, everybody.GetParticipants(), 2)
	h.look()
	c.signal(syscall.SIGINT)
	assert.Zero(t, c.wait(trialLimit), "%s", c.stdout)
	spy.requireNothing("tapedeck", "Xvfb", "chromium")
	assert.Contains(t, c.stdout.String(), "\nverdict: ok (0 faults, 0 warnings)\n")
	assert.Contains(t, c.stdout.String(), "\nrecorded: "+h.path("out.mp4"))
	assert.NotEmpty(t, probe(t, h.path("out.mp4")).codecs())
	hidden.requireNone(t, "what it says", c.stdout.String()+c.stderr.String())
	list, err := s.rooms.ListRooms(t.Context(), &livekit.ListRoomsRequest{})
	require.NoError(t, err)
	assert.Empty(t, list.GetRooms(), "the room it made")

	s.create(t, "theirs")
	c = h.tryTemplate(nil, "--room", "theirs", "--publishers", "0", "--url", s.URL(), "--api-key", "@"+key, "--api-secret", "of-somebody-else-"+secret,
		"--record", h.path("no.mp4"))
	assert.Equal(t, 2, c.wait(trialLimit))
	assert.Contains(t, c.stderr.String(), "refuses the API key and secret")
	hidden.requireNone(t, "the refusal", c.stderr.String())
}

// A room that was there is not deleted: everybody leaves, unless there are others.
func TestTemplateInARoomThatIsThere(t *testing.T) {
	t.Parallel()
	server, err := rehearsal.StartServer(t.Context(), rehearsal.ServerOptions{Binary: livekitServer(t), DepartureTimeout: 2 * time.Second})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	keeper := rehearsal.Keeper{URL: server.URL(), APIKey: server.APIKey, APISecret: server.APISecret, Room: "theirs"}
	_, err = keeper.Make(t.Context())
	require.NoError(t, err)
	h := newHome(t)
	env := []string{"LIVEKIT_URL=" + server.URL(), "LIVEKIT_API_KEY=" + server.APIKey, "LIVEKIT_API_SECRET=" + server.APISecret}
	try := func() trial {
		c := h.tryTemplate(env, "--room", "theirs", "--publishers", "1", "--record", h.path("out.mp4"), "--duration", "2s", "--json")
		h.lookUntil(c, trialLimit)
		assert.Zero(t, c.wait(trialLimit), "%s", c.stdout)
		return c.trial()
	}
	r := try()
	assert.Equal(t, rehearsal.LevelOK, r.Verdict, "%+v", r.Findings)
	said := false
	for _, f := range r.Findings {
		said = said || strings.Contains(f.Text, "after everybody left the room (room_")
	}
	assert.True(t, said, "%+v", r.Findings)

	somebody, err := rehearsal.Join(t.Context(), rehearsal.Participant{
		URL: server.URL(), APIKey: server.APIKey, APISecret: server.APISecret, Room: "theirs", Identity: "somebody",
	})
	require.NoError(t, err)
	t.Cleanup(somebody.Leave)
	r = try()
	r.has(t, rehearsal.LevelOK, "END_RECORDING was not tested: others are in the room")
	others, err := keeper.Others(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, []string{"somebody"}, others)
}

func TestTemplateInAWindow(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	x := h.startProgram(nil, "Xvfb", "-displayfd", "1", "-screen", "0", "1400x900x24", "-nolisten", "tcp", "-ac")
	x.await(x.stdout, "\n", recordStart)
	display := ":" + strings.TrimSpace(x.stdout.String())
	h.look()
	c := h.tryTemplate([]string{"DISPLAY=" + display}, "--dev", "--publishers", "1", "--duration", "3s", "--json")
	h.lookUntil(c, trialLimit)
	code := c.wait(trialLimit)
	r := c.trial()
	assert.Zero(t, code, "%+v", r.Findings)
	assert.Equal(t, rehearsal.LevelOK, r.Verdict, "%+v", r.Findings)
	r.hasLike(t, rehearsal.LevelOK, `^END_RECORDING [\d.]+ s after `)
	assert.Nil(t, r.Recording)
	x.signal(syscall.SIGTERM)
	x.wait(verbLimit)

	c = h.tryTemplate([]string{"DISPLAY="}, "--dev", "--publishers", "0")
	assert.Equal(t, 2, c.wait(trialLimit))
	assert.Contains(t, c.stderr.String(), "there is no display for a window")
	assert.Contains(t, c.stderr.String(), "--record")
}

func TestTemplateUsage(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	for args, message := range map[string]string{
		"":                                   "--url is not known: give it, or --dev",
		"--url ws://127.0.0.1:1 --api-key a": "--api-secret is not known",
		"--dev --url ws://127.0.0.1:1":       "--dev starts a server of its own",
		"--dev --publishers 50":              "--publishers 50: use 0 to 49",
		"--dev --codec av1":                  `--codec "av1": use vp8 or h264`,
		"--dev --layout grid,mosaic":         `--layout "mosaic": the built-in template has speaker`,
		"--dev --size big":                   `--size "big"`,
		"--dev --record out.avi":             `--record "out.avi"`,
		"--dev --base-url ftp://a":           "custom_base_url",
		"--dev a":                            "give no arguments",
	} {
		t.Run(args, func(t *testing.T) {
			r := h.run(append([]string{"test-template"}, strings.Fields(args)...)...)
			assert.Equal(t, 2, r.code, r.stderr)
			assert.Contains(t, r.stderr, message)
		})
	}
}
