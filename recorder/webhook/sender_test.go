package webhook_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	lkwebhook "github.com/livekit/protocol/webhook"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
	"tapedeck/recorder/webhook"
)

const (
	apiKey    = "APIofTheTest"
	apiSecret = "a-secret-that-nobody-but-the-worker-has"
)

// receiver is somebody's web server: it verifies as LiveKit's receivers do, and
// answers as it is told.
type receiver struct {
	*httptest.Server
	t      *testing.T
	answer func(*livekit.WebhookEvent) int
	got    chan *livekit.WebhookEvent
}

func startReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{t: t, got: make(chan *livekit.WebhookEvent, 64), answer: func(*livekit.WebhookEvent) int { return http.StatusOK }}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		assert.Equal(t, "application/webhook+json", req.Header.Get("Content-Type"))
		event, err := lkwebhook.ReceiveWebhookEvent(req, auth.NewSimpleKeyProvider(apiKey, apiSecret))
		if !assert.NoError(t, err, "it verifies") {
			return
		}
		code := r.answer(event)
		w.WriteHeader(code)
		r.got <- event
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) next() *livekit.WebhookEvent {
	r.t.Helper()
	select {
	case e := <-r.got:
		return e
	case <-time.After(10 * time.Second):
		require.FailNow(r.t, "nothing arrives")
		return nil
	}
}

// events are what an outbox was given: a job's, in their order.
func events(job string, types ...recorder.EventType) (list []recorder.Event) {
	for i, kind := range types {
		list = append(list, recorder.Event{
			ID: job + "-" + string(rune('0'+i)), Type: kind, At: 1_700_000_000_900_000_000 + int64(i),
			Recording: recorder.Recording{ID: job, RoomName: "stand-up"},
		})
	}
	return list
}

func life(job string) []recorder.Event {
	return events(job, recorder.EventQueued, recorder.EventStarted, recorder.EventUpdated, recorder.EventEnded)
}

// encode makes a body as whoever knows LiveKit's messages does; amendments are told nobody.
func encode(e recorder.Event, _ recorder.Receiver) (*livekit.WebhookEvent, bool) {
	name := map[recorder.EventType]string{
		recorder.EventQueued: lkwebhook.EventEgressStarted, recorder.EventStarted: lkwebhook.EventEgressUpdated,
		recorder.EventUpdated: lkwebhook.EventEgressUpdated, recorder.EventEnded: lkwebhook.EventEgressEnded,
	}[e.Type]
	return &livekit.WebhookEvent{Event: name, EgressInfo: &livekit.EgressInfo{EgressId: e.Recording.ID, RoomName: e.Recording.RoomName}}, name != ""
}

// trial is a sender at work.
type trial struct {
	*outbox
	logs *observer.ObservedLogs
	stop func() // returns when the sender has
}

func start(t *testing.T, box *outbox, change func(*webhook.Sender)) *trial {
	t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	s := &webhook.Sender{
		Outbox: box, Key: apiKey, Keys: auth.NewSimpleKeyProvider(apiKey, apiSecret), Encode: encode,
		Linger: time.Millisecond, Now: box.now, Log: zap.New(core),
	}
	if change != nil {
		change(s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx)
	}()
	stop := sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(stop)
	return &trial{outbox: box, logs: logs, stop: stop}
}

// says gives the log's lines with all their fields.
func (r *trial) says() string {
	var text string
	for _, e := range r.logs.All() {
		text += e.Level.String() + " " + e.Message
		for name, value := range e.ContextMap() {
			text += " " + name + "=" + assertString(value)
		}
		text += "\n"
	}
	return text
}

func TestReceiversVerifyWhatArrives(t *testing.T) {
	r, box := startReceiver(t), newOutbox()
	box.add(recorder.Receiver{Name: "all"}, life("EG_1"))
	trial := start(t, box, func(s *webhook.Sender) { s.URLs = map[string]string{"all": r.URL} })
	for i, name := range []string{"egress_started", "egress_updated", "egress_updated", "egress_ended"} {
		e := r.next()
		assert.Equal(t, name, e.Event)
		assert.Equal(t, "EV_EG_1-"+string(rune('0'+i)), e.Id)
		assert.EqualValues(t, 1_700_000_000, e.CreatedAt, "seconds")
		assert.Equal(t, "EG_1", e.EgressInfo.EgressId)
	}
	box.awaitEmpty(t)
	trial.stop()
	assert.Empty(t, r.got, "each once")
}

func TestAJobsOwnReceiver(t *testing.T) {
	r, box := startReceiver(t), newOutbox()
	hook := recorder.Webhook{URL: r.URL + "/hidden?token=hidden", Key: apiKey}
	box.add(recorder.Receiver{Webhook: hook}, events("EG_1", recorder.EventEnded, recorder.EventAmended))
	trial := start(t, box, func(s *webhook.Sender) { s.Key = "" })
	assert.Equal(t, "egress_ended", r.next().Event)
	box.awaitEmpty(t)
	trial.stop()
	assert.Empty(t, r.got, "what has no name is told nobody")
	assert.NotContains(t, trial.says(), "hidden")
	assert.Contains(t, trial.says(), r.URL+"/{redacted}")
}

func TestAJobThatWaitsHoldsUpNoOther(t *testing.T) {
	r, box := startReceiver(t), newOutbox()
	stuck := make(chan struct{})
	r.answer = func(e *livekit.WebhookEvent) int {
		if e.EgressInfo.EgressId == "EG_slow" && e.Event == "egress_started" {
			<-stuck
		}
		return http.StatusOK
	}
	to := recorder.Receiver{Name: "all"}
	box.add(to, life("EG_slow"))
	for _, job := range []string{"EG_1", "EG_2", "EG_3"} {
		box.add(to, life(job))
	}
	start(t, box, func(s *webhook.Sender) { s.URLs = map[string]string{"all": r.URL} })
	for range 12 {
		assert.NotEqual(t, "EG_slow", r.next().EgressInfo.EgressId)
	}
	close(stuck)
	for _, name := range []string{"egress_started", "egress_updated", "egress_updated", "egress_ended"} {
		assert.Equal(t, name, r.next().Event, "in its order")
	}
	box.awaitEmpty(t)
}

func TestBackOffUntilItIsGivenUp(t *testing.T) {
	r, box := startReceiver(t), newOutbox()
	codes := []int{http.StatusInternalServerError, http.StatusNotFound, http.StatusFound, http.StatusUnauthorized}
	tries := 0
	r.answer = func(e *livekit.WebhookEvent) int {
		if e.Event == "egress_ended" {
			return http.StatusNoContent
		}
		tries++
		return codes[tries%len(codes)]
	}
	box.add(recorder.Receiver{Name: "all"}, events("EG_1", recorder.EventQueued, recorder.EventEnded))
	trial := start(t, box, func(s *webhook.Sender) {
		s.URLs, s.GiveUpAfter = map[string]string{"all": r.URL + "/hidden?key=hidden"}, time.Hour
	})
	box.awaitEmpty(t)
	s := time.Second
	assert.Equal(t, []time.Duration{
		s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 64 * s, 128 * s, 256 * s, 512 * s, 600 * s, 600 * s, 600 * s, 600 * s, 177 * s,
	}, box.paused(), "the last try is when the time is over")
	var last *livekit.WebhookEvent
	for range tries + 1 {
		last = r.next()
	}
	assert.Equal(t, "egress_ended", last.Event, "the next event follows")
	assert.Equal(t, 16, tries)
	trial.stop()
	assert.Contains(t, trial.says(), "error webhook given up: it was tried for 1h0m0s")
	assert.NotContains(t, trial.says(), "hidden")
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	other, box := startReceiver(t), newOutbox()
	r := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	t.Cleanup(r.Close)
	box.add(recorder.Receiver{Name: "all"}, events("EG_1", recorder.EventEnded))
	trial := start(t, box, func(s *webhook.Sender) { s.URLs, s.GiveUpAfter = map[string]string{"all": r.URL}, time.Second })
	box.awaitEmpty(t)
	trial.stop()
	assert.Empty(t, other.got)
	assert.Contains(t, trial.says(), "307 Temporary Redirect")
}

func TestGivenUpAtOnce(t *testing.T) {
	gone := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) }))
	t.Cleanup(gone.Close)
	for name, c := range map[string]struct {
		to   recorder.Receiver
		says string
	}{
		"the receiver is gone":       {recorder.Receiver{Name: "gone"}, "410 Gone"},
		"the receiver is not known":  {recorder.Receiver{Name: "former"}, `no receiver "former"`},
		"the signing key is unknown": {recorder.Receiver{Webhook: recorder.Webhook{URL: gone.URL, Key: "APIother"}}, `"APIother" is not in the configuration`},
	} {
		t.Run(name, func(t *testing.T) {
			box := newOutbox()
			box.add(c.to, events("EG_1", recorder.EventEnded))
			trial := start(t, box, func(s *webhook.Sender) { s.URLs = map[string]string{"gone": gone.URL} })
			box.awaitEmpty(t)
			trial.stop()
			assert.Empty(t, box.paused(), "it is not tried again")
			assert.Contains(t, trial.says(), "error webhook given up")
			assert.Contains(t, trial.says(), c.says)
		})
	}
}

func TestAReceiverThatIsAway(t *testing.T) {
	box, address := newOutbox(), recordertest.FreeAddr(t)
	box.add(recorder.Receiver{Name: "all"}, events("EG_1", recorder.EventEnded))
	trial := start(t, box, func(s *webhook.Sender) {
		s.URLs, s.GiveUpAfter = map[string]string{"all": "http://" + address + "/hidden?key=hidden"}, time.Second
	})
	box.awaitEmpty(t)
	trial.stop()
	assert.Contains(t, trial.says(), "connection refused")
	assert.NotContains(t, trial.says(), "hidden")
}

func TestAnOutboxThatIsAway(t *testing.T) {
	r, box := startReceiver(t), newOutbox()
	box.failures = 1
	box.add(recorder.Receiver{Name: "all"}, events("EG_1", recorder.EventEnded))
	start(t, box, func(s *webhook.Sender) { s.URLs = map[string]string{"all": r.URL} })
	assert.Equal(t, "egress_ended", r.next().Event)
}

func TestWhatIsUnderWayIsSeenThrough(t *testing.T) {
	r, box := startReceiver(t), newOutbox()
	here, on := make(chan struct{}), make(chan struct{})
	r.answer = func(*livekit.WebhookEvent) int {
		close(here)
		<-on
		return http.StatusOK
	}
	box.add(recorder.Receiver{Name: "all"}, events("EG_1", recorder.EventEnded))
	trial := start(t, box, func(s *webhook.Sender) { s.URLs = map[string]string{"all": r.URL} })
	<-here
	time.AfterFunc(20*time.Millisecond, func() { close(on) })
	trial.stop()
	box.awaitEmpty(t)
}
