package queue

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"tapedeck/recorder"
)

// How often a worker tidies up, and when a consumer counts as gone.
const (
	tidyEvery    = time.Minute
	consumerIdle = 24 * time.Hour
	tidyBatch    = 200
)

// tidy removes what nobody will ask for: index entries of states that expired,
// and consumers of workers that are no more. It ends jobs that nobody can end.
func (q *Queue) tidy(ctx context.Context) {
	from := int64(0)
	for pause(ctx, tidyEvery) {
		err := q.trimIndex(ctx)
		if err == nil {
			from, err = q.endOrphans(ctx, from)
		}
		if err == nil {
			_, err = q.run(ctx, q.scripts.sweep, []string{q.keys.jobs()}, group, consumerIdle.Milliseconds())
		}
		q.health.note(err)
	}
}

func (q *Queue) trimIndex(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*q.opTimeout())
	defer cancel()
	old := strconv.FormatInt(q.opts.Now().Add(-q.opts.Retention).UnixMilli(), 10)
	ids, err := q.rdb.ZRangeByScore(ctx, q.keys.index(), &redis.ZRangeBy{Min: "-inf", Max: old, Count: tidyBatch}).Result()
	if err != nil {
		return err
	}
	for _, id := range ids {
		there, err := q.rdb.Exists(ctx, q.keys.job(id)).Result()
		if err != nil {
			return err
		}
		if there == 0 {
			if err := errors.Join(q.rdb.ZRem(ctx, q.keys.index(), id).Err(), q.rdb.Del(ctx, q.keys.commands(id), q.keys.hooks(id), q.keys.notes(id)).Err()); err != nil {
				return err
			}
		}
	}
	return nil
}

// endOrphans looks at a page of the index, newest first, and ends jobs whose entry
// somebody deleted or trimmed by hand: nobody would ever claim them again. It
// answers where to go on.
func (q *Queue) endOrphans(ctx context.Context, from int64) (int64, error) {
	ids, err := q.rdb.ZRevRange(ctx, q.keys.index(), from, from+tidyBatch-1).Result()
	if err != nil {
		return from, err
	}
	now, err := q.rdb.Time(ctx).Result()
	if err != nil {
		return from, err
	}
	for _, id := range ids {
		if err := q.endOrphan(ctx, id, now); err != nil {
			return from, err
		}
	}
	if len(ids) < tidyBatch {
		return 0, nil
	}
	return from + tidyBatch, nil
}

func (q *Queue) endOrphan(ctx context.Context, id string, now time.Time) error {
	s, err := q.load(ctx, id)
	if err != nil || !s.exists || s.status.Ended() || now.Before(s.expiry.Add(q.opts.AbandonAfter)) {
		return err
	}
	_, there, err := q.find(ctx, s.entry)
	if err != nil || there {
		return err
	}
	cause := recorder.Errorf(recorder.CodeWorkerLost, "the job's entry was deleted from the stream, and no worker has the job")
	rec := recorder.ConcludeLost(s.rec, cause, recorder.EndWorkerLost, q.opts.Now().UnixNano())
	e := entry{id: s.entry}
	if json.Unmarshal([]byte(s.job), &e.job) != nil { // redacted already
		e.job = recorder.Job{}
	}
	word, err := q.finish(ctx, ending{
		mode: "rev", fence: s.fence, rev: s.rev, op: nonce(), entry: e, created: s.created,
		rec: rec, worker: s.worker, attempt: s.attempt,
	})
	if word == "ok" {
		q.log.Warn("a job without an entry in the stream was ended", zap.String("job", id))
	}
	return err
}
