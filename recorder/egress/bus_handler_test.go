package egress_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/rpc"
	"github.com/livekit/psrpc"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"tapedeck/recorder"
	"tapedeck/recorder/egress"
	"tapedeck/recorder/recordertest"
)

// TestMain lets the tests wait together: for LiveKit's patience, and for what its server does
// every few seconds.
func TestMain(m *testing.M) { os.Exit(recordertest.RunTogether(m, 6)) }

// aMoment is time for an answer. Who is not there is not waited for longer than the second
// that psrpc gives everybody to come forward.
func aMoment() psrpc.RequestOption { return psrpc.WithRequestTimeout(20 * time.Second) }

// alone is a Bus that no server is behind: the test asks as one does, over a bus in
// memory, but never repeats.
type alone struct {
	pool   *pool
	worker *poolWorker
	bus    *egress.Bus
	start  rpc.EgressInternalClient
	client rpc.EgressHandlerClient
}

func startAlone(t *testing.T) *alone {
	t.Helper()
	return startAloneIn(t, newPool())
}

func startAloneIn(t *testing.T, p *pool) *alone {
	t.Helper()
	a := &alone{pool: p}
	messages := psrpc.NewLocalMessageBus()
	a.worker = &poolWorker{p: a.pool, load: recorder.Load{Slots: 8}}
	a.bus = &egress.Bus{
		Door: door(), Messages: messages, Worker: a.worker, Controller: a.pool, CPU: func() float64 { return 0 }, Log: zap.NewNop(),
	}
	a.worker.serve = a.bus.Serve
	require.NoError(t, a.bus.Open(t.Context()))
	t.Cleanup(a.bus.Close)
	var err error
	a.start, err = rpc.NewEgressInternalClient(messages)
	require.NoError(t, err)
	t.Cleanup(a.start.Close)
	a.client, err = rpc.NewEgressHandlerClient(messages)
	require.NoError(t, err)
	t.Cleanup(a.client.Close)
	serveIO(t, messages)
	return a
}

// job starts one: an MP4 file and a stream, active.
func (a *alone) job(t *testing.T, change func(*rpc.StartEgressRequest)) string {
	t.Helper()
	req := &rpc.StartEgressRequest{Request: &rpc.StartEgressRequest_RoomComposite{
		RoomComposite: composite(func(r *livekit.RoomCompositeEgressRequest) {
			r.StreamOutputs = []*livekit.StreamOutput{{Protocol: livekit.StreamProtocol_RTMP, Urls: []string{ingest("one")}}}
		}),
	}}
	if change != nil {
		change(req)
	}
	info, err := a.start.StartEgress(t.Context(), "", req, psrpc.WithSelectionOpts(psrpc.SelectionOpts{AcceptFirstAvailable: true}))
	require.NoError(t, err)
	a.pool.begin(info.EgressId)
	return info.EgressId
}

func ingest(key string) string { return "rtmp://ingest.example.com/app/" + key + "-that-is-secret" }

func rpcCodeOf(err error) psrpc.ErrorCode {
	code, _ := psrpc.GetErrorCode(err)
	return code
}

func TestAffinity(t *testing.T) {
	rooms := []string{"other", "stand-up"}
	for name, c := range map[string]struct {
		load recorder.Load
		cpu  float64
		want float32
	}{
		"idle":                          {recorder.Load{Slots: 4}, 0, 0.5},
		"half full":                     {recorder.Load{Slots: 4, Running: 2}, 0, 0.25},
		"half full, half loaded":        {recorder.Load{Slots: 4, Running: 2}, 0.5, 0.125},
		"full":                          {recorder.Load{Slots: 4, Running: 4}, 0, -1},
		"full of this room":             {recorder.Load{Slots: 4, Running: 4, Rooms: rooms}, 0, -1},
		"this room":                     {recorder.Load{Slots: 4, Running: 3, Rooms: rooms}, 0.5, 1},
		"this room, but no CPU is left": {recorder.Load{Slots: 4, Running: 2, Rooms: rooms}, 0.96, 0.01},
		"a clock that jumped":           {recorder.Load{Slots: 4}, 7, 0.01},
	} {
		assert.InDelta(t, c.want, egress.Affinity(c.load, c.cpu, "stand-up"), 0.001, name)
	}
	assert.InDelta(t, 0.25, egress.Affinity(recorder.Load{Slots: 2, Running: 1, Rooms: []string{""}}, 0, ""), 0.001, "web pages are in no room")
}

func TestWhoTakesNothing(t *testing.T) {
	a := startAlone(t)
	for _, load := range []recorder.Load{{Slots: 2, Draining: true}, {Slots: 2, Unfit: true}} {
		a.worker.set(load)
		for _, req := range []*rpc.StartEgressRequest{{}, {Request: &rpc.StartEgressRequest_Web{Web: &livekit.WebEgressRequest{
			Url: "https://example.com", FileOutputs: []*livekit.EncodedFileOutput{{}},
		}}}} {
			_, err := a.start.StartEgress(t.Context(), "", req, psrpc.WithSelectionOpts(psrpc.SelectionOpts{AffinityTimeout: 50 * time.Millisecond}))
			assert.ErrorIs(t, err, psrpc.ErrNoResponse, load)
		}
	}
}

func TestRefusalsOfAStart(t *testing.T) {
	a := startAlone(t)
	ask := func(req *rpc.StartEgressRequest) error {
		_, err := a.start.StartEgress(t.Context(), "", req, psrpc.WithSelectionOpts(psrpc.SelectionOpts{AcceptFirstAvailable: true}))
		return err
	}
	room := func(r *livekit.RoomCompositeEgressRequest) *rpc.StartEgressRequest {
		return &rpc.StartEgressRequest{Request: &rpc.StartEgressRequest_RoomComposite{RoomComposite: r}}
	}
	assert.Equal(t, psrpc.InvalidArgument, rpcCodeOf(ask(&rpc.StartEgressRequest{})))
	err := ask(room(composite(func(r *livekit.RoomCompositeEgressRequest) { r.Layout = "no-such-layout" })))
	assert.Equal(t, psrpc.InvalidArgument, rpcCodeOf(err))
	assert.ErrorContains(t, err, "no-such-layout")
	err = ask(room(composite(func(r *livekit.RoomCompositeEgressRequest) {
		r.StreamOutputs = []*livekit.StreamOutput{{Urls: []string{"gopher://ingest.example.com/app/hunter2-and-more"}}}
	})))
	assert.Equal(t, psrpc.InvalidArgument, rpcCodeOf(err))
	assert.NotContains(t, err.Error(), "hunter2")
	assert.Equal(t, psrpc.Unimplemented, rpcCodeOf(ask(&rpc.StartEgressRequest{Request: &rpc.StartEgressRequest_Replay{Replay: &livekit.ExportReplayRequest{}}})))
	a.worker.refuses = true
	assert.Equal(t, psrpc.Unavailable, rpcCodeOf(ask(room(composite(nil)))))
}

func TestAPanicEndsOneRequest(t *testing.T) {
	a := startAlone(t)
	ask := func() error {
		_, err := a.start.StartEgress(t.Context(), "", &rpc.StartEgressRequest{
			Request: &rpc.StartEgressRequest_RoomComposite{RoomComposite: composite(nil)},
		}, psrpc.WithSelectionOpts(psrpc.SelectionOpts{AcceptFirstAvailable: true, AffinityTimeout: 200 * time.Millisecond}))
		return err
	}
	serve := a.worker.serve
	a.worker.serve = func(recorder.Job) func() { panic("a-token-that-is-secret") }
	err := ask()
	assert.Equal(t, psrpc.Internal, rpcCodeOf(err))
	assert.EqualError(t, err, "internal error")
	a.worker.set(recorder.Load{Slots: 1})
	a.worker.serve = serve
	require.NoError(t, ask())
	a.bus.CPU = func() float64 { panic("no CPU") }
	assert.ErrorIs(t, ask(), psrpc.ErrNoResponse)
}

func TestServerOfTheRequestIsThePages(t *testing.T) {
	a := startAlone(t)
	id := a.job(t, func(req *rpc.StartEgressRequest) {
		req.EgressId, req.RoomId, req.Token, req.WsUrl = "EG_given", "RM_given", "a-token-of-its-own", "wss://given.example.com"
	})
	assert.Equal(t, "EG_given", id)
	job := a.pool.job(id)
	assert.Equal(t, "RM_given", job.RoomID)
	pass, err := door().Admit(job)
	require.NoError(t, err)
	assert.Equal(t, recorder.Pass{URL: "wss://given.example.com", Token: "a-token-of-its-own"}, pass)
	assert.NotContains(t, string(job.Origin), "a-token")
	assert.True(t, egress.FromServer(job.Origin))
}

// The server calls what it sees in EgressInfo. Only what it must not see is ours.
func TestWhoseWebhooks(t *testing.T) {
	a := startAlone(t)
	id := a.job(t, func(req *rpc.StartEgressRequest) {
		req.GetRoomComposite().Webhooks = []*livekit.WebhookConfig{
			{Url: "https://a.example.com/hook", SigningKey: "k"}, {Url: "https://b.example.com/hook?key=secret", SigningKey: "k"},
		}
	})
	assert.Equal(t, []recorder.Webhook{{URL: "https://b.example.com/hook?key=secret", Key: "k"}}, a.pool.job(id).Webhooks)
	found, err := a.pool.List(t.Context(), recorder.Filter{IDs: []string{id}})
	require.NoError(t, err)
	hooks := egress.Info(found[0]).GetRoomComposite().GetWebhooks()
	require.Len(t, hooks, 1)
	assert.Equal(t, "https://a.example.com/hook", hooks[0].Url)
}

// A request is refused for its length by its door, never for what the door adds to it.
func TestTheLongestRequest(t *testing.T) {
	a := startAlone(t)
	text := "x"
	long := func(req *rpc.StartEgressRequest) {
		req.GetRoomComposite().Webhooks = []*livekit.WebhookConfig{
			{Url: "https://a.example.com/hook", FilterParams: &livekit.FilterParams{ExcludeEvents: []string{text}}},
		}
	}
	text = strings.Repeat("x", 64<<10-len(a.pool.job(a.job(t, long)).Origin)+1)
	assert.Len(t, a.pool.job(a.job(t, long)).Origin, 64<<10)

	text = strings.Repeat("x", 64<<10)
	req := &rpc.StartEgressRequest{Request: &rpc.StartEgressRequest_RoomComposite{RoomComposite: composite(nil)}}
	long(req)
	_, err := a.start.StartEgress(t.Context(), "", req, psrpc.WithSelectionOpts(psrpc.SelectionOpts{AcceptFirstAvailable: true}))
	assert.Equal(t, psrpc.InvalidArgument, rpcCodeOf(err))
	assert.ErrorContains(t, err, "request: it is longer")
}

func TestStopBeforeTheStart(t *testing.T) {
	a := startAlone(t)
	info, err := a.start.StartEgress(t.Context(), "", &rpc.StartEgressRequest{
		Request: &rpc.StartEgressRequest_RoomComposite{RoomComposite: composite(nil)},
	}, psrpc.WithSelectionOpts(psrpc.SelectionOpts{AcceptFirstAvailable: true}))
	require.NoError(t, err)
	stopped, err := a.client.StopEgress(t.Context(), info.EgressId, &livekit.StopEgressRequest{EgressId: info.EgressId})
	require.NoError(t, err)
	assert.Equal(t, livekit.EgressStatus_EGRESS_ABORTED, stopped.Status)
	_, err = a.client.StopEgress(t.Context(), info.EgressId, &livekit.StopEgressRequest{EgressId: info.EgressId})
	assert.Equal(t, psrpc.FailedPrecondition, rpcCodeOf(err))
	assert.ErrorContains(t, err, "EGRESS_ABORTED")
}

func TestAWorkerThatIsSlowToStop(t *testing.T) {
	t.Parallel()
	a := startAlone(t)
	id := a.job(t, nil)
	a.pool.sleep(true)
	recordertest.Judged(t, func() []string {
		var late recordertest.Complaints
		for range 2 { // the second is answered too, and asks nothing of the recording
			began := time.Now()
			info, err := a.client.StopEgress(t.Context(), id, &livekit.StopEgressRequest{EgressId: id}, aMoment())
			require.NoError(t, err)
			assert.Equal(t, livekit.EgressStatus_EGRESS_ENDING, info.Status, "the stop is stored")
			assert.Less(&late, time.Since(began), 3*time.Second, "a server asks again by then")
		}
		return late
	})
	assert.Equal(t, []string{id}, a.pool.stopped())
}

func TestStreamsOfAJob(t *testing.T) {
	t.Parallel()
	a := startAlone(t)
	id := a.job(t, nil)
	update := func(add, remove []string) (*livekit.EgressInfo, error) {
		return a.client.UpdateStream(t.Context(), id, &livekit.UpdateStreamRequest{EgressId: id, AddOutputUrls: add, RemoveOutputUrls: remove})
	}
	for range 2 { // the second is a repetition
		info, err := update([]string{ingest("two"), ingest("three") + " live=1"}, []string{ingest("one")})
		require.NoError(t, err)
		require.Len(t, info.StreamResults, 3)
		assert.Equal(t, livekit.StreamInfo_FINISHED, info.StreamResults[0].Status)
		assert.Equal(t, livekit.StreamInfo_ACTIVE, info.StreamResults[2].Status)
		assert.NotContains(t, info.String(), "that-is-secret")
	}
	assert.Equal(t, 1, a.pool.updated())
	_, err := update([]string{ingest("four"), ingest("five")}, nil)
	assert.Equal(t, psrpc.InvalidArgument, rpcCodeOf(err))
	_, err = update(nil, nil)
	assert.Equal(t, psrpc.InvalidArgument, rpcCodeOf(err))
	info, err := update(nil, []string{ingest("two"), ingest("three")})
	require.NoError(t, err)
	assert.Equal(t, livekit.EgressStatus_EGRESS_ACTIVE, info.Status, "the file remains")
	info, err = update([]string{ingest("two")}, nil)
	require.NoError(t, err)
	assert.Equal(t, livekit.StreamInfo_ACTIVE, info.StreamResults[2].Status, "it is on again")

	a.pool.sleep(true)
	_, err = update([]string{ingest("four")}, nil)
	assert.Equal(t, psrpc.DeadlineExceeded, rpcCodeOf(err), "a server asks again then")
	a.pool.sleep(false)
	a.pool.end(id, recorder.StatusComplete, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = a.client.UpdateStream(ctx, id, &livekit.UpdateStreamRequest{EgressId: id, AddOutputUrls: []string{ingest("five")}})
	assert.Error(t, err, "nobody answers for it")
}

func TestStreamsThatWaitForTheStart(t *testing.T) {
	a := startAlone(t)
	info, err := a.start.StartEgress(t.Context(), "", &rpc.StartEgressRequest{
		Request: &rpc.StartEgressRequest_RoomComposite{RoomComposite: composite(nil)},
	}, psrpc.WithSelectionOpts(psrpc.SelectionOpts{AcceptFirstAvailable: true}))
	require.NoError(t, err)
	a.pool.sleep(true)
	for _, req := range []*livekit.UpdateStreamRequest{{AddOutputUrls: []string{ingest("one")}}, {RemoveOutputUrls: []string{ingest("one")}}} {
		_, err = a.client.UpdateStream(t.Context(), info.EgressId, req)
		require.NoError(t, err)
	}
	assert.Equal(t, 2, a.pool.updated(), "what was added is removed again")
}

func TestRemovingTheLastOutputEndsTheJob(t *testing.T) {
	a := startAlone(t)
	id := a.job(t, func(req *rpc.StartEgressRequest) { req.GetRoomComposite().FileOutputs = nil })
	info, err := a.client.UpdateStream(t.Context(), id, &livekit.UpdateStreamRequest{EgressId: id, RemoveOutputUrls: []string{ingest("one")}})
	require.NoError(t, err)
	assert.Equal(t, livekit.EgressStatus_EGRESS_ENDING, info.Status)
	_, err = a.client.UpdateStream(t.Context(), id, &livekit.UpdateStreamRequest{EgressId: id, AddOutputUrls: []string{ingest("two")}})
	assert.Equal(t, psrpc.FailedPrecondition, rpcCodeOf(err))
}

func TestUpdateEgress(t *testing.T) {
	a := startAlone(t)
	id := a.job(t, nil)
	_, err := a.client.UpdateEgress(t.Context(), id, &livekit.UpdateEgressRequest{EgressId: id, Layout: "speaker-dark", AddStreamUrls: []string{ingest("two")}})
	require.NoError(t, err)
	found, err := a.pool.List(t.Context(), recorder.Filter{IDs: []string{id}})
	require.NoError(t, err)
	assert.Equal(t, "speaker-dark", found[0].Layout)
	assert.Len(t, found[0].Streams, 2)
	_, err = a.client.UpdateEgress(t.Context(), id, &livekit.UpdateEgressRequest{EgressId: id, Layout: "no-such-layout"})
	assert.Equal(t, psrpc.InvalidArgument, rpcCodeOf(err))
	_, err = a.client.UpdateEgress(t.Context(), id, &livekit.UpdateEgressRequest{EgressId: id, Url: "https://example.com"})
	assert.Equal(t, psrpc.Unimplemented, rpcCodeOf(err))
}

// A job may begin again here before its last attempt is cleared away.
func TestAJobIsServedUntilItsLastAttemptIsOver(t *testing.T) {
	t.Parallel()
	a := startAlone(t)
	id := a.job(t, nil)
	done := a.bus.Serve(a.pool.job(id))
	a.pool.ended(id)()
	stop := func() error {
		_, err := a.client.StopEgress(t.Context(), id, &livekit.StopEgressRequest{EgressId: id}, aMoment())
		return err
	}
	require.NoError(t, stop())
	done()
	done()
	assert.Error(t, stop())
	a.bus.Close()
	a.bus.Serve(a.pool.job(id))()
	assert.Error(t, stop(), "it is closed")
}

// A job that was given back is no worker's until one has a slot again.
func TestAJobThatWaitsCanBeStopped(t *testing.T) {
	t.Parallel()
	a := startAlone(t)
	stop := func(id string) error {
		_, err := a.client.StopEgress(t.Context(), id, &livekit.StopEgressRequest{EgressId: id}, aMoment())
		return err
	}
	id, taken := a.job(t, nil), a.job(t, nil)
	for _, j := range []string{id, taken} {
		a.pool.set(j, func(rec *recorder.Recording) { rec.Status = recorder.StatusQueued })
		a.pool.ended(j)()
	}
	require.Eventually(t, func() bool { return stop(id) == nil }, 10*time.Second, 50*time.Millisecond)
	found, err := a.pool.List(t.Context(), recorder.Filter{IDs: []string{id}})
	require.NoError(t, err)
	assert.Equal(t, recorder.StatusAborted, found[0].Status)

	a.pool.begin(taken) // elsewhere: it is answered for there
	require.Eventually(t, func() bool { return !a.answersFor(t, taken) }, 10*time.Second, 50*time.Millisecond)
}

func TestJobsThatWaitedBefore(t *testing.T) {
	t.Parallel()
	p := newPool()
	p.put("EG_waits", throughServer)
	p.put("EG_other", "")
	a := startAloneIn(t, p)
	require.Eventually(t, func() bool { return a.answersFor(t, "EG_waits") }, 10*time.Second, 50*time.Millisecond)
	assert.False(t, a.answersFor(t, "EG_other"), "livekit-server does not know it")
	answers, err := a.start.ListActiveEgress(t.Context(), "", &rpc.ListActiveEgressRequest{}, psrpc.WithRequestTimeout(50*time.Millisecond))
	require.NoError(t, err)
	for answer := range answers {
		assert.Empty(t, answer.Result.GetEgressIds(), "it is not active")
	}
}

// answersFor asks something that nobody grants.
func (a *alone) answersFor(t *testing.T, id string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := a.client.UpdateEgress(ctx, id, &livekit.UpdateEgressRequest{EgressId: id, Url: "https://example.com"})
	require.Error(t, err)
	return rpcCodeOf(err) == psrpc.Unimplemented
}

func TestCPULoadIsAShare(t *testing.T) {
	c, err := egress.WatchCPU()
	require.NoError(t, err)
	defer c.Close()
	assert.Zero(t, c.Load(), "nothing is known yet")
	require.Eventually(t, func() bool { return c.Load() > 0 }, 10*time.Second, 20*time.Millisecond)
	assert.LessOrEqual(t, c.Load(), 1.0)
}
