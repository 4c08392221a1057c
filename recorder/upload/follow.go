package upload

import (
	"context"
	"sync"

	"tapedeck/recorder"
)

// Follow implements recorder.Follower: files leave as they grow, series as their
// files close, all side by side.
func (e *entry) Follow(ctx context.Context, begun recorder.Recording, notes recorder.Journal, report func(recorder.Recording)) {
	task := e.Task()
	told := &telling{at: begun.Clone(), report: report}
	var work sync.WaitGroup
	for i := range begun.Files {
		g := e.growth(ctx, task, begun, i, notes)
		g.tell = told.change
		work.Go(func() { g.follow(ctx) })
	}
	for _, s := range e.allSeries(task, begun) {
		// Slots of its own: a storage that hangs must not hold up others' live streams.
		s.atOnce = e.spool.opts.Parallel
		s.slots = make(chan struct{}, s.atOnce)
		s.onMove = func() { told.change(s.locate) }
		work.Go(func() { s.follow(ctx) })
	}
	work.Wait()
}

// telling reports a recording whose outputs each change it on their own.
type telling struct {
	report func(recorder.Recording)

	mu sync.Mutex
	at recorder.Recording
}

func (t *telling) change(apply func(*recorder.Recording)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	apply(&t.at)
	t.report(t.at.Clone())
}
