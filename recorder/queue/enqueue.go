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
	answer, err := q.run(ctx, q.scripts.enqueue,
		[]string{q.keys.job(job.ID), q.keys.jobs(), q.keys.index(), q.keys.events()},
		job.ID, compose(job), compose(job.Redacted()), composeRecording(rec),
		rec.CreatedAt, millis(rec.CreatedAt), nonce(), eventsKept, string(recorder.EventFor("", recorder.StatusQueued)))
	if err != nil {
		return recorder.Recording{}, unavailable("enqueueing the job", err)
	}
	if word, status := verdict(answer); word != "ok" {
		return recorder.Recording{}, recorder.Errorf(recorder.CodeConflict, "job %s exists already: it is %v", job.ID, status)
	}
	return rec, nil
}
