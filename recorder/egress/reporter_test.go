package egress_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/rpc"
	"github.com/livekit/psrpc"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"tapedeck/recorder"
	"tapedeck/recorder/egress"
)

// ioInfo is livekit-server's side of the reports, as far as recorders see it.
type ioInfo struct {
	rpc.UnimplementedIOInfoServer

	mu    sync.Mutex
	known map[string]*livekit.EgressInfo
	calls []string // what changed something: call and status
	fails error

	refused chan struct{} // a value for each call that failed
}

func serveIO(t *testing.T, messages psrpc.MessageBus) *ioInfo {
	t.Helper()
	io := &ioInfo{known: map[string]*livekit.EgressInfo{}, refused: make(chan struct{}, 100)}
	server, err := rpc.NewIOInfoServer(io, messages)
	require.NoError(t, err)
	t.Cleanup(server.Kill)
	return io
}

func (io *ioInfo) store(call string, info *livekit.EgressInfo) (*emptypb.Empty, error) {
	io.mu.Lock()
	defer io.mu.Unlock()
	if io.fails != nil {
		io.refused <- struct{}{}
		return nil, io.fails
	}
	io.known[info.EgressId] = proto.CloneOf(info)
	io.calls = append(io.calls, call+" "+info.Status.String())
	return &emptypb.Empty{}, nil
}

// CreateEgress implements rpc.IOInfoServerImpl.
func (io *ioInfo) CreateEgress(_ context.Context, info *livekit.EgressInfo) (*emptypb.Empty, error) {
	return io.store("create", info)
}

// UpdateEgress implements rpc.IOInfoServerImpl.
func (io *ioInfo) UpdateEgress(_ context.Context, info *livekit.EgressInfo) (*emptypb.Empty, error) {
	return io.store("update", info)
}

// GetEgress implements rpc.IOInfoServerImpl.
func (io *ioInfo) GetEgress(_ context.Context, req *rpc.GetEgressRequest) (*livekit.EgressInfo, error) {
	io.mu.Lock()
	defer io.mu.Unlock()
	if info := io.known[req.EgressId]; info != nil {
		return info, nil
	}
	return nil, psrpc.NewErrorf(psrpc.NotFound, "egress does not exist")
}

func (io *ioInfo) fail(err error) {
	io.mu.Lock()
	defer io.mu.Unlock()
	io.fails = err
}

func (io *ioInfo) called() []string {
	io.mu.Lock()
	defer io.mu.Unlock()
	return slices.Clone(io.calls)
}

// report runs a Reporter over the pool until the test ends. later is what its clock
// is ahead of the Outbox's.
func report(t *testing.T, p *pool, later time.Duration, giveUp time.Duration) *ioInfo {
	t.Helper()
	messages := psrpc.NewLocalMessageBus()
	io := serveIO(t, messages)
	r := &egress.Reporter{
		Outbox: p, Messages: messages, GiveUpAfter: giveUp, Linger: time.Millisecond, Log: zap.NewNop(),
		Now: func() time.Time { return time.Now().Add(later) },
	}
	var running sync.WaitGroup
	running.Go(func() { assert.NoError(t, r.Run(t.Context())) })
	t.Cleanup(running.Wait)
	return io
}

// put adds a job that came through a livekit-server, or not.
func (p *pool) put(id, origin string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	job := recorder.Job{
		ID: id, Source: recorder.Source{RoomName: "stand-up"}, Files: []recorder.FileOutput{{Filepath: "a"}},
		Streams: []recorder.StreamOutput{{URLs: []string{ingest("one")}}}, Origin: []byte(origin),
	}
	rec := recorder.NewRecording(job, time.Now())
	p.jobs[id] = &poolJob{job: job, rec: rec, events: []recorder.Event{{Type: recorder.EventQueued, At: rec.CreatedAt, Recording: rec}}}
	p.signal()
}

const throughServer = `{"kind":"room_composite","request":{"room_name":"stand-up"},"via":"psrpc"}`

func TestReporterMakesTheEntryThatNobodyMade(t *testing.T) {
	t.Parallel()
	p := newPool()
	io := report(t, p, time.Hour, 24*time.Hour)
	p.put("EG_a", throughServer)
	p.awaitTold(t, "EG_a")
	p.begin("EG_a")
	p.end("EG_a", recorder.StatusComplete, nil)
	p.awaitTold(t, "EG_a")
	assert.Equal(t, []string{"create EGRESS_STARTING", "update EGRESS_ACTIVE", "update EGRESS_COMPLETE"}, io.called())

	io.mu.Lock()
	clear(io.known) // of a server whose store was lost meanwhile
	io.calls = nil
	io.mu.Unlock()
	p.set("EG_a", func(*recorder.Recording) {})
	p.awaitTold(t, "EG_a")
	assert.Equal(t, []string{"create EGRESS_COMPLETE", "update EGRESS_COMPLETE"}, io.called(), "only an update lets the server forget it one day")
}

func TestReporterLeavesTheEntryToWhoeverAnswersTheRequest(t *testing.T) {
	t.Parallel()
	p := newPool()
	io := report(t, p, 0, 24*time.Hour)
	p.put("EG_a", throughServer)
	p.awaitTried(t, "EG_a", 2)
	assert.Empty(t, io.called())
	_, err := io.store("announce", &livekit.EgressInfo{EgressId: "EG_a"})
	require.NoError(t, err)
	p.begin("EG_a")
	p.awaitTold(t, "EG_a")
	assert.Equal(t, "update EGRESS_ACTIVE", io.called()[len(io.called())-1])
	assert.NotContains(t, io.called(), "create EGRESS_STARTING")
}

// Every update is a webhook.
func TestReporterTellsNothingTwice(t *testing.T) {
	t.Parallel()
	p := newPool()
	io := report(t, p, time.Hour, 24*time.Hour)
	p.put("EG_a", throughServer)
	p.begin("EG_a")
	p.set("EG_a", func(rec *recorder.Recording) { // figures alone
		rec.Files[0].Size, rec.Files[0].Duration, rec.Streams[0].Duration = 5, 6, 7
	})
	p.set("EG_a", func(rec *recorder.Recording) {
		rec.Streams[0].State, rec.Streams[0].Error = recorder.StreamFailed, "refused"
	})
	p.end("EG_a", recorder.StatusFailed, nil)
	p.awaitTold(t, "EG_a")
	told := []string{"create EGRESS_STARTING", "update EGRESS_ACTIVE", "update EGRESS_ACTIVE", "update EGRESS_FAILED"}
	assert.Equal(t, told, io.called())

	p.mu.Lock() // an Outbox may repeat what was told
	j := p.jobs["EG_a"]
	j.events = slices.Clone(j.told)
	p.signal()
	p.mu.Unlock()
	p.awaitTold(t, "EG_a")
	assert.Equal(t, told, io.called())

	p.mu.Lock() // a file arrived after all
	rec := j.rec.Clone()
	rec.Files[0].Location = "s3://bucket/a.mp4"
	j.events = append(j.events, recorder.Event{Type: recorder.EventAmended, Recording: rec})
	p.signal()
	p.mu.Unlock()
	p.awaitTold(t, "EG_a")
	assert.Equal(t, append(told, "update EGRESS_FAILED"), io.called())
	io.mu.Lock()
	assert.Equal(t, "s3://bucket/a.mp4", io.known["EG_a"].FileResults[0].Location)
	clear(io.known) // a day later
	io.calls = nil
	io.mu.Unlock()

	p.mu.Lock()
	j.events = append(j.events, recorder.Event{Type: recorder.EventAmended, Recording: rec})
	p.signal()
	p.mu.Unlock()
	p.awaitTold(t, "EG_a")
	assert.Empty(t, io.called(), "nothing starts that has ended")
}

func TestJobsOfOtherDoorsAreNotReported(t *testing.T) {
	t.Parallel()
	p := newPool()
	io := report(t, p, time.Hour, 24*time.Hour)
	for id, origin := range map[string]string{"EG_a": "", "EG_b": `{"kind":"room_composite","request":{}}`, "EG_c": `"psrpc"`} {
		p.put(id, origin)
		p.end(id, recorder.StatusComplete, nil)
		p.awaitTold(t, id)
	}
	assert.Empty(t, io.called())
}

func TestAServerThatRefuses(t *testing.T) {
	t.Parallel()
	p := newPool()
	io := report(t, p, time.Hour, 2*time.Hour)
	io.fail(errors.New("its store is away"))
	p.put("EG_a", throughServer)
	p.begin("EG_a")
	<-io.refused
	io.fail(nil)
	p.end("EG_a", recorder.StatusComplete, nil)
	p.awaitTold(t, "EG_a")
	assert.Equal(t, []string{"create EGRESS_STARTING", "update EGRESS_ACTIVE", "update EGRESS_COMPLETE"}, io.called())
}

func TestReporterGivesUpOneDay(t *testing.T) {
	t.Parallel()
	p := newPool()
	io := report(t, p, time.Hour, time.Minute) // an hour has gone by at the first try
	io.fail(errors.New("its store is away"))
	p.put("EG_a", throughServer)
	p.end("EG_a", recorder.StatusComplete, nil)
	p.awaitTold(t, "EG_a")
	assert.Empty(t, io.called())
}
