package queue

import (
	"context"

	"tapedeck/recorder"
)

// Enqueue stores a valid job; its id is made when it has none.
func (q *Queue) Enqueue(ctx context.Context, job recorder.Job) error {
	_, err := q.Start(ctx, job)
	return err
}

// Start validates and enqueues. The answer carries the id and the names that
// the files will have.
func (q *Queue) Start(ctx context.Context, job recorder.Job) (recorder.Recording, error) {
	if err := job.Validate(); err != nil {
		return recorder.Recording{}, err
	}
	now := q.opts.Now()
	if job.ID == "" {
		job.ID = derivedID + nonce()
	}
	rec := recorder.NewRecording(job, now)
	e := entry{job: job, payload: compose(job)}
	answer, err := q.run(ctx, q.scripts.enqueue,
		[]string{q.keys.job(job.ID), q.keys.jobs(), q.keys.index(), q.keys.events(), q.keys.hooks(job.ID)},
		job.ID, e.payload, compose(job.Redacted()), composeRecording(rec),
		rec.CreatedAt, millis(rec.CreatedAt), nonce(), eventsKept, string(recorder.EventFor("", recorder.StatusQueued)),
		q.keys.states(), q.keys.same(), e.fingerprint(), flag(job.RejectDuplicates), e.webhooks(), sameKept)
	if err != nil {
		return recorder.Recording{}, unavailable("enqueueing the job", err)
	}
	if word, value := verdict(answer); word != "ok" {
		return recorder.Recording{}, refused(job.ID, word, value)
	}
	return rec, nil
}
