package egress

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"tapedeck/recorder"
)

// waiting are the jobs that came through livekit-server and are no worker's for
// now: given back by one that shut down or could not record, they wait for a slot.
// Every Bus answers for them, so that they can be stopped meanwhile.
type waiting struct {
	bus *Bus

	mu     sync.Mutex
	served map[string]func() // by id: what ends it
}

// waitingAfter is how long a job must have waited. Most are taken at once.
const waitingAfter = time.Second

// mostWaiting bounds how many are looked for at first.
const mostWaiting = 10_000

// run follows the jobs until ctx is done.
func (w *waiting) run(ctx context.Context) {
	w.bus.under.Go(func() { w.first(ctx) })
	err := w.bus.Controller.Watch(ctx, "", func(e recorder.Event) bool {
		w.note(ctx, e.Recording)
		return true
	})
	if err != nil && ctx.Err() == nil && !errors.Is(err, context.Canceled) {
		w.bus.Log.Error("jobs that wait for a worker cannot be stopped by livekit-server", zap.Error(err))
	}
}

// first looks for those that waited before.
func (w *waiting) first(ctx context.Context) {
	wait(ctx, waitingAfter) // the watch has begun then
	found, err := w.bus.Controller.List(ctx, recorder.Filter{Active: true, Limit: mostWaiting})
	if err != nil && ctx.Err() == nil {
		w.bus.Log.Warn("jobs that wait for a worker are not known", zap.Error(err))
	}
	for _, rec := range found {
		if rec.Status == recorder.StatusQueued && FromServer(rec.Origin) {
			w.look(ctx, rec.ID)
		}
	}
}

// note takes notice of a change.
func (w *waiting) note(ctx context.Context, rec recorder.Recording) {
	switch {
	case !FromServer(rec.Origin):
	case rec.Status != recorder.StatusQueued:
		w.drop(rec.ID)
	default:
		w.bus.under.Go(func() {
			wait(ctx, waitingAfter)
			w.look(ctx, rec.ID)
		})
	}
}

// look answers for a job that still waits. It looks twice: a change while it begins
// to answer was noted before there was anything to end.
func (w *waiting) look(ctx context.Context, id string) {
	if !w.waits(ctx, id) {
		return
	}
	w.mu.Lock()
	if w.served[id] == nil {
		w.served[id] = w.bus.serve(id, 0)
	}
	w.mu.Unlock()
	if !w.waits(ctx, id) {
		w.drop(id)
	}
}

func (w *waiting) waits(ctx context.Context, id string) bool {
	rec, err := find(ctx, w.bus.Controller, id)
	return err == nil && rec.Status == recorder.StatusQueued
}

func (w *waiting) drop(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if done := w.served[id]; done != nil {
		delete(w.served, id)
		done()
	}
}

// wait waits d or until ctx is done.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
