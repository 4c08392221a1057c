package queue

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// inside opens a queue of a real Redis for tests that look inside.
func inside(t *testing.T, url string, opts Options) *Queue {
	t.Helper()
	q, err := Open(t.Context(), url, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, q.Close()) })
	return q
}

func TestTidy(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	q := inside(t, r.URL(), Options{Worker: "w1", LeaseTTL: 300 * time.Millisecond, Retention: time.Second, AbandonAfter: time.Millisecond})
	ctx := t.Context()
	require.NoError(t, q.Enqueue(ctx, recordertest.WebJob("old")))
	require.NoError(t, q.Stop(ctx, "old", ""))
	require.NoError(t, q.Enqueue(ctx, recordertest.WebJob("orphan")))
	l, err := q.Claim(ctx)
	require.NoError(t, err)
	l.Abandon()
	s, err := q.load(ctx, "orphan")
	require.NoError(t, err)
	require.NoError(t, q.rdb.XDel(ctx, q.keys.jobs(), s.entry).Err())

	require.Eventually(t, func() bool {
		n, err := q.rdb.Exists(ctx, q.keys.job("old")).Result()
		return err == nil && n == 0
	}, 20*time.Second, 100*time.Millisecond, "the state of an ended job is kept for so long only")
	require.NoError(t, q.trimIndex(ctx))
	ids, err := q.rdb.ZRange(ctx, q.keys.index(), 0, -1).Result()
	require.NoError(t, err)
	assert.Equal(t, []string{"orphan"}, ids)

	next, err := q.endOrphans(ctx, 0)
	require.NoError(t, err)
	assert.Zero(t, next)
	s, err = q.load(ctx, "orphan")
	require.NoError(t, err)
	assert.Equal(t, recorder.StatusFailed, s.status)
	assert.Equal(t, recorder.EndWorkerLost, s.rec.EndReason)
	assert.Equal(t, recorder.FileEmpty, s.rec.Files[0].State, "nothing of an ended job looks alive")

	require.NoError(t, q.rdb.XGroupCreateConsumer(ctx, q.keys.jobs(), group, "gone").Err())
	require.Eventually(t, func() bool {
		n, err := q.run(ctx, q.scripts.sweep, []string{q.keys.jobs()}, group, 1)
		return err == nil && integer(n) >= 1
	}, 20*time.Second, time.Millisecond, "it idles for a moment first")
}

func TestSweepEmbedded(t *testing.T) {
	t.Parallel()
	e, err := StartEmbedded("")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	q := inside(t, e.URL(), Options{Worker: "w1"})
	q.makeGroup(t.Context())
	_, err = q.run(t.Context(), q.scripts.sweep, []string{q.keys.jobs()}, group, 1)
	require.NoError(t, err)
	require.NoError(t, q.rdb.Set(t.Context(), "short", "1", time.Second).Err())
	require.Eventually(t, func() bool {
		return errors.Is(q.rdb.Get(t.Context(), "short").Err(), redis.Nil)
	}, 20*time.Second, 50*time.Millisecond, "keys expire")
	_, err = StartEmbedded("0.0.0.0:0")
	require.Error(t, err)
	_, err = StartEmbedded("nonsense")
	require.Error(t, err)
}

func TestWorkersRegistry(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	q := inside(t, r.URL(), Options{Worker: "w1", LeaseTTL: 1500 * time.Millisecond})
	ctx := t.Context()
	require.NoError(t, q.Beat(ctx, WorkerInfo{Slots: 2, Running: []string{"a"}, StartedAt: 7, Version: "1"}))
	require.NoError(t, q.Beat(ctx, WorkerInfo{ID: "w0"}))
	workers, err := q.Workers(ctx)
	require.NoError(t, err)
	require.Len(t, workers, 2)
	assert.Equal(t, "w0", workers[0].ID)
	assert.True(t, workers[1].Alive)
	assert.Equal(t, []string{"a"}, workers[1].Running)
	require.Eventually(t, func() bool {
		workers, err := q.Workers(ctx)
		return err == nil && !workers[1].Alive
	}, 20*time.Second, 50*time.Millisecond)
	require.NoError(t, q.Leave(ctx, "w0"))
	workers, err = q.Workers(ctx)
	require.NoError(t, err)
	assert.Len(t, workers, 1)
	require.NoError(t, q.Ping(ctx))
}

func TestDerivedIDs(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "1700000000000-3", entryOf(idOf("1700000000000-3")))
	for _, id := range []string{"", "EG_", "EG_abc", "EG_1-", "EG_-1", "EG_1-2-3", "1-2", "EG_1-" + string(make([]byte, 30))} {
		assert.Empty(t, entryOf(id), id)
	}
	assert.True(t, recorder.ValidID(derivedID+nonce()))
	assert.Equal(t, "5-18446744073709551615", after("5-18446744073709551614"))
}

func TestURLs(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"redis://127.0.0.1:1", "rediss://u:p@127.0.0.1:1/2?skip_verify=true", "unix://u:p@/run/x.sock?db=1",
		"redis+cluster://u:p@a:1?addr=b:2", "rediss+cluster://a:1", "redis://a:1?addr=b:2",
		"redis+sentinel://u:p@a:1?master_name=m&addr=b:2", "redis://a:1?master_name=m", "rediss+sentinel://a:1/3?master_name=m",
	} {
		connect, err := dialer(url)
		require.NoError(t, err, url)
		c := connect(3)
		switch {
		case strings.Contains(url, "cluster"), strings.Contains(url, "?addr"):
			assert.IsType(t, &redis.ClusterClient{}, c, url)
		default:
			assert.IsType(t, &redis.Client{}, c, url)
		}
		require.NoError(t, c.Close())
	}
	for _, prefix := range []string{"{x}", "a b", "a\n"} {
		_, err := New(t.Context(), nil, Options{Prefix: prefix})
		require.ErrorIs(t, err, &recorder.Error{Code: recorder.CodeInvalid}, prefix)
	}
}
