package egress

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/rpc"
	"github.com/livekit/psrpc"
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
	done, ok := h.bus.answering()
	if !ok {
		return nil, errClosed()
	}
	defer done()
	ctx, cancel := within(ctx)
	defer cancel()
	rec, err := h.bus.find(ctx, h.id)
	switch {
	case err != nil:
		return nil, rpcError(err)
	case rec.Status.Ended():
		return nil, overAlready(rec, stopped)
	case rec.Status == recorder.StatusEnding:
		return Info(rec), nil
	}
	return h.stop(ctx)
}

func (h *handler) stop(ctx context.Context) (*livekit.EgressInfo, error) {
	if !h.stopped.Swap(true) {
		if err := h.bus.Controller.Stop(ctx, h.id, recorder.EndStopped); err != nil {
			h.stopped.Store(false)
			return nil, rpcError(err)
		}
	}
	rec, err := h.await(ctx, func(rec recorder.Recording) bool {
		return rec.Status == recorder.StatusEnding || rec.Status.Ended()
	})
	if err != nil {
		return nil, rpcError(err)
	}
	if rec.Status == recorder.StatusActive { // the stop is stored, and nothing takes it back
		rec.Status = recorder.StatusEnding
	}
	return Info(rec), nil
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
	done, ok := h.bus.answering()
	if !ok {
		return nil, errClosed()
	}
	defer done()
	ctx, cancel := within(ctx)
	defer cancel()
	rec, err := h.bus.find(ctx, h.id)
	switch {
	case err != nil:
		return nil, rpcError(err)
	case rec.Status == recorder.StatusEnding || rec.Status.Ended():
		return nil, overAlready(rec, updated)
	}
	if err := recorder.ValidateUpdate(u); err != nil {
		return nil, rpcError(err)
	}
	u.RemoveStreamURLs = notRemoved(rec, u.RemoveStreamURLs)
	left, err := checkUpdate(rec, u)
	switch {
	case err != nil:
		return nil, rpcError(err)
	case shows(rec, rec, u):
		return Info(rec), nil
	case left == 0:
		return h.stop(ctx)
	}
	if err := h.bus.Controller.Update(ctx, h.id, u); err != nil {
		return nil, rpcError(err)
	}
	if rec.Status != recorder.StatusActive { // it is changed when it begins
		return Info(rec), nil
	}
	before := rec
	rec, err = h.await(ctx, func(now recorder.Recording) bool {
		return now.Status != recorder.StatusActive || shows(before, now, u)
	})
	switch {
	case err != nil:
		return nil, rpcError(err)
	case rec.Status == recorder.StatusActive && !shows(before, rec, u):
		// The server asks again, and may find it done then.
		return nil, psrpc.NewErrorf(psrpc.DeadlineExceeded, "the recording has not changed within %s: the worker's log says why, if it cannot", answerWithin)
	}
	return Info(rec), nil
}

// notRemoved leaves out what was removed before: this may be a repetition.
func notRemoved(rec recorder.Recording, names []string) []string {
	on := live(rec)
	return slices.DeleteFunc(names, func(name string) bool {
		return slices.ContainsFunc(rec.Streams, func(s recorder.StreamResult) bool {
			return (s.ID == name || s.ID == recorder.StreamID(name)) && !slices.Contains(on, s.ID)
		})
	})
}

// checkUpdate refuses what the worker would, since that one answers nobody. It
// counts the outputs that are left.
func checkUpdate(rec recorder.Recording, u recorder.Update) (left int, err error) {
	if u.Layout != "" {
		if err := checkLayout(rec, u.Layout); err != nil {
			return 0, err
		}
	}
	streams, err := leftOf(rec, u)
	return len(streams) + len(rec.Files) + len(rec.Segments) + len(rec.Images), err
}

// shows reports whether a recording is as an update wants it. A stream that was
// over before is not on again until it is, or has ended once more.
func shows(before, now recorder.Recording, u recorder.Update) bool {
	on := live(now)
	for _, url := range u.AddStreamURLs {
		id := recorder.StreamID(url)
		if !slices.Contains(on, id) && endOf(before, id) == endOf(now, id) {
			return false
		}
	}
	return carriedOut(now, u) && (u.Layout == "" || now.Layout == u.Layout)
}

// endOf tells when a stream ended; 0 for one that did not, or is unknown.
func endOf(rec recorder.Recording, id string) int64 {
	for _, s := range rec.Streams {
		if s.ID == id {
			return s.EndedAt
		}
	}
	return 0
}

// overAlready is what livekit-server says of such an egress itself.
func overAlready(rec recorder.Recording, verb string) error {
	return psrpc.NewErrorf(psrpc.FailedPrecondition, "egress with status %s cannot be %s", statusOf(rec), verb)
}

// within bounds an answer, so that it is there before the server asks again.
func within(ctx context.Context) (context.Context, context.CancelFunc) {
	last := time.Now().Add(answerWithin)
	if d, ok := ctx.Deadline(); ok && d.Add(-answerSlack).Before(last) {
		last = d.Add(-answerSlack)
	}
	return context.WithDeadline(ctx, last)
}

// await gives the recording when it is as wanted, or as it is when the time is over.
func (h *handler) await(ctx context.Context, wanted func(recorder.Recording) bool) (recorder.Recording, error) {
	tick := time.NewTicker(answerPoll)
	defer tick.Stop()
	var last recorder.Recording
	for {
		rec, err := h.bus.find(ctx, h.id)
		switch {
		case err == nil && wanted(rec):
			return rec, nil
		case err == nil:
			last = rec
		case last.ID == "":
			return rec, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return last, nil
		}
	}
}
