package queue

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// How often a worker tidies up, and when a consumer counts as gone.
const (
	tidyEvery    = time.Minute
	consumerIdle = 24 * time.Hour
	tidyBatch    = 200
)

// tidy removes what nobody will ask for: index entries of states that expired,
// and consumers of workers that are no more.
func (q *Queue) tidy(ctx context.Context) {
	for pause(ctx, tidyEvery) {
		err := q.trimIndex(ctx)
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
			if err := errors.Join(q.rdb.ZRem(ctx, q.keys.index(), id).Err(), q.rdb.Del(ctx, q.keys.commands(id)).Err()); err != nil {
				return err
			}
		}
	}
	return nil
}
