package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/rpc"
	lkwebhook "github.com/livekit/protocol/webhook"
	"github.com/livekit/psrpc"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder/queue"
	"tapedeck/recorder/recordertest"
	"tapedeck/recorder/rehearsal"
)

const (
	testKey    = "APIofTheTest"
	testSecret = "a-secret-that-nobody-but-the-worker-has"
)

func withKey(t *testing.T) {
	t.Helper()
	t.Setenv("TAPEDECK_LIVEKIT_API_KEY", testKey)
	t.Setenv("TAPEDECK_LIVEKIT_API_SECRET", testSecret)
}

// serving is a `tapedeck serve` in this process.
type serving struct {
	t      *testing.T
	log    *output
	cancel context.CancelFunc
	ended  chan int
	url    string
}

func serve(t *testing.T, args ...string) *serving {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &serving{t: t, log: &output{}, cancel: cancel, ended: make(chan int, 1)}
	go func() {
		s.ended <- verbTo(ctx, &output{}, s.log, append([]string{"serve", "--http", "127.0.0.1:0"}, args...)...)
	}()
	t.Cleanup(cancel)
	s.says(`"serving"`)
	_, rest, _ := strings.Cut(s.log.String(), `"address":"`)
	s.url, _, _ = strings.Cut(rest, `"`)
	return s
}

func (s *serving) says(text string) {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return strings.Contains(s.log.String(), text) }, 20*time.Second, 5*time.Millisecond, "%s", s.log)
}

func (s *serving) stop() {
	s.t.Helper()
	s.cancel()
	select {
	case code := <-s.ended:
		assert.Zero(s.t, code, s.log)
	case <-time.After(20 * time.Second):
		require.FailNow(s.t, "it does not end", "%s", s.log)
	}
}

// receiver verifies webhooks as LiveKit's users do. While it is closed for business
// it answers 503.
type receiver struct {
	*httptest.Server
	open  atomic.Bool
	got   chan *livekit.WebhookEvent
	tries chan struct{}
}

func startReceiver(t *testing.T) *receiver {
	t.Helper()
	keys := auth.NewFileBasedKeyProviderFromMap(map[string]string{testKey: testSecret, "APIother": "another-secret-that-only-we-have"})
	r := &receiver{got: make(chan *livekit.WebhookEvent, 16), tries: make(chan struct{}, 64)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.tries <- struct{}{}
		if !r.open.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		event, err := lkwebhook.ReceiveWebhookEvent(req, keys)
		if assert.NoError(t, err) {
			r.got <- event
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) next(t *testing.T) *livekit.WebhookEvent {
	t.Helper()
	select {
	case e := <-r.got:
		return e
	case <-time.After(20 * time.Second):
		require.FailNow(t, "no webhook arrives")
		return nil
	}
}

// TestWebhooksOverRestarts: what a receiver would not take arrives when everybody
// has been restarted, in its order.
func TestWebhooksOverRestarts(t *testing.T) {
	redis := recordertest.StartRedis(t, recordertest.WithAppendOnly())
	t.Setenv("TAPEDECK_REDIS_URL", redis.URL())
	withKey(t)
	r := startReceiver(t)
	t.Setenv("TAPEDECK_WEBHOOKS_URLS", r.URL+"/hook?token=hidden")

	first := serve(t)
	code, _, errOut := verb(soon(t), "enqueue", "--url", "https://example.com", "--file", "a.mp4", "--id", "EG_1")
	require.Zero(t, code, errOut)
	code, _, errOut = verb(soon(t), "stop", "EG_1")
	require.Zero(t, code, errOut)
	<-r.tries
	first.says("trying again later")
	first.stop()
	assert.NotContains(t, first.log.String(), "hidden")
	redis.Restart()
	r.open.Store(true)

	second := serve(t)
	assert.Equal(t, "egress_started", r.next(t).Event)
	last := r.next(t)
	assert.Equal(t, "egress_ended", last.Event)
	assert.Equal(t, livekit.EgressStatus_EGRESS_ABORTED, last.EgressInfo.Status)
	assert.Equal(t, "EG_1", last.EgressInfo.EgressId)
	second.stop()
	assert.Empty(t, r.got, "each once")
}

func TestWebhooksOfAJob(t *testing.T) {
	embedded(t, "127.0.0.1:0")
	withKey(t)
	t.Setenv("TAPEDECK_LIVEKIT_KEYS", "APIother:another-secret-that-only-we-have")
	r := startReceiver(t)
	r.open.Store(true)
	s := serve(t)
	code := verbWith(t, `{"url": "https://example.com", "id": "EG_2", "file_outputs": [{"filepath": "a.mp4"}],
		"webhooks": [{"url": "`+r.URL+`", "signing_key": "APIother", "events": "egress_ended"}, {"url": "`+r.URL+`/lost", "signing_key": "APIunknown"}]}`, "enqueue", "-")
	require.Zero(t, code)
	require.Zero(t, verbWith(t, "", "stop", "EG_2"))
	assert.Equal(t, "egress_ended", r.next(t).Event, "all that it wants to hear")
	s.says(`\"APIunknown\" is not in the configuration`)
	s.stop()
}

// verbWith is verb with something on standard input.
func verbWith(t *testing.T, stdin string, args ...string) int {
	t.Helper()
	out := &output{}
	root := (&app{in: strings.NewReader(stdin), out: out, err: out}).command()
	root.SetArgs(args)
	code := exitCode(root.ExecuteContext(soon(t)), out)
	t.Log(out)
	return code
}

// ask sends a request and gives what is answered.
func ask(t *testing.T, method, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(soon(t), method, url, strings.NewReader("{}"))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

func TestHealth(t *testing.T) {
	redis := recordertest.StartRedis(t)
	t.Setenv("TAPEDECK_REDIS_URL", redis.URL())
	withKey(t)
	s := serve(t)
	code, body := ask(t, http.MethodGet, s.url+"/healthz")
	assert.Equal(t, http.StatusOK, code)
	assert.Equal(t, "ok\n", body)
	_, body = ask(t, http.MethodGet, s.url+"/metrics")
	assert.Contains(t, body, "\ntapedeck_redis_up 1\n")
	assert.NotContains(t, body, "tapedeck_slots", "nothing is recorded here")
	code, _ = ask(t, http.MethodPost, s.url+"//twirp/livekit.Egress/ListEgress")
	assert.Equal(t, http.StatusUnauthorized, code, "an SDK's slash too many leads nowhere else")

	redis.Kill()
	code, body = ask(t, http.MethodGet, s.url+"/healthz")
	assert.Equal(t, http.StatusOK, code, "what is degraded still answers")
	assert.Equal(t, "degraded: redis does not answer\n", body)
	_, body = ask(t, http.MethodGet, s.url+"/metrics")
	assert.Contains(t, body, "\ntapedeck_redis_up 0\n")
	s.stop()
}

func TestDoorsNeedAKey(t *testing.T) {
	embedded(t, "127.0.0.1:0")
	for _, args := range [][]string{{"serve"}, {"worker", "--livekit"}, {"worker", "--http", "127.0.0.1:0"}} {
		code, _, errOut := verb(soon(t), args...)
		assert.Equal(t, exitUsage, code, args)
		assert.Contains(t, errOut.String(), "needs livekit.api_key and livekit.api_secret", args)
	}
}

func TestAnAddressThatIsTaken(t *testing.T) {
	embedded(t, "127.0.0.1:0")
	withKey(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = taken.Close() })
	t.Setenv("TAPEDECK_SPOOL", diskSpool(t))
	for _, name := range []string{"serve", "worker"} {
		code, _, errOut := verb(soon(t), name, "--http", taken.Addr().String())
		assert.Equal(t, exitFailed, code, name)
		assert.Contains(t, errOut.String(), "http.listen", name)
		assert.Contains(t, errOut.String(), "address already in use", name)
		assert.Contains(t, errOut.String(), "--http", name)
	}
}

func TestConfigurationOfDoors(t *testing.T) {
	for name, c := range map[string]struct{ variable, value, says string }{
		"no port":          {"HTTP_LISTEN", "localhost", `http.listen: "localhost": write host:port`},
		"no number":        {"HTTP_LISTEN", "localhost:http", "http.listen"},
		"no URL":           {"WEBHOOKS_URLS", "https://ok.example,ftp://example.com/hidden?key=hidden", `webhooks.urls[1]: "ftp://example.com/{redacted}"`},
		"one twice":        {"WEBHOOKS_URLS", "https://a.example/hidden,https://a.example/hidden", `webhooks.urls[1]: "https://a.example/{redacted}"`},
		"too short":        {"WEBHOOKS_GIVE_UP_AFTER", "1ms", "webhooks.give_up_after"},
		"too long":         {"WEBHOOKS_GIVE_UP_AFTER", "200h", "webhooks.give_up_after"},
		"a key for naught": {"LIVEKIT_KEYS", "APIx:", `livekit.keys: "APIx": give every key its secret`},
	} {
		t.Run(name, func(t *testing.T) {
			withKey(t)
			t.Setenv("TAPEDECK_"+c.variable, c.value)
			code, _, errOut := verb(soon(t), "list")
			assert.Equal(t, exitUsage, code)
			assert.Contains(t, errOut.String(), c.says)
			assert.NotContains(t, errOut.String(), "hidden")
		})
	}
	t.Setenv("TAPEDECK_WEBHOOKS_URLS", "https://ok.example")
	code, _, errOut := verb(soon(t), "list")
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, errOut.String(), "webhooks are signed: set livekit.api_key")
}

func TestDoctorOfDoors(t *testing.T) {
	redis := recordertest.StartRedis(t)
	tools, err := filepath.Abs("../../build/bin") // for who runs go test by hand
	require.NoError(t, err)
	t.Setenv("PATH", tools+string(filepath.ListSeparator)+os.Getenv("PATH"))
	a := &app{config: defaultConfig()}
	a.config.Redis.URL = redis.URL()
	f := a.examineServer(soon(t))
	assert.False(t, f.OK, "nobody answers")
	assert.Contains(t, f.Remedy, "start livekit-server")
	server, err := rehearsal.StartServer(t.Context(), rehearsal.ServerOptions{Redis: redis.Addr()})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	f = a.examineServer(soon(t))
	assert.True(t, f.OK, f.Detail)

	taken, err := net.Listen("tcp", recordertest.FreeAddr(t)) // no client takes it when it is free again
	require.NoError(t, err)
	a.config.HTTP.Listen = taken.Addr().String()
	a.config.LiveKit.APIKey, a.config.LiveKit.APISecret = testKey, testSecret
	f = a.examineHTTP()[0]
	assert.False(t, f.OK)
	assert.Contains(t, f.Remedy, "http.listen")
	require.NoError(t, taken.Close())
	f = a.examineHTTP()[0]
	assert.True(t, f.OK, f.Detail)
	a.config.LiveKit.APISecret = ""
	f = a.examineHTTP()[0]
	assert.False(t, f.OK, "nobody could sign")
	assert.Contains(t, f.Remedy, "livekit.api_secret")

	t.Setenv("TAPEDECK_REDIS_URL", redis.URL())
	withKey(t)
	s := serve(t)
	a.config.HTTP.Listen, a.config.LiveKit.APISecret = strings.TrimPrefix(s.url, "http://"), testSecret
	f = a.examineHTTP()[0]
	assert.True(t, f.OK, f.Detail)
	assert.Contains(t, f.Detail, "Tapedeck serves there")
}

// late is a livekit-server of which nothing but its answer to doctor's question matters.
type late struct{ rpc.UnimplementedIOInfoServer }

// ListEgress knows none.
func (late) ListEgress(context.Context, *livekit.ListEgressRequest) (*livekit.ListEgressResponse, error) {
	return &livekit.ListEgressResponse{}, nil
}

// A question that is put before the server has subscribed is lost: it is put again.
func TestDoctorAsksAServerThatIsStarting(t *testing.T) {
	redis := recordertest.StartRedis(t)
	client, err := queue.Connect(redis.URL())
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	questions := client.PSubscribe(soon(t), "*ListEgress*")
	t.Cleanup(func() { _ = questions.Close() })
	_, err = questions.Receive(soon(t))
	require.NoError(t, err)

	a := &app{config: defaultConfig()}
	a.config.Redis.URL = redis.URL()
	found := make(chan finding, 1)
	ctx := soon(t)
	go func() { found <- a.examineServer(ctx) }()
	_, err = questions.ReceiveMessage(soon(t))
	require.NoError(t, err)
	server, err := rpc.NewIOInfoServer(late{}, psrpc.NewRedisMessageBus(client))
	require.NoError(t, err)
	t.Cleanup(server.Kill)
	f := <-found
	assert.True(t, f.OK, f.Detail)
}
