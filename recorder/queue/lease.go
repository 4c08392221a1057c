package queue

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"tapedeck/recorder"
)

// Previous tells who had a job before a lease and how far it was. Both are
// empty for a job that nobody had.
type Previous struct {
	Worker string
	Status recorder.Status
}

// lease is the right of this process to one job. What changes is guarded by mu;
// sends to Redis are done by one goroutine at a time, which holds sending.
type lease struct {
	q        *Queue
	log      *zap.Logger
	fence    string
	op       string // of the claim
	created  string
	before   recorder.Recording // as stored before the claim
	previous Previous
	finishOp string

	life     context.Context //nolint:containedctx // ends the lease's goroutines
	stop     context.CancelFunc
	lost     chan struct{}
	commands *inbox
	notes    *notebook

	hiding sync.Mutex // guards scrub and added, also where mu is held
	scrub  recorder.Scrubber
	added  []string // stream URLs that updates brought

	sending sync.Mutex
	wake    chan struct{} // there is something to report

	mu        sync.Mutex
	entry     entry
	now       recorder.Recording // newest state that was reported
	pending   []report
	seq       int64
	tries     int       // that count, this one included
	recording time.Time // when this lease first reported that it records
	away      bool      // the last report did not get through, or not in time
	tried     int64     // number of the last report that was sent and may have arrived
	gone      bool      // lost, finished, released or abandoned
	ending    bool      // finish or release is under way: its answer decides, not a heartbeat's
}

func newLease(q *Queue, e entry, fence string, rec recorder.Recording) *lease {
	l := &lease{
		q: q, entry: e, fence: fence, now: rec, finishOp: nonce(),
		log:   q.log.With(zap.String("job", e.job.ID), zap.String("worker", q.opts.Worker)),
		scrub: recorder.NewScrubber(e.job),
		lost:  make(chan struct{}), wake: make(chan struct{}, 1), commands: newInbox(), notes: newNotebook(),
	}
	l.life, l.stop = context.WithCancel(q.life)
	return l
}

// hold starts what keeps a lease.
func (q *Queue) hold(l *lease) error {
	if !q.task(func(context.Context) { q.beat(l) }) {
		l.stop()
		return errClosed
	}
	q.task(func(context.Context) { l.deliverReports() })
	q.task(func(context.Context) { l.deliverNotes() })
	q.mux.add(l)
	return nil
}

// Job gives the job as it was asked for. Its files' names are in Recording.
func (l *lease) Job() recorder.Job { return l.entry.job.Clone() }

// Recording gives the state as it was before this claim, but for Attempt and Worker.
func (l *lease) Recording() recorder.Recording { return l.before.Clone() }

// Previous tells whose job this was before.
func (l *lease) Previous() Previous { return l.previous }

// Lost is closed when another worker owns the job, or it was ended.
func (l *lease) Lost() <-chan struct{} { return l.lost }

// Commands gives what clients ask for.
func (l *lease) Commands() <-chan recorder.Command { return l.commands.out }

// lose notes that the job is somebody else's.
func (l *lease) lose() {
	l.mu.Lock()
	if l.gone {
		l.mu.Unlock()
		return
	}
	l.gone = true
	l.mu.Unlock()
	l.log.Warn("the lease is lost: another worker owns the job, or it was ended")
	close(l.lost)
	l.close()
}

// close ends everything that runs for the lease. It may be called again.
func (l *lease) close() {
	l.mu.Lock()
	l.gone, l.pending = true, nil
	l.mu.Unlock()
	l.stop()
	l.q.mux.remove(l)
	l.commands.close()
	l.notes.close()
}

func (l *lease) setEnding(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ending = on
}

func (l *lease) isEnding() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ending
}

// over says why nothing can be done with this lease any more.
func (l *lease) over() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone {
		return recorder.Errorf(recorder.CodeLeaseLost, "job %s: this lease ended", l.before.ID)
	}
	return nil
}

// Abandon stops renewing. The job stays as it is.
func (l *lease) Abandon() { l.close() }

// Finish stores the result, tells the event stream and acknowledges, in one
// step. While Redis is away it tries until ctx is done.
func (l *lease) Finish(ctx context.Context, rec recorder.Recording) error {
	if !rec.Status.Ended() {
		return recorder.Errorf(recorder.CodeInternal, "job %s: finished with status %q, which is not an end", l.before.ID, rec.Status)
	}
	dead := ""
	if rec.EndReason == recorder.EndTooManyTries && rec.Error != nil {
		dead = rec.Error.Message
	}
	return l.persist(ctx, func() (string, error) { return l.end(ctx, rec, dead) })
}

// end stores the last state of the job.
func (l *lease) end(ctx context.Context, rec recorder.Recording, deadReason string) (string, error) {
	rec = l.own(rec)
	l.mu.Lock()
	e := l.entry
	l.mu.Unlock()
	return l.q.finish(ctx, ending{
		mode: "lease", owner: l.q.owner, fence: l.fence, op: l.finishOp, entry: e, created: l.created,
		rec: rec, worker: l.q.opts.Worker, attempt: l.before.Attempt, reason: deadReason,
	})
}

// persist does a last act until it succeeded: reports that wait go before it.
func (l *lease) persist(ctx context.Context, act func() (string, error)) error {
	l.sending.Lock()
	defer l.sending.Unlock()
	l.setEnding(true)
	defer l.setEnding(false)
	retry := backoff{first: 50 * time.Millisecond, last: l.q.opTimeout()}
	for {
		if err := l.over(); err != nil {
			return err
		}
		word, err := "", l.flush(ctx)
		if err == nil {
			err = l.flushNotes(ctx)
		}
		if err == nil {
			word, err = act()
		}
		switch {
		case err == nil && word == "ok":
			l.close()
			return nil
		case err == nil && word == "lost":
			l.lose()
			return recorder.Errorf(recorder.CodeLeaseLost, "job %s belongs to another worker now, or was ended", l.before.ID)
		case err == nil && word == "forgotten":
			err = l.restore(ctx)
		}
		if err == nil {
			continue
		}
		if !pause(ctx, retry.next()) {
			return unavailable("storing the end of job "+l.before.ID, err)
		}
	}
}

// Release gives the job back: after a pause that grows with the tries it is
// claimed before new work, by any worker. A job that was tried too often ends as
// failed instead: at once, or where earlier tries left media by the worker that
// has it next, when they are rescued. Without a cause there is no pause.
func (l *lease) Release(ctx context.Context, cause error, counts bool) error {
	l.mu.Lock()
	rec, tries := l.now.Clone(), l.tries
	l.mu.Unlock()
	rec.Status = recorder.StatusQueued
	if counts && tries >= l.q.opts.MaxAttempts {
		why := recorder.AsError(cmp.Or(cause, errTriedTooOften), recorder.CodeInternal)
		if s := (state{status: rec.Status, rec: rec}); s.recorded() {
			return l.handBack(ctx, s.toEnd(recorder.EndTooManyTries, why).rec, 0, false)
		}
		rec.Error, rec.EndReason = nil, "" // of an earlier attempt
		rec = recorder.ConcludeLost(rec, l.scrubber().Error(why), recorder.EndTooManyTries, l.q.opts.Now().UnixNano())
		return l.persist(ctx, func() (string, error) { return l.end(ctx, rec, rec.Error.Message) })
	}
	delay := time.Duration(0)
	if cause != nil {
		delay = min(l.q.opts.RetryDelay<<min(max(tries-1, 0), 16), l.q.opts.LeaseTTL)
	}
	return l.handBack(ctx, rec, delay, !counts)
}

// handBack leaves a job to any worker. free says that this try does not count.
func (l *lease) handBack(ctx context.Context, rec recorder.Recording, delay time.Duration, free bool) error {
	rec = l.own(rec)
	rec.UpdatedAt = l.q.opts.Now().UnixNano()
	op := nonce()
	return l.persist(ctx, func() (string, error) {
		l.mu.Lock()
		id := l.entry.id
		l.mu.Unlock()
		answer, err := l.q.run(ctx, l.q.scripts.release,
			[]string{l.q.keys.job(rec.ID), l.q.keys.jobs(), l.q.keys.events()},
			l.q.owner, l.fence, op, l.q.opts.LeaseTTL.Milliseconds(), delay.Milliseconds(), group, l.q.opts.Worker,
			id, composeRecording(rec), rec.UpdatedAt, rec.ID, eventsKept, flag(free), string(rec.Status))
		if err != nil {
			return "", err
		}
		return fenced(answer), nil
	})
}

var errTriedTooOften = errors.New("tried too often")

// fenced reads the answer of report.lua, note.lua, release.lua and renew.lua. "behind" is
// "ok", but Redis misses notes.
func fenced(answer any) string {
	switch integer(answer) {
	case 1:
		return "ok"
	case 0:
		return "lost"
	case 2:
		return "behind"
	default:
		return "forgotten"
	}
}

// learn notes the secrets of an update, which errors and results may quote.
func (l *lease) learn(u recorder.Update) {
	if len(u.AddStreamURLs) == 0 {
		return
	}
	job := l.Job()
	l.hiding.Lock()
	defer l.hiding.Unlock()
	l.added = append(l.added, u.AddStreamURLs...)
	l.scrub = l.scrub.With(job, l.added...)
}

func (l *lease) scrubber() recorder.Scrubber {
	l.hiding.Lock()
	defer l.hiding.Unlock()
	return l.scrub
}

// own puts what the queue knows best into a recording and hides the job's
// secrets wherever free text could carry them.
func (l *lease) own(rec recorder.Recording) recorder.Recording {
	rec = rec.Clone()
	rec.ID, rec.Worker, rec.Attempt = l.before.ID, l.q.opts.Worker, l.before.Attempt
	rec.CreatedAt = l.before.CreatedAt
	scrub := l.scrubber()
	rec = scrubResults(rec, scrub.Text)
	if rec.Diagnosis != nil {
		d := *rec.Diagnosis
		d.Console = append([]string(nil), d.Console...)
		for i := range d.Console {
			d.Console[i] = scrub.Text(d.Console[i])
		}
		d.PageError, d.NetError = scrub.Text(d.PageError), scrub.Text(d.NetError)
		rec.Diagnosis = &d
	}
	return rec
}
