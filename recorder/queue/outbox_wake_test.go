package queue_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/queue"
	"tapedeck/recorder/recordertest"
)

// TestOutboxGoesOnWhenOneIsDone: whoever waits for new events is woken by an older
// one that became due.
func TestOutboxGoesOnWhenOneIsDone(t *testing.T) {
	r := recordertest.StartRedis(t)
	q, err := queue.Open(t.Context(), r.URL(), queue.Options{LeaseTTL: time.Minute}) // reads wait for a second
	require.NoError(t, err)
	t.Cleanup(func() { _ = q.Close() })
	o := outbox(t, q, queue.OutboxOptions{Receivers: []string{"all"}})
	recordertest.Judged(t, func() []string {
		var late recordertest.Complaints
		assert.Less(&late, wakes(t, q, o), 500*time.Millisecond, "at once")
		return late
	})
}

// wakes gives how long a job's second event takes once its first is done.
func wakes(t *testing.T, q *queue.Queue, o recorder.Outbox) time.Duration {
	t.Helper()
	rec, err := q.Start(t.Context(), recorder.Job{Source: recorder.Source{URL: "https://example.com"}, Files: []recorder.FileOutput{{Filepath: "a.mp4"}}})
	require.NoError(t, err)
	require.NoError(t, q.Stop(t.Context(), rec.ID, ""))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	first, err := o.Next(ctx)
	require.NoError(t, err)

	next := make(chan recorder.Delivery)
	go func() {
		d, err := o.Next(ctx)
		assert.NoError(t, err)
		next <- d
	}()
	select {
	case <-next:
		require.FailNow(t, "the second comes before the first is done")
	case <-time.After(100 * time.Millisecond): // until it waits
	}
	done := time.Now()
	require.NoError(t, first.Done(ctx))
	d := <-next
	assert.Equal(t, recorder.EventEnded, d.Event().Type)
	took := time.Since(done)
	require.NoError(t, d.Done(ctx))
	return took
}
