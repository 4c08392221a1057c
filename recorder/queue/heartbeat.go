package queue

import (
	"context"
	"time"

	"tapedeck/recorder"
)

// forgivenAfter is how long a lease must have recorded for earlier tries not to count any
// more: what ended those was not the job's doing.
const forgivenAfter = time.Minute

// heartbeat renews a lease four times within its length, so that two exchanges may hang
// and a third still comes in time. While Redis is away it tries more often, so that it is
// there before anybody counts the lease as expired; only a script's word makes the lease lost.
func (l *lease) heartbeat() {
	every := l.q.opts.LeaseTTL / 4
	next := every
	for pause(l.life, next) {
		next = every
		word, err := l.renew(l.life)
		if err == nil && word == "forgotten" {
			err = l.restore(l.life)
		}
		switch {
		case l.life.Err() != nil:
			return
		case err != nil:
			next = every / 3
		case word == "behind":
			l.notes.again()
		case word == "lost" && l.isEnding():
		case word == "lost":
			l.lose()
			return
		}
	}
}

func (l *lease) renew(ctx context.Context) (string, error) {
	l.mu.Lock()
	id, job := l.entry.id, l.before.ID
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, max(l.q.opts.LeaseTTL/4, 250*time.Millisecond))
	defer cancel()
	answer, err := l.q.run(ctx, l.q.scripts.renew,
		[]string{l.q.keys.job(job), l.q.keys.jobs(), l.q.keys.pulse()},
		l.q.owner, l.fence, l.q.opts.LeaseTTL.Milliseconds(), group, l.q.opts.Worker, id, l.notes.storedBatch(), l.forgive())
	if err != nil {
		return "", err
	}
	return fenced(answer), nil
}

// forgive gives the tries that count from now on, "" for as many as before.
func (l *lease) forgive() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now.Status != recorder.StatusActive || l.recording.IsZero() || l.q.opts.Now().Sub(l.recording) < forgivenAfter {
		return ""
	}
	l.tries = min(l.tries, 1)
	return decimal(int64(l.tries))
}

// restore writes the job's state again after Redis lost it. A recording goes on
// whatever Redis remembers. nil without a restored state: the lease is lost.
func (l *lease) restore(ctx context.Context) error {
	l.mu.Lock()
	e, rec, tries := l.entry, l.own(l.now), l.tries
	l.mu.Unlock()
	payload := ""
	if e.payload != "" {
		payload = compose(e.job)
	}
	answer, err := l.q.run(ctx, l.q.scripts.restore,
		[]string{l.q.keys.job(rec.ID), l.q.keys.jobs(), l.q.keys.index(), l.q.keys.pulse(), l.q.keys.hooks(rec.ID)},
		l.q.owner, l.fence, l.q.opts.LeaseTTL.Milliseconds(), group, l.q.opts.Worker, e.id, rec.ID, payload,
		compose(e.job.Redacted()), string(rec.Status), composeRecording(rec), rec.UpdatedAt,
		l.created, createdMillis(l.created), l.before.Attempt, tries,
		l.q.keys.same(), e.fingerprint(), e.webhooks(), sameKept)
	if err != nil {
		return err
	}
	word, id := verdict(answer)
	if word != "ok" {
		l.lose()
		return nil
	}
	l.mu.Lock()
	l.entry.id, _ = id.(string)
	l.mu.Unlock()
	l.notes.again()
	l.log.Warn("redis lost this job's state: written again")
	return nil
}
