package recorder

import (
	"context"
	"slices"
	"sync"
)

// Load is how busy a worker is.
type Load struct {
	// Slots is how many recordings may run at once; Running how many slots are not
	// free for another one.
	Slots, Running int
	// Rooms names the rooms that are being recorded, each once.
	Rooms []string
	// Draining says that nothing more is taken: a shutdown began. Unfit says that
	// nothing is taken for now: recordings cannot even begin here, the disk is nearly full,
	// or Run did not begin. Why says which, for people.
	Draining, Unfit bool
	Why             string
}

// Takes reports whether Place may succeed.
func (l Load) Takes() bool { return !l.Draining && !l.Unfit && l.Running < l.Slots }

// Load tells how busy the worker is. Cheap; at any time.
func (w *Worker) Load() Load {
	w.mu.Lock()
	defer w.mu.Unlock()
	load := Load{Slots: max(w.Slots, 1)}
	if w.slots == nil {
		load.Unfit, load.Why = true, "it has not begun"
		return load
	}
	load.Running, load.Draining = w.slots.count(), isClosed(w.draining)
	switch full := w.disk.why(); {
	case full != "":
		load.Unfit, load.Why = true, full
	case w.fit.resting():
		load.Unfit, load.Why = true, "recordings do not begin here: see its log"
	}
	for s := range w.running {
		if s.room != "" {
			load.Rooms = append(load.Rooms, s.room)
		}
	}
	slices.Sort(load.Rooms)
	load.Rooms = slices.Compact(load.Rooms)
	return load
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Place gives a new job to this very worker and answers as soon as the job is its
// own, whatever becomes of ctx then. A slot that only waits for work is
// taken from the wait. CodeUnavailable when no slot is free, the worker is unfit,
// drains or does not run; otherwise Placer's errors. Queue must be a Placer.
func (w *Worker) Place(ctx context.Context, job Job) (Recording, error) {
	placer, ok := w.Queue.(Placer)
	if !ok {
		return Recording{}, Errorf(CodeInternal, "worker %s: its queue cannot place jobs", w.ID)
	}
	if load := w.Load(); !load.Takes() {
		return Recording{}, w.full(load)
	}
	if !w.slots.take(ctx, w.takeSlot) {
		return Recording{}, w.full(w.Load())
	}
	lease, err := placer.Place(ctx, job)
	if err != nil {
		w.freeSlot()
		w.jobs.Done()
		return Recording{}, err
	}
	rec := lease.Recording()
	rec.Status = StatusStarting
	ended := w.serve(lease) // before anybody hears of the job: it may be stopped at once
	go w.start(lease, ended)
	return rec, nil
}

// full says why no job can be placed.
func (w *Worker) full(load Load) error {
	why := "every slot has a recording"
	switch {
	case load.Draining:
		why = "it shuts down"
	case load.Unfit:
		why = "it cannot record for now: " + load.Why
	}
	return Errorf(CodeUnavailable, "worker %s takes no job: %s (%d of %d slots in use); ask another one", w.ID, why, load.Running, load.Slots)
}

// serve tells Began of a job that this worker has a lease of, until ended is called
// or the lease is lost: never do two workers serve one job.
func (w *Worker) serve(lease Lease) (ended func()) {
	if w.Began == nil {
		return func() {}
	}
	stop := w.Began(lease.Job())
	if stop == nil {
		return func() {}
	}
	stop = sync.OnceFunc(stop)
	over := make(chan struct{})
	go func() {
		select {
		case <-lease.Lost():
			stop()
		case <-over:
		}
	}()
	return sync.OnceFunc(func() {
		close(over)
		stop()
	})
}
