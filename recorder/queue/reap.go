package queue

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"tapedeck/recorder"
)

// How often a process looks for jobs that nobody goes on with, and how long such a job
// lies before it is ended when the pool has no worker that could take it.
const (
	reapEvery = 10 * time.Second
	deserted  = 2 * time.Minute
)

// Tidy has this process, which is no worker, clean up after others as workers do, until
// Close. It returns at once.
func (q *Queue) Tidy() {
	q.task(q.tidy)
	q.task(func(ctx context.Context) { _, _ = q.Reap(ctx) }) // which gives jobs to workers alone: it ends with ctx
}

// Reap implements recorder.Reaper. It also ends jobs of lost workers of which nothing was
// recorded. One call at a time.
func (q *Queue) Reap(ctx context.Context) (recorder.Lease, error) {
	for pause(ctx, reapEvery) {
		l, err := q.reaper.look(ctx)
		if l != nil {
			return l, nil
		}
		q.health.note(err)
	}
	return nil, ended(ctx)
}

// reaper looks for jobs whose worker is gone for good while no other can take them: there is
// none, or all of them are busy or shut down. It remembers since when it has seen them lie,
// by this process's clock: a clock of Redis that jumps makes no job older. A look that fails
// makes it forget, for while Redis was away no owner could renew.
type reaper struct {
	q    *Queue
	seen map[string]vigil
}

type vigil struct {
	mark  string // what would change with any sign of life
	since time.Time
}

// stray is a job that lay for too long.
type stray struct {
	entry entry
	state state
}

// look goes through the jobs that lie. Those that lay for too long are ended or, where
// something was recorded, left to whoever can rescue that: a lease is such a job.
func (r *reaper) look(ctx context.Context) (*lease, error) {
	strays, err := r.strays(ctx)
	if err != nil {
		if noGroup(err) {
			err = nil // nobody ever claimed
		}
		return nil, err
	}
	for _, j := range strays {
		if l, err := r.q.reap(ctx, j); l != nil || err != nil {
			return l, err
		}
	}
	return nil, nil
}

func (r *reaper) strays(ctx context.Context) (strays []stray, err error) {
	seen := r.seen
	r.seen = nil
	able, err := r.q.able(ctx)
	if err != nil {
		return nil, err
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
		if !able && !s.leftMedia() {
			patience = min(patience, deserted)
		}
		if now.Sub(v.since) >= patience {
			strays = append(strays, stray{e, s})
		}
		return nil
	})
	if err == nil {
		r.seen = lying
	}
	return strays, err
}

// reap ends a job that lay for too long. One that left media is taken, to be ended when they are
// rescued; a process that is no worker cannot do that and, for a day, leaves it to one that can.
func (q *Queue) reap(ctx context.Context, j stray) (l *lease, err error) {
	if j.state.status == recorder.StatusQueued {
		if j.state.stop, err = q.stopOf(ctx, j.entry.job.ID); err != nil {
			return nil, err
		}
	}
	switch {
	case !j.state.leftMedia():
		return nil, q.conclude(ctx, j.entry, j.state)
	case q.opts.Worker != "":
		return q.rescue(ctx, j)
	case q.opts.Now().Sub(j.state.expiry) >= q.opts.RescueWithin:
		return nil, q.conclude(ctx, j.entry, j.state)
	case j.state.status != recorder.StatusEnding:
		return nil, q.strand(ctx, j.state)
	default:
		return nil, nil
	}
}

// stopOf gives the reason of a client's stop that waits for a worker; "" for none.
func (q *Queue) stopOf(ctx context.Context, id string) (why recorder.EndReason, err error) {
	var sent []redis.XMessage
	err = q.exchange(ctx, func(ctx context.Context) (err error) {
		sent, err = q.rdb.XRange(ctx, q.keys.commands(id), "-", "+").Result()
		return err
	})
	for _, m := range sent {
		if c, err := parseCommand(m.Values); err == nil && c.Kind == recorder.CommandStop {
			return c.Reason, nil
		}
	}
	return "", err
}

// rescue takes a job to be ended; nil when it is somebody's again, or is not to be had yet.
func (q *Queue) rescue(ctx context.Context, j stray) (*lease, error) {
	op := nonce()
	for range 4 {
		l, word, err := q.takeFrom(ctx, j.entry, j.state.stranded(), op, false)
		switch {
		case err != nil:
			return nil, err
		case word == "ok":
			return l, q.hold(l)
		case word == "exhausted":
			return nil, q.conclude(ctx, j.entry, j.state)
		case word != "later" || !pause(ctx, q.opts.LeaseTTL/3): // nobody else may have looked for so long, see resting
			return nil, nil
		}
	}
	return nil, nil
}

// strand tells that a job waits for whoever can rescue what was recorded.
func (q *Queue) strand(ctx context.Context, before state) error {
	s := before.stranded()
	s.rec.UpdatedAt = q.opts.Now().UnixNano()
	answer, err := q.run(ctx, q.scripts.strand, []string{q.keys.job(s.rec.ID), q.keys.events()},
		before.rev, composeRecording(s.rec), s.rec.UpdatedAt, string(recorder.EventFor(before.status, s.status)), s.rec.ID, eventsKept)
	if word, _ := verdict(answer); word == "ok" {
		q.log.Warn("a job whose worker is lost waits for one that can rescue what was recorded",
			zap.String("job", s.rec.ID), zap.String("worker", s.worker))
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
// when the job has an owner, and that is not this process, or was given back with media
// that somebody has to see to.
func (q *Queue) lapsed(ctx context.Context, id string) (entry, state, error) {
	m, ok, err := q.find(ctx, id)
	if err != nil || !ok {
		return entry{}, state{}, err
	}
	e, _ := decode(m) // one that was taken once is valid
	s, err := q.load(ctx, e.job.ID)
	if err != nil || s.entry != id || s.status.Ended() || s.owner == q.owner || s.owner == "" && !s.leftMedia() {
		return entry{}, state{}, err
	}
	return e, s, nil
}

// conclude ends a job that nobody goes on with, unless somebody does.
func (q *Queue) conclude(ctx context.Context, e entry, s state) error {
	rec := recorder.ConcludeLost(s.rec, notGoneOnWith(), recorder.EndWorkerLost, s.rec.UpdatedAt)
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

func notGoneOnWith() *recorder.Error {
	return recorder.Errorf(recorder.CodeWorkerLost, "the worker that recorded this has not come back, and no other could go on; "+
		"what its spool holds is delivered when it does")
}
