package recorder

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Worker claims jobs while it has free slots and sees each through to its end:
// recorded by Runner, kept by Spool, finished in Queue.
type Worker struct {
	ID     string
	Queue  Queue
	Runner Runner
	Spool  Spool
	// Slots is how many recordings run at once, at least 1. A delivery holds none.
	Slots int
	// Admit gives what a recording enters its room with; nil, or an empty Pass,
	// where jobs of rooms bring server and token themselves.
	Admit func(job Job) (Pass, error)
	// Began is told of every job this worker works on, claimed, placed or taken up from
	// the spool; what it answers is called when the work ends, or the job is another
	// worker's. Both may be nil. For doors that serve the jobs of this worker.
	Began func(job Job) (ended func())
	// MaxDuration bounds jobs that set no bound of their own, or a larger one; 0 is none.
	MaxDuration time.Duration
	// DrainTimeout is how long running recordings go on after a shutdown began.
	DrainTimeout time.Duration
	// DeliverGrace is how long deliveries go on after the last recording of a
	// shutdown ended; what is not delivered then waits in the spool.
	DeliverGrace time.Duration
	// MinFree is how many bytes the spool must have free for a new job to be taken;
	// below Reserve the largest recordings are ended, so that their files are whole. 0 is
	// off, as both are where Spool is no Gauge.
	MinFree, Reserve int64
	// Tally is told of incidents and ends; may be nil.
	Tally Tally
	Now   func() time.Time
	Log   *zap.Logger

	fit      *fitness
	disk     disk
	draining <-chan struct{} // closed when nothing more is claimed

	mu      sync.Mutex
	slots   *slots                          // nil before Run
	start   func(lease Lease, ended func()) // works on a lease that has a slot
	running map[*slot]struct{}
	seen    map[string]struct{}  // directories of spool entries this life has worked on
	waiting map[string]time.Time // entries of parts that others followed, and since when they wait for those
	ending  *Stop                // what a shutdown told every recording; late ones too
	jobs    sync.WaitGroup       // everything between claim and end
	media   sync.WaitGroup       // the part of it that records
}

// Run works until ctx is done, then drains: it claims nothing more, lets
// running recordings go on for DrainTimeout, ends them with EndDrained, and
// delivers. A value on hurry, or its close, ends them at once.
func (w *Worker) Run(ctx context.Context, hurry <-chan struct{}) error {
	w.mu.Lock() // Running and Load may be asked already
	w.running, w.seen, w.waiting = map[*slot]struct{}{}, map[string]struct{}{}, map[string]time.Time{}
	w.mu.Unlock()
	w.fit, w.draining = &fitness{now: w.Now, log: w.Log}, ctx.Done()
	// Jobs outlive ctx: it only ends the claiming.
	jobCtx, stopDelivery := context.WithCancel(context.WithoutCancel(ctx))
	defer stopDelivery()
	w.open(jobCtx)
	if err := w.recoverSpool(jobCtx); err != nil {
		w.slots.close()
		return err
	}
	w.jobs.Go(func() { w.rescan(ctx, jobCtx) })
	w.jobs.Go(func() { w.reap(ctx, jobCtx) })
	defer w.watchDisk(jobCtx)()
	w.claim(ctx)
	w.slots.close()
	w.drain(hurry, stopDelivery)
	return nil
}

// open lets jobs be placed.
func (w *Worker) open(jobCtx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slots = newSlots(w.Slots)
	w.start = func(lease Lease, ended func()) {
		defer w.jobs.Done()
		defer ended()
		w.work(jobCtx, lease, sync.OnceFunc(w.freeSlot))
	}
}

// takeSlot and freeSlot keep count of what a shutdown waits for.
func (w *Worker) takeSlot() {
	w.jobs.Add(1)
	w.media.Add(1)
}

func (w *Worker) freeSlot() {
	w.slots.free()
	w.media.Done()
}

// claim takes jobs while there is a free slot, until ctx is done.
func (w *Worker) claim(ctx context.Context) {
	for w.slots.available(ctx) {
		w.fit.rest(ctx)
		w.disk.await(ctx)
		if ctx.Err() != nil {
			return
		}
		claimCtx, ok := w.slots.reserve(ctx)
		if !ok {
			continue // a placed job has it
		}
		lease, err := w.Queue.Claim(claimCtx)
		called := claimCtx.Err() != nil
		if err == nil {
			w.takeSlot()
		}
		w.slots.settle(err == nil)
		switch {
		case err == nil:
			go func() {
				ended := func() {}
				if lease.Recording().Status != StatusEnding { // that is taken to be ended, not to be worked on
					ended = w.serve(lease)
				}
				w.start(lease, ended)
			}()
		case ctx.Err() != nil:
			return
		case !called:
			w.Log.Error("claiming failed, trying again", zap.Error(err))
			pause(ctx, time.Second)
		}
	}
}

// reap ends jobs that lost workers left to nobody, beside whatever is recorded, until ctx is done.
func (w *Worker) reap(ctx, jobCtx context.Context) {
	reaper, ok := w.Queue.(Reaper)
	if !ok {
		return
	}
	for {
		lease, err := reaper.Reap(ctx)
		switch {
		case err == nil:
			w.jobs.Go(func() { w.work(jobCtx, lease, func() {}) })
		case ctx.Err() != nil:
			return
		default:
			w.Log.Error("what lost workers left cannot be looked for, trying again", zap.Error(err))
			pause(ctx, time.Second)
		}
	}
}

// pause waits d or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (w *Worker) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.running)
}

// Running gives the ids of the recordings in this worker's slots.
func (w *Worker) Running() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids := make([]string, 0, len(w.running))
	for s := range w.running {
		ids = append(ids, s.job)
	}
	return ids
}

// work sees one job through. freeSlot is called as soon as it records no more.
func (w *Worker) work(ctx context.Context, lease Lease, freeSlot func()) {
	defer freeSlot()
	t, rec := w.tenure(ctx, lease, freeSlot), lease.Recording()
	if rec.Status == StatusEnding {
		freeSlot()
		t.concludeLost(rec)
		return
	}
	if next, playlists, ok := t.inherit(rec); ok {
		t.record(next, playlists)
	}
}

// admit adds to a task of a room what its page enters with. It is not in the
// spool entry: a token has no business on a disk.
func (w *Worker) admit(task *Task) (err error) {
	if task.Job.RoomName != "" && w.Admit != nil {
		task.Pass, err = w.Admit(task.Job)
	}
	return err
}

// refused ends a recording that cannot begin, here or anywhere.
func refused(rec Recording, err error, now time.Time) Recording {
	rec = rec.Clone()
	rec.Fail(err, CodeInvalid, EndInvalid)
	rec.EndedAt = now.UnixNano()
	for i := range rec.Files {
		rec.Files[i].State = FileEmpty
	}
	return rec
}

// saveEvery is how old the state in the spool may be: after a crash it tells how
// long the recording was.
const saveEvery = 10 * time.Second

func (w *Worker) save(entry SpoolEntry, rec Recording, log *zap.Logger) {
	if err := entry.Save(rec); err != nil {
		log.Error("the spool does not take the state", zap.Error(err))
	}
}

// journalOf gives the lease's journal, or nil.
func journalOf(lease Lease) Journal {
	journal, ok := lease.(Journal)
	if !ok {
		return nil
	}
	return journal
}

func isLost(lease Lease) bool {
	select {
	case <-lease.Lost():
		return true
	default:
		return false
	}
}

func (w *Worker) release(ctx context.Context, lease Lease, cause error, counts bool, log *zap.Logger) {
	log.Warn("giving the job back", zap.Bool("counts", counts), zap.Error(cause))
	if err := lease.Release(ctx, cause, counts); err != nil {
		log.Error("the job was not given back: its lease will expire", zap.Error(err))
	}
}

func (w *Worker) free(entry SpoolEntry, log *zap.Logger) {
	if err := entry.Free(); err != nil {
		log.Error("the spool entry stays", zap.Error(err))
	}
}

func (w *Worker) close(entry SpoolEntry, log *zap.Logger) {
	if err := entry.Close(); err != nil {
		log.Error("the spool entry was not unlocked", zap.Error(err))
	}
}
