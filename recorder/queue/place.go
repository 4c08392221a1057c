package queue

import (
	"context"

	"tapedeck/recorder"
)

// Place enqueues a job and takes it in one step: it is this worker's from its first
// moment, and any worker's once this one is silent for a lease's time. The
// answer of a lost exchange is asked for again; when Redis stays away
// (CodeUnavailable) the job may be there all the same, to be taken over.
func (q *Queue) Place(ctx context.Context, job recorder.Job) (recorder.Lease, error) {
	if q.opts.Worker == "" {
		return nil, recorder.Errorf(recorder.CodeInvalid, "worker: a queue that takes jobs needs a worker id")
	}
	if err := job.Validate(); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, ended(ctx)
	}
	if job.ID == "" {
		job.ID = derivedID + nonce()
	}
	now, op := q.opts.Now(), nonce()
	e := entry{job: job, payload: compose(job)}
	before := recorder.NewRecording(job, now)
	taken := before.Clone()
	taken.Status, taken.Worker, taken.Attempt = recorder.StatusStarting, q.opts.Worker, 1
	// What was placed is held: no half claims.
	answer, err := q.run(context.WithoutCancel(ctx), q.scripts.place,
		[]string{q.keys.job(job.ID), q.keys.jobs(), q.keys.index(), q.keys.events(), q.keys.hooks(job.ID)},
		job.ID, e.payload, compose(job.Redacted()), composeRecording(before), composeRecording(taken),
		before.CreatedAt, millis(before.CreatedAt), op, eventsKept,
		string(recorder.EventFor("", recorder.StatusQueued)), string(recorder.EventFor(recorder.StatusQueued, recorder.StatusStarting)),
		group, q.opts.Worker, q.owner, q.opts.LeaseTTL.Milliseconds(),
		q.keys.states(), q.keys.same(), e.fingerprint(), flag(job.RejectDuplicates), e.webhooks(), sameKept)
	if err != nil {
		return nil, unavailable("placing the job", err)
	}
	word, value := verdict(answer)
	if word != "ok" {
		return nil, refused(job.ID, word, value)
	}
	e.id, _ = value.(string)
	l := newLease(q, e, "1", taken)
	l.op, l.created, l.tries = op, decimal(before.CreatedAt), 1
	l.before = before
	l.before.Worker, l.before.Attempt = q.opts.Worker, 1
	if err := q.hold(l); err != nil {
		return nil, err
	}
	return l, nil
}
