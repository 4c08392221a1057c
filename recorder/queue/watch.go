package queue

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"tapedeck/recorder"
)

// Watch calls yield for every event after the given id, from now on when that
// is empty. Redis being away interrupts it for so long. It returns nil when
// yield wants no more, else ctx's cause.
func (q *Queue) Watch(ctx context.Context, after string, yield func(recorder.Event) bool) error {
	retry := backoff{first: 50 * time.Millisecond, last: 2 * time.Second}
	for {
		page, next, err := q.watchOnce(ctx, after, q.wait())
		after = next
		switch {
		case ctx.Err() != nil:
			return ended(ctx)
		case q.life.Err() != nil:
			return errClosed
		case isInvalidID(err):
			return recorder.Errorf(recorder.CodeInvalid, "after: %q is no event id: use one of an event, such as 1700000000000-0", after)
		case err != nil:
			q.health.note(err)
			pause(ctx, retry.next())
			continue
		}
		retry.reset()
		for _, m := range page {
			after = m.ID
			if !yield(parseEvent(m)) {
				return nil
			}
		}
	}
}

func isInvalidID(err error) bool {
	return err != nil && redis.HasErrorPrefix(err, "Invalid stream ID")
}

// watchOnce waits a moment, at least 1 ms, for events. The read goes on beside when ctx ends
// first; it takes nothing from anybody.
func (q *Queue) watchOnce(ctx context.Context, after string, block time.Duration) ([]redis.XMessage, string, error) {
	type result struct {
		page []redis.XMessage
		last string
		err  error
	}
	got := make(chan result, 1)
	if !q.task(func(life context.Context) {
		page, last, err := q.readEvents(life, after, block)
		got <- result{page, last, err}
	}) {
		return nil, after, errClosed
	}
	select {
	case r := <-got:
		return r.page, r.last, r.err
	case <-ctx.Done():
		return nil, after, ended(ctx)
	}
}

func (q *Queue) readEvents(ctx context.Context, after string, block time.Duration) ([]redis.XMessage, string, error) {
	ctx, cancel := context.WithTimeout(ctx, block+q.opTimeout())
	defer cancel()
	if after == "" {
		last, err := q.blocking.XRevRangeN(ctx, q.keys.events(), "+", "-", 1).Result()
		if err != nil {
			return nil, after, err
		}
		after = "0-0"
		if len(last) > 0 {
			after = last[0].ID
		}
	}
	streams, err := q.blocking.XRead(ctx, &redis.XReadArgs{
		Streams: []string{q.keys.events(), after}, Count: 100, Block: block,
	}).Result()
	if errors.Is(err, redis.Nil) || (err == nil && len(streams) == 0) {
		return nil, after, nil
	}
	if err != nil {
		return nil, after, err
	}
	return streams[0].Messages, after, nil
}

func parseEvent(m redis.XMessage) recorder.Event {
	e := recorder.Event{ID: m.ID}
	kind, _ := m.Values["type"].(string)
	at, _ := m.Values["at"].(string)
	rec, _ := m.Values["recording"].(string)
	e.Type, e.At = recorder.EventType(kind), integer(at)
	_ = json.Unmarshal([]byte(rec), &e.Recording) // an event somebody added by hand shows as far as it goes
	if id, _ := m.Values["id"].(string); e.Recording.ID == "" {
		e.Recording.ID = id
	}
	return e
}
