package egress_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/rpc"
	"github.com/livekit/protocol/webhook"
	"github.com/livekit/psrpc"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twitchtv/twirp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"tapedeck/recorder"
	"tapedeck/recorder/egress"
	"tapedeck/recorder/recordertest"
	"tapedeck/recorder/rehearsal"
)

// behind is a livekit-server with its Redis, and the receiver of its webhooks.
type behind struct {
	onServer
	redis  *recordertest.Redis
	client *lksdk.EgressClient
	hooks  *hooks
	pool   *pool
}

// startBehind gives a server with one room, and nobody to record it.
func startBehind(t *testing.T, opts ...recordertest.RedisOption) *behind {
	t.Helper()
	b := &behind{redis: recordertest.StartRedis(t, opts...), hooks: &hooks{changed: make(chan struct{})}, pool: newPool()}
	receiver := httptest.NewServer(b.hooks)
	t.Cleanup(receiver.Close)
	s, err := rehearsal.StartServer(t.Context(), rehearsal.ServerOptions{
		Redis: b.redis.Addr(), Webhooks: []string{receiver.URL}, Log: zaptest.NewLogger(t, zaptest.Level(zap.InfoLevel)),
	})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	b.onServer = onServer{
		Server: s, door: egress.Door{URL: s.URL(), APIKey: s.APIKey, APISecret: s.APISecret},
		api: lksdk.NewRoomServiceClient(s.URL(), s.APIKey, s.APISecret),
	}
	b.hooks.use(s)
	b.client = lksdk.NewEgressClient(s.URL(), s.APIKey, s.APISecret)
	_, err = b.api.CreateRoom(t.Context(), &livekit.CreateRoomRequest{Name: roomJob().RoomName})
	require.NoError(t, err)
	return b
}

// member is one process of the pool: a worker with its bus and its reporter.
type member struct {
	*poolWorker
	bus      *egress.Bus
	messages psrpc.MessageBus
	redis    redis.UniversalClient
	report   context.CancelFunc
}

// join brings up a worker with so many slots, all of them free.
func (b *behind) join(t *testing.T, slots int) *member {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: b.redis.Addr()})
	messages := psrpc.NewRedisMessageBus(client)
	m := &member{poolWorker: &poolWorker{p: b.pool, load: recorder.Load{Slots: slots}}, messages: messages, redis: client}
	log := zaptest.NewLogger(t)
	m.bus = &egress.Bus{
		Door: b.door, Messages: messages, Worker: m, Controller: b.pool, CPU: func() float64 { return 0 }, Log: log,
	}
	m.serve = m.bus.Serve
	require.NoError(t, m.bus.Open(t.Context()))
	reporter := &egress.Reporter{Outbox: b.pool, Messages: messages, Linger: time.Millisecond, Now: time.Now, Log: log}
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	m.report = cancel
	running.Go(func() { assert.NoError(t, reporter.Run(ctx)) })
	t.Cleanup(func() { // after t.Context is done
		running.Wait()
		m.bus.Close()
		_ = client.Close()
	})
	return m
}

// die cuts a member off without a word, as the end of its process does.
func (m *member) die() {
	_ = m.redis.Close()
	m.report()
}

// hooks receives the server's webhooks and verifies them.
type hooks struct {
	mu      sync.Mutex
	keys    auth.KeyProvider
	got     []*livekit.WebhookEvent
	refused int
	changed chan struct{}
}

func (h *hooks) use(s *rehearsal.Server) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.keys = auth.NewSimpleKeyProvider(s.APIKey, s.APISecret)
}

// ServeHTTP takes one.
func (h *hooks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	event, err := webhook.ReceiveWebhookEvent(r, h.keys)
	if err != nil {
		h.refused++
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	h.got = append(h.got, event)
	close(h.changed)
	h.changed = make(chan struct{})
}

// of gives the events of an egress: name and status.
func (h *hooks) of(id string) (names []string, changed <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.got {
		if e.GetEgressInfo().GetEgressId() == id {
			names = append(names, e.Event+" "+e.EgressInfo.Status.String())
		}
	}
	return names, h.changed
}

// await waits for a certain last event, and gives all.
func (h *hooks) await(t *testing.T, id, last string) []string {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		names, changed := h.of(id)
		if len(names) > 0 && names[len(names)-1] == last {
			return names
		}
		select {
		case <-changed:
		case <-deadline:
			require.FailNow(t, "no such webhook", "%s, but %v", last, names)
		}
	}
}

func composite(change func(*livekit.RoomCompositeEgressRequest)) *livekit.RoomCompositeEgressRequest {
	r := &livekit.RoomCompositeEgressRequest{
		RoomName: roomJob().RoomName, Layout: "grid",
		FileOutputs: []*livekit.EncodedFileOutput{{Filepath: "talks/{room_name}-{time}"}},
	}
	if change != nil {
		change(r)
	}
	return r
}

// start begins a recording and makes it active.
func (b *behind) start(t *testing.T) *livekit.EgressInfo {
	t.Helper()
	info, err := b.client.StartRoomCompositeEgress(t.Context(), composite(nil))
	require.NoError(t, err)
	b.pool.begin(info.EgressId)
	b.pool.awaitTold(t, info.EgressId)
	return info
}

func (b *behind) list(t *testing.T, id string) *livekit.EgressInfo {
	t.Helper()
	found, err := b.client.ListEgress(t.Context(), &livekit.ListEgressRequest{EgressId: id})
	require.NoError(t, err)
	require.Len(t, found.Items, 1)
	return found.Items[0]
}

func (b *behind) stop(t *testing.T, id string) *livekit.EgressInfo {
	t.Helper()
	info, err := b.client.StopEgress(t.Context(), &livekit.StopEgressRequest{EgressId: id})
	require.NoError(t, err)
	return info
}

func codeOf(err error) twirp.ErrorCode {
	if said, ok := err.(twirp.Error); ok { //nolint:errorlint // what the client gives is not wrapped
		return said.Code()
	}
	return ""
}

func TestLifeBehindALivekitServer(t *testing.T) {
	t.Parallel()
	b := startBehind(t)
	b.join(t, 2)
	key := "a-stream-key-that-is-secret"
	url := "rtmp://ingest.example.com/app/" + key

	info, err := b.client.StartRoomCompositeEgress(t.Context(), composite(func(r *livekit.RoomCompositeEgressRequest) {
		r.StreamOutputs = []*livekit.StreamOutput{{Protocol: livekit.StreamProtocol_RTMP, Urls: []string{url}}}
	}))
	require.NoError(t, err)
	id := info.EgressId
	assert.Regexp(t, `^EG_\w+$`, id)
	assert.Equal(t, livekit.EgressStatus_EGRESS_STARTING, info.Status)
	rooms, err := b.api.ListRooms(t.Context(), &livekit.ListRoomsRequest{})
	require.NoError(t, err)
	assert.Equal(t, rooms.Rooms[0].Sid, info.RoomId)
	assert.Equal(t, rooms.Rooms[0].Sid, b.pool.job(id).RoomID)
	assert.Regexp(t, `^talks/stand-up-.*\.mp4$`, info.FileResults[0].Filename)
	assert.Equal(t, livekit.EgressStatus_EGRESS_STARTING, b.list(t, id).Status)

	// The recorder's page is in the room: the server changes its metadata.
	_, page := b.enter(t, b.pool.job(id))
	defer page.Leave()
	b.pool.begin(id)
	b.hooks.await(t, id, "egress_updated EGRESS_ACTIVE")
	active, err := b.client.ListEgress(t.Context(), &livekit.ListEgressRequest{RoomName: roomJob().RoomName, Active: true})
	require.NoError(t, err)
	require.Len(t, active.Items, 1)
	assert.Equal(t, livekit.EgressStatus_EGRESS_ACTIVE, active.Items[0].Status)
	assert.NotZero(t, active.Items[0].StartedAt)

	_, err = b.client.UpdateLayout(t.Context(), &livekit.UpdateLayoutRequest{EgressId: id, Layout: "speaker"})
	require.NoError(t, err)
	who, err := b.api.GetParticipant(t.Context(), &livekit.RoomParticipantIdentity{Room: roomJob().RoomName, Identity: id})
	require.NoError(t, err)
	assert.JSONEq(t, `{"layout": "speaker"}`, who.Metadata)

	second := "rtmp://ingest.example.com/app/another-key-that-is-secret"
	info, err = b.client.UpdateStream(t.Context(), &livekit.UpdateStreamRequest{EgressId: id, AddOutputUrls: []string{second}})
	require.NoError(t, err)
	require.Len(t, info.StreamResults, 2)
	info, err = b.client.UpdateStream(t.Context(), &livekit.UpdateStreamRequest{EgressId: id, RemoveOutputUrls: []string{second}})
	require.NoError(t, err)
	assert.Equal(t, livekit.StreamInfo_FINISHED, info.StreamResults[1].Status)
	_, err = b.client.UpdateStream(t.Context(), &livekit.UpdateStreamRequest{EgressId: id, RemoveOutputUrls: []string{url + "x"}})
	assert.Equal(t, twirp.NotFound, codeOf(err), "%v", err)
	assert.NotContains(t, err.Error(), key)
	_, err = b.client.UpdateStream(t.Context(), &livekit.UpdateStreamRequest{EgressId: id, AddOutputUrls: []string{"gopher://x"}})
	assert.Equal(t, twirp.InvalidArgument, codeOf(err), "%v", err)

	info = b.stop(t, id)
	assert.Equal(t, livekit.EgressStatus_EGRESS_ENDING, info.Status)
	b.stop(t, id)
	assert.Equal(t, []string{id}, b.pool.stopped(), "the second one would cut the end short")
	b.pool.end(id, recorder.StatusComplete, func(rec *recorder.Recording) {
		rec.Files[0].Size, rec.Files[0].Duration, rec.Files[0].Location = 4711, int64(time.Minute), "s3://bucket/talks/x.mp4"
	})
	names := b.hooks.await(t, id, "egress_ended EGRESS_COMPLETE")
	assert.Equal(t, []string{
		"egress_started EGRESS_STARTING", "egress_updated EGRESS_ACTIVE", "egress_updated EGRESS_ACTIVE", // the streams
		"egress_updated EGRESS_ACTIVE", "egress_updated EGRESS_ENDING", "egress_ended EGRESS_COMPLETE",
	}, names)
	info = b.list(t, id)
	assert.Equal(t, livekit.EgressStatus_EGRESS_COMPLETE, info.Status)
	assert.EqualValues(t, 4711, info.FileResults[0].Size)
	assert.Equal(t, "s3://bucket/talks/x.mp4", info.FileResults[0].Location)
	assert.NotContains(t, info.String(), key)
	assert.Zero(t, b.hooks.refused)
	_, err = b.client.StopEgress(t.Context(), &livekit.StopEgressRequest{EgressId: id})
	assert.Equal(t, twirp.FailedPrecondition, codeOf(err), "%v", err)
}

func TestRequestsGoWhereThereIsASlot(t *testing.T) {
	t.Parallel()
	b := startBehind(t)
	one, other := b.join(t, 1), b.join(t, 1)
	first, err := b.client.StartRoomCompositeEgress(t.Context(), composite(nil))
	require.NoError(t, err)
	second, err := b.client.StartRoomCompositeEgress(t.Context(), composite(nil))
	require.NoError(t, err)
	has, hasToo := b.pool.workerOf(first.EgressId), b.pool.workerOf(second.EgressId)
	assert.NotSame(t, has, hasToo, "the first is full")

	// Nobody has a slot. This client asks once, livekit-server's own up to three times.
	client, err := rpc.NewEgressInternalClient(one.messages)
	require.NoError(t, err)
	defer client.Close()
	request := func(id string) *rpc.StartEgressRequest {
		return &rpc.StartEgressRequest{EgressId: id, Request: &rpc.StartEgressRequest_RoomComposite{RoomComposite: composite(nil)}}
	}
	_, err = client.StartEgress(t.Context(), "", request("EG_third"))
	assert.ErrorIs(t, err, psrpc.ErrNoResponse)
	again, err := b.client.StartTrackEgress(t.Context(), &livekit.TrackEgressRequest{RoomName: roomJob().RoomName, TrackId: "TR_x"})
	assert.Equal(t, twirp.Unimplemented, codeOf(err), "%v %v", err, again)
	_, err = b.client.StartRoomCompositeEgress(t.Context(), composite(func(r *livekit.RoomCompositeEgressRequest) { r.FileOutputs = nil }))
	assert.Equal(t, twirp.InvalidArgument, codeOf(err), "%v", err)

	// The room is here already, and so the idle one is left alone.
	one.set(recorder.Load{Slots: 4, Running: 2, Rooms: []string{roomJob().RoomName}})
	other.set(recorder.Load{Slots: 4})
	// Whoever has the room may be slow to say so: psrpc's own patience is a fifth of a second.
	patiently := psrpc.WithSelectionOpts(psrpc.SelectionOpts{AffinityTimeout: 10 * time.Second, MaximumAffinity: 1})
	_, err = client.StartEgress(t.Context(), "", request("EG_third"), patiently, aMoment())
	require.NoError(t, err)
	assert.Same(t, one.poolWorker, b.pool.workerOf("EG_third"))
	repeated, err := client.StartEgress(t.Context(), "", request("EG_third"), patiently, aMoment())
	require.NoError(t, err, "its answer may have been lost")
	assert.Equal(t, "EG_third", repeated.EgressId)

	// Its last slot goes while the server decides: it is asked again, of the other.
	one.mu.Lock()
	one.refuses = true
	one.mu.Unlock()
	moved, err := b.client.StartRoomCompositeEgress(t.Context(), composite(nil))
	require.NoError(t, err)
	assert.Same(t, other.poolWorker, b.pool.workerOf(moved.EgressId))

	answers, err := client.ListActiveEgress(t.Context(), "", &rpc.ListActiveEgressRequest{}, aMoment())
	require.NoError(t, err)
	var ids []string
	for range 2 { // both workers
		a := <-answers
		require.NotNil(t, a)
		require.NoError(t, a.Err)
		ids = append(ids, a.Result.EgressIds...)
	}
	assert.ElementsMatch(t, []string{first.EgressId, second.EgressId, "EG_third", moved.EgressId}, ids)
}

func TestLivekitServerIsAway(t *testing.T) {
	t.Parallel()
	b := startBehind(t)
	b.join(t, 1)
	id := b.start(t).EgressId
	b.hooks.await(t, id, "egress_updated EGRESS_ACTIVE") // the server forgets what it has not sent
	b.Kill()
	b.pool.set(id, func(rec *recorder.Recording) { rec.Status, rec.EndReason = recorder.StatusEnding, recorder.EndSignal })
	b.pool.awaitTried(t, id, 1)
	b.pool.end(id, recorder.StatusComplete, nil)
	require.NoError(t, b.Restart(t.Context()))
	names := b.hooks.await(t, id, "egress_ended EGRESS_COMPLETE")
	assert.Equal(t, []string{
		"egress_started EGRESS_STARTING", "egress_updated EGRESS_ACTIVE", "egress_updated EGRESS_ENDING", "egress_ended EGRESS_COMPLETE",
	}, names)
	assert.Equal(t, livekit.EgressStatus_EGRESS_COMPLETE, b.list(t, id).Status)
}

func TestRedisRestartsBehindALivekitServer(t *testing.T) {
	t.Parallel()
	b := startBehind(t, recordertest.WithAppendOnly())
	m := b.join(t, 2)
	id := b.start(t).EgressId
	b.redis.Restart()
	require.Eventually(t, func() bool { // the server's connections and ours are made anew
		_, err := b.client.StopEgress(t.Context(), &livekit.StopEgressRequest{EgressId: id})
		return err == nil
	}, 20*time.Second, 50*time.Millisecond)
	b.pool.end(id, recorder.StatusComplete, nil)
	b.hooks.await(t, id, "egress_ended EGRESS_COMPLETE")
	info, err := b.client.StartRoomCompositeEgress(t.Context(), composite(nil))
	require.NoError(t, err)
	assert.Same(t, m.poolWorker, b.pool.workerOf(info.EgressId))
	b.pool.begin(info.EgressId)
	b.stop(t, info.EgressId)
}

func TestAWorkerDies(t *testing.T) {
	t.Parallel()
	b := startBehind(t)
	one := b.join(t, 2)
	id, lost := b.start(t).EgressId, b.start(t).EgressId
	one.die()
	other := b.join(t, 2)
	// One job is taken over: whoever has it is asked.
	other.takeOver(id)
	assert.Equal(t, livekit.EgressStatus_EGRESS_ENDING, b.stop(t, id).Status)
	// The other is not: whoever lives tells.
	b.pool.end(lost, recorder.StatusFailed, func(rec *recorder.Recording) {
		rec.Fail(recorder.Errorf(recorder.CodeWorkerLost, "the worker is gone"), recorder.CodeWorkerLost, recorder.EndWorkerLost)
	})
	b.hooks.await(t, lost, "egress_ended EGRESS_FAILED")
	info := b.list(t, lost)
	assert.Equal(t, livekit.EgressStatus_EGRESS_FAILED, info.Status)
	assert.Contains(t, info.Error, "the worker is gone")
}
