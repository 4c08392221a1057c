package queue

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"tapedeck/recorder"
)

// How often a process looks for jobs that nobody goes on with, and how long such a job
// lies before it is ended when the pool has no worker that could take it.
const (
	reapEvery = 10 * time.Second
	deserted  = 2 * time.Minute
)

// Tidy has this process clean up after others as workers do, until Close. It
// returns at once.
func (q *Queue) Tidy() {
	q.task(q.tidy)
	q.task(q.reap)
}

// reap ends jobs whose worker is gone for good while no other can take them: there is
// none, or all of them are busy or shut down. What they recorded arrives when the worker's
// spool does.
func (q *Queue) reap(ctx context.Context) {
	r := reaper{q: q}
	for pause(ctx, reapEvery) {
		err := r.look(ctx)
		if noGroup(err) {
			continue // nobody ever claimed
		}
		q.health.note(err)
	}
}

// reaper remembers since when it has seen jobs lie, by this process's clock: a clock
// of Redis that jumps makes no job older. A look that fails makes it forget, for
// while Redis was away no owner could renew.
type reaper struct {
	q    *Queue
	seen map[string]vigil
}

type vigil struct {
	mark  string // what would change with any sign of life
	since time.Time
}

func (r *reaper) look(ctx context.Context) error {
	seen := r.seen
	r.seen = nil
	able, err := r.q.able(ctx)
	if err != nil {
		return err
	}
	lying := map[string]vigil{}
	err = r.q.eachLapsed(ctx, func(id string) error {
		e, s, err := r.q.lapsed(ctx, id)
		if err != nil || !s.exists {
			return err
		}
		now, mark := r.q.opts.Now(), strings.Join([]string{s.rev, s.fence, s.owner, decimal(s.expiry.UnixMilli())}, " ")
		v, known := seen[e.job.ID]
		if !known || v.mark != mark {
			v = vigil{mark: mark, since: now}
		}
		lying[e.job.ID] = v
		patience := r.q.opts.AbandonAfter
		if !able && s.status != recorder.StatusEnding { // what is ending waits for its spool
			patience = min(patience, deserted)
		}
		if now.Sub(v.since) < patience {
			return nil
		}
		delete(lying, e.job.ID)
		return r.q.conclude(ctx, e, s)
	})
	if err == nil {
		r.seen = lying
	}
	return err
}

// able reports whether there is a worker that claims, now or when it has a free slot.
func (q *Queue) able(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, q.opTimeout())
	defer cancel()
	workers, err := q.Workers(ctx)
	return slices.ContainsFunc(workers, func(w WorkerInfo) bool { return w.Alive && !w.Draining }), err
}

// lapsed loads what an entry that nobody renewed is about. The state is there
// when the job has an owner, and that is not this process.
func (q *Queue) lapsed(ctx context.Context, id string) (entry, state, error) {
	m, ok, err := q.find(ctx, id)
	if err != nil || !ok {
		return entry{}, state{}, err
	}
	e, _ := decode(m) // one that was taken once is valid
	s, err := q.load(ctx, e.job.ID)
	if err != nil || s.entry != id || s.status.Ended() || s.owner == "" || s.owner == q.owner {
		return entry{}, state{}, err
	}
	return e, s, nil
}

// conclude ends a job that nobody goes on with, unless somebody does.
func (q *Queue) conclude(ctx context.Context, e entry, s state) error {
	cause := recorder.Errorf(recorder.CodeWorkerLost, "the worker that recorded this has not come back, and no other could go on; "+
		"what its spool holds is delivered when it does")
	rec := recorder.ConcludeLost(s.rec, cause, recorder.EndWorkerLost, s.rec.UpdatedAt)
	if e.payload == "" && json.Unmarshal([]byte(s.job), &e.job) != nil { // redacted already
		e.job = recorder.Job{}
	}
	word, err := q.finish(ctx, ending{
		mode: "rev", fence: s.fence, rev: s.rev, op: nonce(), entry: e, created: s.created,
		rec: rec, worker: s.worker, attempt: s.attempt,
	})
	if word == "ok" {
		q.log.Warn("a job that nobody went on with was ended", zap.String("job", rec.ID), zap.String("worker", s.worker))
	}
	return err
}
