package queue

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"tapedeck/recorder"
)

// WorkerInfo is a worker's account of itself.
type WorkerInfo struct {
	ID        string   `json:"id"`
	Slots     int      `json:"slots"`
	Running   []string `json:"running,omitempty"` // ids of jobs
	StartedAt int64    `json:"started_at"`        // ns since the Unix epoch
	Version   string   `json:"version,omitempty"`
	Draining  bool     `json:"draining,omitempty"`
	// SeenAt is when it last told so, by Redis's clock; Alive says that this is
	// not long ago. Both are set by Workers.
	SeenAt int64 `json:"seen_at,omitempty"`
	Alive  bool  `json:"alive,omitempty"`
}

// Beat tells the pool about a worker. Call it every LeaseTTL or more often.
func (q *Queue) Beat(ctx context.Context, w WorkerInfo) error {
	if w.ID == "" {
		w.ID = q.opts.Worker
	}
	w.SeenAt, w.Alive = 0, false
	_, err := q.run(ctx, q.scripts.beat, []string{q.keys.workers(), q.keys.workersSeen()}, w.ID, compose(w))
	if err != nil {
		return unavailable("the worker's heartbeat", err)
	}
	return nil
}

// Leave takes a worker out of the registry: it shut down.
func (q *Queue) Leave(ctx context.Context, id string) error {
	_, err := q.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.HDel(ctx, q.keys.workers(), id)
		p.ZRem(ctx, q.keys.workersSeen(), id)
		return nil
	})
	if err != nil {
		return unavailable("leaving the pool", err)
	}
	return nil
}

// StartedAt gives when the worker that was the last to beat under an id started, ns since the
// Unix epoch. An Error of CodeNotFound when none has since the id was last left.
func (q *Queue) StartedAt(ctx context.Context, id string) (int64, error) {
	account, err := q.rdb.HGet(ctx, q.keys.workers(), id).Result()
	if errors.Is(err, redis.Nil) {
		return 0, recorder.Errorf(recorder.CodeNotFound, "no worker %s", id)
	}
	if err != nil {
		return 0, unavailable("looking for worker "+id, err)
	}
	var w WorkerInfo
	if err := json.Unmarshal([]byte(account), &w); err != nil {
		return 0, recorder.Errorf(recorder.CodeInternal, "worker %s: %w", id, err)
	}
	return w.StartedAt, nil
}

// Workers lists the workers of the last day by id.
func (q *Queue) Workers(ctx context.Context) ([]WorkerInfo, error) {
	accounts, err := q.rdb.HGetAll(ctx, q.keys.workers()).Result()
	if err != nil {
		return nil, unavailable("listing workers", err)
	}
	seen, err := q.rdb.ZRangeWithScores(ctx, q.keys.workersSeen(), 0, -1).Result()
	if err != nil {
		return nil, unavailable("listing workers", err)
	}
	now, err := q.rdb.Time(ctx).Result()
	if err != nil {
		return nil, unavailable("listing workers", err)
	}
	var workers []WorkerInfo
	for _, z := range seen {
		id, _ := z.Member.(string)
		var w WorkerInfo
		if json.Unmarshal([]byte(accounts[id]), &w) != nil {
			continue
		}
		at := time.UnixMilli(int64(z.Score))
		w.ID, w.SeenAt, w.Alive = id, at.UnixNano(), now.Sub(at).Abs() < 2*q.opts.LeaseTTL // a clock that was put back makes nobody alive
		workers = append(workers, w)
	}
	slices.SortFunc(workers, func(a, b WorkerInfo) int { return strings.Compare(a.ID, b.ID) })
	return workers, nil
}

// Ping reports whether Redis answers, for health pages.
func (q *Queue) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, q.opTimeout())
	defer cancel()
	if err := q.rdb.Ping(ctx).Err(); err != nil {
		return recorder.Errorf(recorder.CodeUnavailable, "redis: %w", err)
	}
	return nil
}
