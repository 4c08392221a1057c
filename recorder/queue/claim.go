package queue

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"tapedeck/recorder"
)

// Claim takes one job: leases that expired and jobs that were given back first,
// then new ones. It waits, through Redis being away too, until there is one or
// ctx is done.
func (q *Queue) Claim(ctx context.Context) (recorder.Lease, error) {
	if q.opts.Worker == "" {
		return nil, recorder.Errorf(recorder.CodeInvalid, "worker: a queue that claims needs a worker id")
	}
	retry := backoff{first: 50 * time.Millisecond, last: max(q.wait(), 50*time.Millisecond)}
	for {
		if ctx.Err() != nil {
			return nil, ended(ctx)
		}
		if q.life.Err() != nil {
			return nil, errClosed
		}
		l, err := q.claimOnce(ctx)
		switch {
		case l != nil && ctx.Err() != nil:
			// Nobody asks any more; this try is not to be counted.
			q.task(func(life context.Context) { _ = l.Release(life, nil, false) })
			return nil, ended(ctx)
		case l != nil:
			return l, nil
		case err == nil, errors.Is(err, recorder.ErrNoWork):
			retry.reset()
		case noGroup(err):
			q.makeGroup(ctx)
			pause(ctx, retry.next())
		default:
			q.health.note(err)
			pause(ctx, retry.next())
		}
	}
}

// claimOnce looks once at what expired, then waits a moment for new work. nil
// without an error: something was taken care of, look again.
func (q *Queue) claimOnce(ctx context.Context) (*lease, error) {
	if l, err := q.reclaim(ctx); l != nil || err != nil {
		return l, err
	}
	m, err := q.next(ctx)
	if err != nil {
		return nil, err
	}
	// What was delivered is taken, dead-lettered or given back: no half claims.
	return q.accept(context.WithoutCancel(ctx), m)
}

const reclaimPage = 64

// reclaim takes the first it can of the entries that nobody renewed.
func (q *Queue) reclaim(ctx context.Context) (l *lease, err error) {
	err = q.eachLapsed(ctx, func(id string) error {
		l, err = q.reclaimEntry(ctx, id)
		if l != nil {
			return errEnough
		}
		return err
	})
	if l != nil {
		return l, nil
	}
	return nil, err
}

// errEnough ends an eachLapsed.
var errEnough = errors.New("enough")

// eachLapsed goes through the entries that nobody renewed.
func (q *Queue) eachLapsed(ctx context.Context, visit func(id string) error) error {
	from := "-"
	for {
		answer, err := q.run(ctx, q.scripts.expired, []string{q.keys.jobs(), q.keys.pulse()},
			group, q.opts.LeaseTTL.Milliseconds(), from, reclaimPage)
		if err != nil {
			return err
		}
		ids, _ := answer.([]any)
		for _, v := range ids {
			id, _ := v.(string)
			if ctx.Err() != nil {
				return ended(ctx)
			}
			if err := visit(id); err != nil {
				return err
			}
			from = after(id)
		}
		if len(ids) < reclaimPage {
			return nil
		}
	}
}

func (q *Queue) reclaimEntry(ctx context.Context, id string) (*lease, error) {
	m, ok, err := q.find(ctx, id)
	if err != nil {
		return nil, err
	}
	if !ok {
		// Somebody deleted the entry by hand; the group still lists it.
		return nil, q.rdb.XAck(ctx, q.keys.jobs(), group, id).Err()
	}
	return q.accept(context.WithoutCancel(ctx), m)
}

// after gives the least entry id above id.
func after(id string) string {
	ms, seq, _ := strings.Cut(id, "-")
	n, _ := strconv.ParseUint(seq, 10, 64)
	return ms + "-" + strconv.FormatUint(n+1, 10)
}

// next waits a moment for a new entry; ErrNoWork when there is none. A read
// cannot be called off, so it runs beside: what it brings when nobody waits any
// more is given back.
func (q *Queue) next(ctx context.Context) (redis.XMessage, error) {
	type result struct {
		m   redis.XMessage
		err error
	}
	got := make(chan result) // unbuffered: handed over or given back, never both
	started := q.task(func(life context.Context) {
		m, err := q.read(life)
		select {
		case got <- result{m, err}:
		case <-ctx.Done():
			if err == nil {
				q.giveBack(life, m.ID)
			}
		case <-life.Done():
		}
	})
	if !started {
		return redis.XMessage{}, errClosed
	}
	select {
	case r := <-got:
		return r.m, r.err
	case <-ctx.Done():
		return redis.XMessage{}, ended(ctx)
	case <-q.life.Done():
		return redis.XMessage{}, errClosed
	}
}

func (q *Queue) read(life context.Context) (redis.XMessage, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(life), q.wait()+q.opTimeout())
	defer cancel()
	streams, err := q.blocking.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: group, Consumer: q.opts.Worker, Streams: []string{q.keys.jobs(), ">"}, Count: 1, Block: q.wait(),
	}).Result()
	if errors.Is(err, redis.Nil) || (err == nil && (len(streams) == 0 || len(streams[0].Messages) == 0)) {
		return redis.XMessage{}, recorder.ErrNoWork
	}
	if err != nil {
		return redis.XMessage{}, err
	}
	m := streams[0].Messages[0]
	if life.Err() != nil {
		q.giveBack(context.WithoutCancel(life), m.ID)
		return redis.XMessage{}, errClosed
	}
	return m, nil
}

// giveBack makes a delivered entry look expired, so that anybody takes it next.
func (q *Queue) giveBack(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, q.opTimeout())
	defer cancel()
	err := q.rdb.Do(ctx, "XCLAIM", q.keys.jobs(), group, q.opts.Worker, 0, id,
		"IDLE", q.opts.LeaseTTL.Milliseconds(), "JUSTID").Err()
	q.health.note(err) // when it fails, the entry expires by itself
}

// makeGroup creates the group; from the stream's beginning, so that nothing
// added before the first worker is missed.
func (q *Queue) makeGroup(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, q.opTimeout())
	defer cancel()
	err := q.rdb.XGroupCreateMkStream(ctx, q.keys.jobs(), group, "0").Err()
	if err != nil && !strings.HasPrefix(err.Error(), "BUSYGROUP") {
		q.health.note(err)
	}
}
