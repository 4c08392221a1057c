package recorder

import (
	"context"
	"errors"
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
	draining <-chan struct{} // closed when nothing more is claimed

	mu      sync.Mutex
	slots   *slots                          // nil before Run
	start   func(lease Lease, ended func()) // works on a lease that has a slot
	running map[*slot]struct{}
	seen    map[string]struct{} // directories of spool entries this life has worked on
	ending  *Stop               // what a shutdown told every recording; late ones too
	jobs    sync.WaitGroup      // everything between claim and end
	media   sync.WaitGroup      // the part of it that records
}

// Run works until ctx is done, then drains: it claims nothing more, lets
// running recordings go on for DrainTimeout, ends them with EndDrained, and
// delivers. A value on hurry, or its close, ends them at once.
func (w *Worker) Run(ctx context.Context, hurry <-chan struct{}) error {
	w.mu.Lock() // Running and Load may be asked already
	w.running, w.seen = map[*slot]struct{}{}, map[string]struct{}{}
	w.mu.Unlock()
	w.fit, w.draining = &fitness{now: w.Now, log: w.Log}, ctx.Done()
	// Jobs outlive ctx: it only ends the claiming.
	jobCtx, stopDelivery := context.WithCancel(context.WithoutCancel(ctx))
	defer stopDelivery()
	if err := w.recoverSpool(jobCtx); err != nil {
		return err
	}
	w.jobs.Add(1)
	go func() {
		defer w.jobs.Done()
		w.rescan(ctx, jobCtx)
	}()
	w.open(jobCtx)
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
	job, rec := lease.Job(), lease.Recording()
	log := w.Log.With(zap.String("job", job.ID), zap.String("room", job.RoomName), zap.Int("attempt", rec.Attempt))
	if rec.Status == StatusEnding {
		w.concludeLost(ctx, lease, log)
		return
	}
	task := w.task(job, rec)
	entry, err := w.Spool.Create(task)
	if err != nil {
		cause := Errorf(CodeUnavailable, "the spool of worker %s refused the job: %w", w.ID, err)
		w.fit.failed(job.ID, cause)
		w.release(ctx, lease, cause, false, log) // a spool is never the job's fault
		return
	}
	w.see(entry)
	log.Info("recording")
	rec = w.record(ctx, lease, entry, log)
	freeSlot()
	if rec.EndReason == EndStartFailed {
		w.fit.worked() // it was the page's fault
	}
	if isLost(lease) {
		log.Warn("the lease is lost: what was recorded is delivered on its own")
		w.deliverOrphan(ctx, entry, rec, log)
		return
	}
	w.follow(ctx, lease, entry, rec, log)
}

// follow gives a job back or delivers what it recorded.
func (w *Worker) follow(ctx context.Context, lease Lease, entry SpoolEntry, rec Recording, log *zap.Logger) {
	switch sequelOf(rec) {
	case sequelDrained:
		w.release(ctx, lease, nil, false, log) // our shutdown is no fault of the job
	case sequelUnfit:
		w.release(ctx, lease, rec.Error, w.fit.failed(rec.ID, rec.Error), log)
	case sequelRetry:
		w.release(ctx, lease, rec.Error, true, log)
	case sequelDeliver:
		w.deliver(ctx, lease, entry, rec, log)
		return
	}
	w.free(entry, log)
}

// task resolves what depends on the attempt. A takeover of a job that had begun
// records a further part.
func (w *Worker) task(job Job, rec Recording) Task {
	rec.Part = max(rec.Part, 1)
	if rec.StartedAt != 0 {
		rec.Part++
	}
	rec.Worker, rec.Status = w.ID, StatusStarting
	rec.StartedAt, rec.EndedAt, rec.EndReason, rec.Error, rec.Diagnosis, rec.Stats = 0, 0, "", nil, nil, Stats{}
	rec.begin(job)
	if most := Duration(w.MaxDuration); most > 0 && (job.Limits.MaxDuration == 0 || job.Limits.MaxDuration > most) {
		job.Limits.MaxDuration = most
	}
	return Task{Job: job, Recording: rec}
}

// record runs the job and reports its way to the queue and the spool.
func (w *Worker) record(ctx context.Context, lease Lease, entry SpoolEntry, log *zap.Logger) Recording {
	// Reports outlive the recording's context: how it ended is one of them.
	runCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	task := entry.Task()
	if err := w.admit(&task); err != nil {
		return refused(task.Recording, err, w.Now())
	}
	s := &slot{job: task.Job.ID, room: task.Job.RoomName, commands: make(chan Command, 16), cancel: cancel}
	ended := make(chan struct{})
	defer close(ended)
	defer w.enter(s)()
	go forward(lease, s, ended)
	series := NewFollowing(ctx, entry, journalOf(lease))
	defer series.Stop()
	saved, savedAt := Status(""), time.Time{}
	rec := w.Runner.Run(runCtx, task, s.commands, func(rec Recording) {
		if now := w.Now(); rec.Status != saved || now.Sub(savedAt) >= saveEvery {
			saved, savedAt = rec.Status, now
			w.save(entry, rec, log)
		}
		if rec.Status == StatusActive {
			w.fit.worked()
		}
		rec = series.See(rec)
		if rec.Status == StatusEnding && rec.StartedAt == 0 {
			return // it may be given back: then it never was ending
		}
		if err := lease.Report(ctx, rec); err != nil && !errors.Is(err, ErrLeaseLost) {
			log.Warn("a report was refused", zap.Error(err))
		}
	})
	// With EndedAt: a later life of this worker knows by it that all is accounted for.
	w.save(entry, rec, log)
	series.Stop()
	return series.Locate(rec)
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

// forward brings a lease's commands and its loss to the recording.
func forward(lease Lease, s *slot, ended <-chan struct{}) {
	from := lease.Commands()
	var waiting []Command // a recording that is slow to take them must not hide the lease's loss
	for {
		var to chan<- Command
		var next Command
		if len(waiting) > 0 {
			to, next = s.commands, waiting[0]
		}
		select {
		case <-ended:
			return
		case <-lease.Lost():
			s.stop(Stop{Reason: EndLeaseLost, Now: true})
			return
		case to <- next:
			waiting = waiting[1:]
		case c, ok := <-from:
			if !ok {
				from = nil
				continue
			}
			waiting = append(waiting, c)
		}
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

// deliver uploads and ends the job, or leaves both to the next life of this worker.
func (w *Worker) deliver(ctx context.Context, lease Lease, entry SpoolEntry, rec Recording, log *zap.Logger) {
	rec.Status = StatusEnding
	rec = entry.Deliver(ctx, rec, func(r Recording) {
		r.UpdatedAt = w.Now().UnixNano()
		if err := lease.Report(ctx, r); err != nil && !errors.Is(err, ErrLeaseLost) {
			log.Warn("a report was refused", zap.Error(err))
		}
	})
	if !rec.Settled() {
		log.Warn("not delivered yet: the spool keeps it")
		lease.Abandon()
		w.close(entry, log)
		return
	}
	rec = Conclude(rec)
	rec.UpdatedAt = w.Now().UnixNano()
	if w.finish(ctx, lease, rec, log) {
		w.free(entry, log)
		return
	}
	lease.Abandon()
	w.close(entry, log)
}

// finish stores the result; false when that must be tried again by a later life.
func (w *Worker) finish(ctx context.Context, lease Lease, rec Recording, log *zap.Logger) bool {
	err := lease.Finish(ctx, rec)
	switch {
	case err == nil:
		log.Info("ended", zap.String("status", string(rec.Status)), zap.String("end_reason", string(rec.EndReason)))
		return true
	case errors.Is(err, ErrLeaseLost), errors.Is(err, ErrConflict):
		log.Warn("another worker ended or owns the job: amending its result")
		return w.amend(ctx, rec, log)
	default:
		log.Error("the result was not stored", zap.Error(err))
		return false
	}
}

func (w *Worker) release(ctx context.Context, lease Lease, cause error, counts bool, log *zap.Logger) {
	log.Warn("giving the job back", zap.Bool("counts", counts), zap.Error(cause))
	if err := lease.Release(ctx, cause, counts); err != nil {
		log.Error("the job was not given back: its lease will expire", zap.Error(err))
	}
}

// concludeLost ends a job whose recording is in the spool of a worker that has
// not come back. Should it, the file arrives after all.
func (w *Worker) concludeLost(ctx context.Context, lease Lease, log *zap.Logger) {
	rec := lease.Recording()
	cause := Errorf(CodeWorkerLost,
		"the worker that recorded this has not come back; its spool holds the files and is delivered when it does")
	rec = ConcludeLost(rec, cause, EndWorkerLost, rec.UpdatedAt)
	// No amending: what this worker knows of the files is older than the job.
	if err := lease.Finish(ctx, rec); err != nil {
		log.Warn("the lost job was not ended", zap.Error(err))
		lease.Abandon()
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
