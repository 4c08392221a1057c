package egress

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/rpc"
	"go.uber.org/zap"

	"tapedeck/recorder"
)

// handler serves one job that this worker has, on the topic of its id: that is
// where livekit-server asks for a stop or another stream.
type handler struct {
	bus     *Bus
	id      string
	server  rpc.EgressHandlerServer
	stopped atomic.Bool
	// Under bus.mu. A job may be begun again before its last attempt is cleared away.
	uses, runs int
}

// Serve answers for a job from now on until done is called: from the moment the
// worker has it, whichever way it came by it, until it is finished or another
// worker's. What is being answered then is still seen through. It is meant to be
// a recorder.Worker's Began.
func (b *Bus) Serve(job recorder.Job) (done func()) { return b.serve(job.ID, 1) }

// serve is Serve; runs is 0 for a job that is not the worker's.
func (b *Bus) serve(id string, runs int) (done func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.internal == nil {
		return func() {}
	}
	h := b.handlers[id]
	if h == nil {
		h = &handler{bus: b, id: id}
		if err := h.register(); err != nil {
			b.Log.Error("an egress cannot be stopped or updated by livekit-server", zap.String("job", id), zap.Error(err))
			return func() {}
		}
		if b.handlers == nil {
			b.handlers = map[string]*handler{}
		}
		b.handlers[id] = h
	}
	h.uses, h.runs = h.uses+1, h.runs+runs
	return sync.OnceFunc(func() { b.unserve(h, runs) })
}

func (b *Bus) unserve(h *handler, runs int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h.uses, h.runs = h.uses-1, h.runs-runs
	if h.uses > 0 || b.handlers[h.id] != h {
		return
	}
	delete(b.handlers, h.id)
	h.server.Kill()
}

func (h *handler) register() (err error) {
	if h.server, err = rpc.NewEgressHandlerServer(h, h.bus.Messages, recovering(h.bus.Log)); err != nil {
		return err
	}
	for _, register := range []func(string) error{
		h.server.RegisterStopEgressTopic, h.server.RegisterUpdateStreamTopic, h.server.RegisterUpdateEgressTopic,
	} {
		if err := register(h.id); err != nil {
			h.server.Kill()
			return err
		}
	}
	return nil
}

// The times of an answer. A server waits for 3 s, then asks again.
const (
	answerWithin = 2500 * time.Millisecond
	answerSlack  = 300 * time.Millisecond // of that: the way back
	answerPoll   = 40 * time.Millisecond
)

// StopEgress ends the job, and answers when it is ending or has ended. A repeated
// stop changes nothing: the server repeats what took long to answer, and a second
// stop would cut short the end of the recording.
func (h *handler) StopEgress(ctx context.Context, _ *livekit.StopEgressRequest) (*livekit.EgressInfo, error) {
	return h.change(ctx, func(ctx context.Context, c changer) (recorder.Recording, error) { return c.stop(ctx, h.id) })
}

// order stops the job, once.
func (h *handler) order(ctx context.Context, id string) error {
	if h.stopped.Swap(true) {
		return nil
	}
	err := h.bus.Controller.Stop(ctx, id, recorder.EndStopped)
	if err != nil {
		h.stopped.Store(false)
	}
	return err
}

// UpdateStream adds and removes ingest URLs, and answers when the recording shows
// it. Removing the last output ends the egress.
func (h *handler) UpdateStream(ctx context.Context, req *livekit.UpdateStreamRequest) (*livekit.EgressInfo, error) {
	return h.update(ctx, recorder.Update{
		AddStreamURLs: plainURLs(req.AddOutputUrls), RemoveStreamURLs: plainURLs(req.RemoveOutputUrls),
	})
}

// UpdateEgress changes streams and the layout of a room's template page.
func (h *handler) UpdateEgress(ctx context.Context, req *livekit.UpdateEgressRequest) (*livekit.EgressInfo, error) {
	if req.Url != "" {
		return nil, rpcError(unimplemented("url", "a recording stays with its page: start another one for another page"))
	}
	return h.update(ctx, recorder.Update{
		AddStreamURLs: plainURLs(req.AddStreamUrls), RemoveStreamURLs: plainURLs(req.RemoveStreamUrls), Layout: req.Layout,
	})
}

func (h *handler) update(ctx context.Context, u recorder.Update) (*livekit.EgressInfo, error) {
	return h.change(ctx, func(ctx context.Context, c changer) (recorder.Recording, error) { return c.update(ctx, h.id, u) })
}

func (h *handler) change(ctx context.Context, how func(context.Context, changer) (recorder.Recording, error)) (*livekit.EgressInfo, error) {
	done, ok := h.bus.answering()
	if !ok {
		return nil, errClosed()
	}
	defer done()
	ctx, cancel := within(ctx)
	defer cancel()
	rec, err := how(ctx, changer{controller: h.bus.Controller, order: h.order, each: answerPoll})
	if err != nil {
		return nil, rpcError(err)
	}
	return Info(rec), nil
}

// within bounds an answer, so that it is there before the server asks again.
func within(ctx context.Context) (context.Context, context.CancelFunc) {
	last := time.Now().Add(answerWithin)
	if d, ok := ctx.Deadline(); ok && d.Add(-answerSlack).Before(last) {
		last = d.Add(-answerSlack)
	}
	return context.WithDeadline(ctx, last)
}
