package queue

import (
	"cmp"
	"context"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"tapedeck/recorder"
)

// accept makes a lease of an entry, or settles why there is none: nil, nil then.
func (q *Queue) accept(ctx context.Context, m redis.XMessage) (*lease, error) {
	e, err := decode(m)
	if err != nil {
		return nil, q.bury(ctx, e, m, err)
	}
	return q.take(ctx, e, false)
}

// take asks for the job until the answer is about its present state.
func (q *Queue) take(ctx context.Context, e entry, adopt bool) (*lease, error) {
	op := nonce()
	for {
		before, err := q.load(ctx, e.job.ID)
		if err != nil {
			return nil, err
		}
		if adopt && !before.exists {
			return nil, notFound(e.job.ID)
		}
		l, word, err := q.takeFrom(ctx, e, before, op, adopt)
		if word == "exhausted" && before.recorded() {
			l, word, err = q.takeFrom(ctx, e, before.exhausted(), op, adopt)
		}
		if err != nil {
			return nil, err
		}
		log := q.log.With(zap.String("job", e.job.ID), zap.String("entry", e.id))
		switch word {
		case "ok":
			if err := q.hold(l); err != nil {
				return nil, err
			}
			return l, nil
		case "changed":
			continue
		case "exhausted":
			word, err = q.exhaust(ctx, e, before)
			if err != nil || word == "ok" {
				return nil, err
			}
			continue
		case "duplicate":
			log.Warn("another entry has this id: dead-lettered")
		case "gone", "ended", "owned", "later":
			log.Debug("not to be had", zap.String("why", word))
		}
		if adopt && word == "later" {
			return nil, recorder.Errorf(recorder.CodeUnavailable, "job %s: redis was away a moment ago, its owner is waited for", e.job.ID)
		}
		if adopt {
			return nil, recorder.Errorf(recorder.CodeConflict, "job %s is not to be adopted: %s", e.job.ID, word)
		}
		return nil, nil
	}
}

// takeFrom computes what a claim stores from the state before it.
func (q *Queue) takeFrom(ctx context.Context, e entry, before state, op string, adopt bool) (*lease, string, error) {
	now := q.opts.Now()
	rec, created := before.rec, before.created
	if !before.exists {
		rec = recorder.NewRecording(e.job, e.at())
		created = decimal(rec.CreatedAt)
	}
	mode, status := "claim", recorder.StatusStarting
	attempt := before.attempt + 1
	if adopt {
		mode, attempt = "adopt", before.attempt
	}
	if adopt || before.status == recorder.StatusEnding {
		status = before.status // taken to be delivered or ended, not to be recorded
	}
	next := rec.Clone()
	next.Status, next.Attempt, next.UpdatedAt = status, attempt, now.UnixNano()
	if status != recorder.StatusEnding { // or who recorded it is the one whose spool it is in
		next.Worker = q.opts.Worker
	}
	kind := recorder.EventFor(before.status, status)
	if status == before.status {
		kind = recorder.EventUpdated
	}
	redacted := before.job
	if e.payload != "" {
		redacted = compose(e.job.Redacted())
	}
	answer, err := q.run(ctx, q.scripts.take,
		[]string{
			q.keys.job(e.job.ID), q.keys.jobs(), q.keys.index(), q.keys.events(), q.keys.dead(), q.keys.pulse(),
			q.keys.hooks(e.job.ID),
		},
		group, q.opts.Worker, q.owner, e.id, op, before.rev, q.opts.LeaseTTL.Milliseconds(), q.opts.MaxAttempts,
		q.opts.AbandonAfter.Milliseconds(), q.ownGrace(now).Milliseconds(), e.job.ID, string(status), composeRecording(next),
		redacted, next.UpdatedAt, created, createdMillis(created), string(kind), eventsKept, mode, attempt,
		scrubPayload(e.payload), deadKept, q.keys.same(), e.fingerprint(), e.webhooks(), sameKept,
		flag(e.job.RejectDuplicates), q.keys.states(), composeRecording(rec))
	if err != nil {
		return nil, "", err
	}
	word, fence := verdict(answer)
	if word == "twin" {
		word, err = q.refuseTwin(ctx, e, before, refused(e.job.ID, word, fence))
	}
	if word != "ok" || err != nil {
		return nil, word, err
	}
	l := newLease(q, e, decimal(integer(fence)), next)
	l.op, l.created = op, created
	l.tries = before.tries
	if !adopt {
		l.tries++
	}
	l.before = rec.Clone()
	l.before.Worker, l.before.Attempt = q.opts.Worker, attempt
	l.previous = Previous{Worker: cmp.Or(before.rec.Worker, before.worker), Status: before.status}
	return l, word, nil
}

// ownGrace is how long this life of the worker leaves what earlier ones
// recorded to the spool's recovery: a child that outlived its worker has 15 s to
// finalise its file, and the spool is looked at every 5.
func (q *Queue) ownGrace(now time.Time) time.Duration {
	return max(0, 4*q.opts.LeaseTTL-now.Sub(q.born))
}

// refuseTwin ends a job that was added by hand and must not run beside another one.
func (q *Queue) refuseTwin(ctx context.Context, e entry, before state, cause *recorder.Error) (string, error) {
	rec := recorder.NewRecording(e.job, e.at())
	created := decimal(rec.CreatedAt)
	rec = recorder.ConcludeLost(rec, cause, recorder.EndInvalid, q.opts.Now().UnixNano())
	word, err := q.finish(ctx, ending{mode: "rev", fence: "0", rev: before.rev, op: nonce(), entry: e, created: created, rec: rec})
	if word == "ok" {
		q.log.Warn("a duplicate was refused", zap.String("job", rec.ID), zap.String("reason", cause.Message))
		word = "ended"
	}
	return word, err
}

// recorded reports whether lost workers left media that one who takes the job can rescue.
func (s state) recorded() bool {
	return s.status != recorder.StatusEnding && (s.rec.StartedAt != 0 || len(s.rec.Earlier) > 0)
}

// leftMedia reports that too of a job that is ending.
func (s state) leftMedia() bool { return s.status == recorder.StatusEnding || s.recorded() }

// exhausted is a job that was tried too often.
func (s state) exhausted() state { return s.toEnd(recorder.EndTooManyTries, s.tooOften()) }

// stranded is a job that nobody went on with. One that was given back and then stopped ends for that.
func (s state) stranded() state {
	if s.stop != "" {
		return s.toEnd(s.stop, nil)
	}
	return s.toEnd(recorder.EndWorkerLost, notGoneOnWith())
}

// toEnd is a job that is to be taken once more: not to be recorded, but to be ended when what can be
// rescued is. One that was ending ends as it would have.
func (s state) toEnd(why recorder.EndReason, cause *recorder.Error) state {
	s.rec = s.rec.Clone()
	if s.status != recorder.StatusEnding {
		s.rec.EndReason, s.rec.Error = why, cause
	}
	s.status, s.rec.Status = recorder.StatusEnding, recorder.StatusEnding
	return s
}

func (s state) tooOften() *recorder.Error {
	return recorder.Errorf(recorder.CodeWorkerLost, "tried %d times, and no worker saw it through", s.tries)
}

// exhaust ends a job that was tried too often.
func (q *Queue) exhaust(ctx context.Context, e entry, before state) (string, error) {
	cause := before.tooOften()
	rec := before.rec.Clone()
	rec.EndReason = "" // of an earlier attempt
	rec = recorder.ConcludeLost(rec, cause, recorder.EndTooManyTries, q.opts.Now().UnixNano())
	word, err := q.finish(ctx, ending{
		mode: "rev", fence: before.fence, rev: before.rev, op: nonce(), entry: e, created: before.created,
		rec: rec, worker: before.worker, attempt: before.attempt, reason: cause.Message,
	})
	if word == "ok" {
		q.log.Warn("tried too often: ended and dead-lettered", zap.String("job", rec.ID), zap.Int("tries", before.tries))
	}
	return word, err
}

// ending is everything finish.lua wants to know.
type ending struct {
	mode, owner, fence, rev, op string
	entry                       entry
	created                     string
	rec                         recorder.Recording
	worker                      string
	attempt                     int
	reason                      string // of a dead letter
}

func (q *Queue) finish(ctx context.Context, e ending) (string, error) {
	now := q.opts.Now().UnixNano()
	e.rec.UpdatedAt = max(e.rec.UpdatedAt, now)
	if e.rec.EndedAt == 0 {
		e.rec.EndedAt = now
	}
	id, payload := e.rec.ID, ""
	if e.reason != "" {
		payload = scrubPayload(e.entry.payload)
		e.reason = scrubReason(e.reason)
	}
	answer, err := q.run(ctx, q.scripts.finish,
		[]string{
			q.keys.job(id), q.keys.jobs(), q.keys.index(), q.keys.events(), q.keys.commands(id), q.keys.dead(),
			q.keys.hooks(id), q.keys.notes(id),
		},
		e.mode, e.owner, e.fence, e.rev, e.op, group, e.entry.id, id, string(e.rec.Status), composeRecording(e.rec),
		compose(e.entry.job.Redacted()), e.rec.UpdatedAt, e.created, createdMillis(e.created),
		strconv.Itoa(int(q.opts.Retention/time.Second)), eventsKept, e.reason, payload, deadKept, e.worker, e.attempt,
		q.keys.same(), e.entry.webhooks())
	if err != nil {
		return "", err
	}
	word, _ := verdict(answer)
	return word, nil
}
