package egress

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/rpc"
	"github.com/livekit/protocol/utils"
	"github.com/livekit/protocol/utils/guid"
	"github.com/livekit/psrpc"
	"go.uber.org/zap"

	"tapedeck/recorder"
)

// Worker takes new jobs into its slots at once. Implemented by recorder.Worker.
type Worker interface {
	// Place answers with the recording as it was accepted. CodeUnavailable when there
	// is no slot, or soon no worker; ErrConflict for an id that exists, or a duplicate
	// that the job refuses.
	Place(ctx context.Context, job recorder.Job) (recorder.Recording, error)
	// Load tells how busy it is.
	Load() recorder.Load
}

// Bus makes a worker one of a livekit-server's egress services: over psrpc, on
// the Redis that both use.
//
// The server offers a request to all workers, gives it to the one that answers with
// the highest affinity, and answers its client with what that one says. A worker
// whose last slot was taken meanwhile says "unavailable" rather than put the job
// into the pool's queue: the server then offers it again, up to three times within
// seconds, and a client is told what it would be told by LiveKit's own recorders,
// in place of waiting for an egress that nobody records.
//
// Stop and update of a job are asked of its worker, and go through the Controller as
// from every other door: a worker that dies over them leaves them to the next.
type Bus struct {
	Door Door
	// Messages is the bus: psrpc.NewRedisMessageBus with a client of livekit-server's Redis.
	Messages psrpc.MessageBus
	// Worker does the jobs. Its Began is to be Serve.
	Worker     Worker
	Controller recorder.Controller
	// CPU is the machine's load, from 0 to 1: (*CPU).Load.
	CPU func() float64
	Log *zap.Logger

	internal rpc.EgressInternalServer
	reports  rpc.IOInfoClient
	leave    context.CancelFunc

	mu       sync.Mutex
	closed   bool
	handlers map[string]*handler
	under    sync.WaitGroup // what is being answered
}

// Open begins to take requests, and does until Close, whatever becomes of ctx.
// Before it and after Close, jobs are not served.
func (b *Bus) Open(ctx context.Context) error {
	if err := b.open(); err != nil {
		b.Close()
		return recorder.Errorf(recorder.CodeUnavailable, "no egress service on the message bus: %w", err)
	}
	ctx, b.leave = context.WithCancel(context.WithoutCancel(ctx))
	w := &waiting{bus: b, served: map[string]func(){}}
	b.under.Go(func() { w.run(ctx) })
	return nil
}

func (b *Bus) open() (err error) {
	if b.reports, err = newReports(b.Messages); err != nil {
		return err
	}
	if b.internal, err = rpc.NewEgressInternalServer(internalAPI{b}, b.Messages, recovering(b.Log)); err != nil {
		return err
	}
	// LiveKit's topic is the cluster, and a pool is one.
	return errors.Join(b.internal.RegisterStartEgressTopic(""), b.internal.RegisterListActiveEgressTopic(""))
}

// Close ends the service: first the taking of requests, then what is asked of jobs.
// It returns when every question that was being answered is. A worker that drains
// refuses by itself (Load), and closes the Bus when its last job is over.
func (b *Bus) Close() {
	b.mu.Lock()
	b.closed = true
	left := b.handlers
	b.handlers = nil
	b.mu.Unlock()
	if b.leave != nil {
		b.leave()
	}
	// Not Shutdown: that also waits for servers to decide about what was offered.
	if b.internal != nil {
		b.internal.Kill()
	}
	for _, h := range left {
		h.server.Kill()
	}
	b.under.Wait()
	if b.reports != nil {
		b.reports.Close()
	}
}

// answering notes that something is being answered until done is called; false
// when nothing is any more.
func (b *Bus) answering() (done func(), ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, false
	}
	b.under.Add(1)
	return b.under.Done, true
}

// internalAPI is what livekit-server asks of every worker.
type internalAPI struct{ *Bus }

// StartEgress begins a job here. A server whose answer got lost asks again under
// the same id: that is answered with the job that runs.
func (b internalAPI) StartEgress(ctx context.Context, req *rpc.StartEgressRequest) (*livekit.EgressInfo, error) {
	done, ok := b.answering()
	if !ok {
		return nil, errClosed()
	}
	defer done()
	if req.GetEgressId() == "" {
		req.EgressId = guid.New(utils.EgressPrefix)
	}
	log := b.Log.With(zap.String("job", req.GetEgressId()))
	job, err := b.job(req)
	if err != nil {
		refused := refusalToStart(err)
		log.Info("a request was refused", zap.Error(refused))
		return nil, refused
	}
	rec, err := b.Worker.Place(ctx, job)
	if errors.Is(err, recorder.ErrConflict) {
		if known, lookErr := find(ctx, b.Controller, job.ID); lookErr == nil {
			return Info(known), nil
		}
	}
	if err != nil {
		refused := refusalToStart(recorder.NewScrubber(job).Error(recorder.AsError(err, recorder.CodeInternal)))
		log.Warn("a request was not taken", zap.Error(refused))
		return nil, refused
	}
	info := Info(rec)
	b.announce(ctx, info, log)
	return info, nil
}

// errClosed has a server ask another worker.
func errClosed() error { return psrpc.NewErrorf(psrpc.Unavailable, "the worker shut down") }

// announce makes the server know the egress before its client does: whoever lists
// next finds it, and no update can come first. Should the server not answer, it
// makes the entry itself from our answer, or the Reporter does.
func (b internalAPI) announce(ctx context.Context, info *livekit.EgressInfo, log *zap.Logger) {
	ctx, cancel := context.WithTimeout(ctx, announceTimeout)
	defer cancel()
	if _, err := b.reports.CreateEgress(ctx, info); err != nil {
		log.Warn("the server did not note the egress: it is told again", zap.Error(err))
	}
}

// announceTimeout is also how long the Reporter leaves making the entry to others.
const announceTimeout = 2 * time.Second

// job is the request as the queue keeps it.
func (b *Bus) job(req *rpc.StartEgressRequest) (recorder.Job, error) {
	job, err := b.Door.job(req, viaServer)
	if err != nil {
		return job, err
	}
	job.Webhooks = ownWebhooks(job.Webhooks)
	if err := job.Validate(); err != nil {
		return job, recorder.NewScrubber(job).Error(recorder.AsError(err, recorder.CodeInvalid))
	}
	return job, nil
}

// ListActiveEgress tells which jobs this worker has.
func (b internalAPI) ListActiveEgress(context.Context, *rpc.ListActiveEgressRequest) (*rpc.ListActiveEgressResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	answer := &rpc.ListActiveEgressResponse{}
	for id, h := range b.handlers {
		if h.runs > 0 {
			answer.EgressIds = append(answer.EgressIds, id)
		}
	}
	slices.Sort(answer.EgressIds)
	return answer, nil
}
