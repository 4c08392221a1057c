package queue_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/queue"
	"tapedeck/recorder/recordertest"
)

// clock makes a Redis whose clock can be put ahead or back while it runs.
func clock(t *testing.T) (r *recordertest.Redis, put func(by string)) {
	t.Helper()
	faketime, err := filepath.Glob("/usr/lib/*/faketime/libfaketime.so.1")
	require.NoError(t, err)
	libc, err := filepath.Glob("/lib/*/libc.so.6")
	require.NoError(t, err)
	require.Len(t, slices.Concat(faketime, libc), 2, "libfaketime is not installed: build/setup.sh test")
	file := filepath.Join(t.TempDir(), "clock")
	put = func(by string) {
		require.NoError(t, os.WriteFile(file+".new", []byte(by), 0o600))
		require.NoError(t, os.Rename(file+".new", file))
	}
	put("+0")
	r = recordertest.StartRedis(t, recordertest.WithRedisEnv(
		// jemalloc asks for the time before libfaketime can answer: libc is there first.
		"LD_PRELOAD="+faketime[0]+":"+libc[0], "FAKETIME_TIMESTAMP_FILE="+file,
		"FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"))
	return r, put
}

// Redis's clock jumps by an hour. Who lives keeps its job, and what a dead worker had is
// taken within the time that its heartbeat is waited for.
func TestRedisClockJumps(t *testing.T) {
	t.Parallel()
	for _, jump := range []struct{ name, to string }{{"ahead", "+3600"}, {"back", "-3600"}} {
		t.Run(jump.name, func(t *testing.T) {
			t.Parallel()
			r, put := clock(t)
			o1, o2 := testOptions(t, "w1"), testOptions(t, "w2")
			o1.LeaseTTL, o2.LeaseTTL = 2*time.Second, 2*time.Second
			q1, q2 := open(t, r.URL(), o1), open(t, r.URL(), o2)
			require.NoError(t, q1.Enqueue(t.Context(), recordertest.WebJob("kept")))
			kept := claim(t, q1)
			require.NoError(t, kept.Report(t.Context(), as(kept.Recording(), recorder.StatusActive)))
			require.NoError(t, q1.Enqueue(t.Context(), recordertest.WebJob("dead")))
			dead := claim(t, q1)
			require.NoError(t, dead.Report(t.Context(), as(dead.Recording(), recorder.StatusActive)))
			dead.Abandon()
			before := redisTime(t, client(t, r.URL()))
			put(jump.to)
			after := redisTime(t, client(t, r.URL()))
			require.InDelta(t, 3600, after.Sub(before).Abs().Seconds(), 30, "the clock did not jump")

			at := time.Now()
			l := claim(t, q2)
			assert.Equal(t, "dead", l.Job().ID)
			assert.Less(t, time.Since(at), 3*o2.LeaseTTL, "a job waits for a clock")
			assert.Greater(t, time.Since(at), o2.LeaseTTL/2, "owners had no time for a heartbeat")
			noJob(t, q2, o2.LeaseTTL)
			require.False(t, lost(kept), "a clock that jumps ends no lease")
			require.NoError(t, kept.Finish(t.Context(), as(kept.Recording(), recorder.StatusFailed)))
			require.NoError(t, l.Finish(t.Context(), as(l.Recording(), recorder.StatusFailed)))
		})
	}
}

func redisTime(t *testing.T, c *redis.Client) time.Time {
	t.Helper()
	now, err := c.Time(t.Context()).Result()
	require.NoError(t, err)
	return now
}

// noJob claims for a while, in vain.
func noJob(t *testing.T, q *queue.Queue, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	l, err := q.Claim(ctx)
	require.Error(t, err, "%v was handed out", l)
}

// A worker that is killed costs its job the length of a lease and a look, at the
// default length.
func TestTakeoverTakesALease(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	o1, o2 := testOptions(t, "w1"), testOptions(t, "w2")
	o1.LeaseTTL, o2.LeaseTTL = 0, 0
	q1, q2 := open(t, r.URL(), o1), open(t, r.URL(), o2)
	try := 0
	recordertest.Judged(t, func() []string {
		try++
		id := fmt.Sprintf("tape%d", try)
		took := takeover(t, client(t, r.URL()), q1, q2, id)
		assert.Greater(t, took, queue.DefaultLeaseTTL/2)
		var late recordertest.Complaints
		assert.Less(&late, took, queue.DefaultLeaseTTL+time.Second+300*time.Millisecond)
		return late
	})
}

// takeover gives how long a job of q1's waits for q2 in the worst case: a heartbeat just went.
func takeover(t *testing.T, c *redis.Client, q1, q2 *queue.Queue, id string) time.Duration {
	t.Helper()
	require.NoError(t, q1.Enqueue(t.Context(), recordertest.WebJob(id)))
	l := claim(t, q1)
	require.NoError(t, l.Report(t.Context(), as(l.Recording(), recorder.StatusActive)))
	taken := make(chan time.Time, 1)
	go func() {
		if l2, err := q2.Claim(t.Context()); err == nil {
			taken <- time.Now()
			_ = l2.Finish(t.Context(), as(l2.Recording(), recorder.StatusFailed))
		}
	}()
	until := func() string { return c.HGet(t.Context(), "{tapedeck}:job:"+id, "lease_until").Val() }
	first := until()
	require.Eventually(t, func() bool { return until() != first }, patience, 5*time.Millisecond, "no heartbeat")
	l.Abandon()
	at := time.Now()
	return (<-taken).Sub(at)
}
