package queue

import (
	"context"
	"errors"
	"slices"
	"time"

	"tapedeck/recorder"
)

// report is one state on its way to Redis.
type report struct {
	seq  int64
	rec  recorder.Recording
	kind recorder.EventType // "" for a change that is no event
	done chan error         // buffered; the first answer counts
}

func (r report) answer(err error) {
	select {
	case r.done <- err:
	default:
	}
}

// reportWait is how long Report waits for Redis's word before it leaves the
// matter to the background.
const reportWait = time.Second

// Report stores a new state. It never holds a recording up: when Redis is away,
// or slow, the state is delivered later. Of states between two statuses the
// newest is kept, so no status goes unseen.
func (l *lease) Report(ctx context.Context, rec recorder.Recording) error {
	rec = l.own(rec)
	r, away, err := l.accept(rec)
	if err != nil {
		return err
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
	if away {
		return nil
	}
	t := time.NewTimer(reportWait)
	defer t.Stop()
	select {
	case err := <-r.done:
		return err
	case <-l.lost:
		return l.over()
	case <-t.C:
		l.mu.Lock()
		l.away = true // the next report does not wait again
		l.mu.Unlock()
	case <-ctx.Done():
	case <-l.life.Done():
	}
	return nil
}

// accept puts a state in line. One that was sent before is not replaced: it may
// have arrived although the answer did not, and its repetition is recognised.
func (l *lease) accept(rec recorder.Recording) (report, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone {
		return report{}, false, recorder.Errorf(recorder.CodeLeaseLost, "job %s: this lease ended", l.before.ID)
	}
	from := l.now.Status
	if rec.Status.Ended() || (rec.Status != from && !from.Follows(rec.Status)) {
		return report{}, false, recorder.Errorf(recorder.CodeConflict,
			"job %s: status %q does not follow %q in a report", l.before.ID, rec.Status, from)
	}
	if rec.UpdatedAt <= l.now.UpdatedAt {
		rec.UpdatedAt = max(l.q.opts.Now().UnixNano(), l.now.UpdatedAt+1)
	}
	if rec.Status == recorder.StatusActive && l.recording.IsZero() {
		l.recording = l.q.opts.Now()
	}
	l.seq++
	r := report{seq: l.seq, rec: rec, done: make(chan error, 1)}
	if noteworthy(l.now, rec) {
		r.kind = recorder.EventFor(from, rec.Status)
	}
	if n := len(l.pending); n > 0 && l.pending[n-1].rec.Status == rec.Status && l.pending[n-1].seq > l.tried {
		old := l.pending[n-1]
		old.answer(nil) // a newer state stands for it
		if r.kind == "" || old.kind == recorder.EventStarted {
			r.kind = old.kind
		}
		l.pending[n-1] = r
	} else {
		l.pending = append(l.pending, r)
	}
	l.now = rec
	return r, l.away, nil
}

// deliverReports sends what waits until the lease ends.
func (l *lease) deliverReports() {
	retry := backoff{first: 50 * time.Millisecond, last: l.q.opTimeout()}
	for {
		select {
		case <-l.life.Done():
			return
		case <-l.wake:
		}
		for {
			l.sending.Lock()
			err := l.flush(l.life)
			l.sending.Unlock()
			if err == nil {
				retry.reset()
				break
			}
			if !pause(l.life, retry.next()) {
				return
			}
		}
	}
}

// flush sends what waits, in order. The caller holds sending.
func (l *lease) flush(ctx context.Context) error {
	for {
		l.mu.Lock()
		if len(l.pending) == 0 || l.gone {
			l.mu.Unlock()
			return nil
		}
		r := l.pending[0]
		l.tried = r.seq
		l.mu.Unlock()

		word, err := l.send(ctx, r)
		if err == nil && word == "forgotten" {
			err = l.restore(ctx)
			word = ""
		}
		l.mu.Lock()
		l.away = err != nil
		if word == "ok" && len(l.pending) > 0 && l.pending[0].seq == r.seq {
			l.pending = slices.Delete(l.pending, 0, 1)
		}
		l.mu.Unlock()
		switch {
		case err != nil && !errors.Is(err, context.Canceled):
			return err
		case err != nil:
			return ended(ctx)
		case word == "lost":
			r.answer(recorder.Errorf(recorder.CodeLeaseLost, "job %s belongs to another worker now, or was ended", l.before.ID))
			l.lose()
			return nil
		case word == "ok":
			r.answer(nil)
		}
	}
}

func (l *lease) send(ctx context.Context, r report) (string, error) {
	answer, err := l.q.run(ctx, l.q.scripts.report, []string{l.q.keys.job(r.rec.ID), l.q.keys.events()},
		l.q.owner, l.fence, r.seq, string(r.rec.Status), composeRecording(r.rec), r.rec.UpdatedAt, string(r.kind), r.rec.ID, eventsKept)
	if err != nil {
		return "", err
	}
	return fenced(answer), nil
}
