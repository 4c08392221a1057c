package queue_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/queue"
	"tapedeck/recorder/recordertest"
)

// deaf dials connections that swallow one answer: that to the first thing sent
// which holds mark.
type deaf struct {
	mark  []byte
	swept atomic.Bool
}

func (d *deaf) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := next(ctx, network, addr)
		return &deafConn{Conn: c, deaf: d}, err
	}
}

func (d *deaf) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (d *deaf) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

type deafConn struct {
	net.Conn
	deaf *deaf
	now  atomic.Bool
}

func (c *deafConn) Write(p []byte) (int, error) {
	// EVALSHA is refused the first time; the answer to swallow is that of EVAL.
	if bytes.Contains(p, c.deaf.mark) && bytes.Contains(p, []byte("place stores")) && c.deaf.swept.CompareAndSwap(false, true) {
		c.now.Store(true)
	}
	return c.Conn.Write(p)
}

func (c *deafConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.now.Load() && err == nil {
		_ = c.Close()
		return 0, io.EOF
	}
	return n, err
}

func TestPlaceWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	o, err := redis.ParseURL(r.URL())
	require.NoError(t, err)
	c, d := redis.NewClient(o), &deaf{mark: []byte("unheard")}
	t.Cleanup(func() { _ = c.Close() })
	c.AddHook(d)
	q, err := queue.New(t.Context(), c, testOptions(t, "w1"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = q.Close() })
	job := recordertest.WebJob("unheard")
	job.RejectDuplicates = true
	l, err := q.Place(t.Context(), job)
	require.NoError(t, err)
	require.True(t, d.swept.Load(), "no answer was swallowed")
	require.NoError(t, l.Report(t.Context(), as(l.Recording(), recorder.StatusActive)))
	require.NoError(t, l.Finish(t.Context(), as(l.Recording(), recorder.StatusComplete)))
	direct := client(t, r.URL())
	assert.Equal(t, map[string]int{"unheard": 1}, events(t, direct, recorder.EventQueued))
	n, err := direct.XLen(t.Context(), "{tapedeck}:jobs").Result()
	require.NoError(t, err)
	assert.Zero(t, n)
	left, err := direct.Keys(t.Context(), "{tapedeck}:same:*").Result()
	require.NoError(t, err)
	assert.Empty(t, left, "an ended job is nobody's twin")
}

// What a placed job has beside its state is written again with it.
func TestPlacedJobOutlivesTheMemoryOfRedis(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	q1, q2 := open(t, r.URL(), testOptions(t, "w1")), open(t, r.URL(), testOptions(t, "w2"))
	job := recordertest.WebJob("kept")
	job.Webhooks = []recorder.Webhook{{URL: "https://example.com/hook"}}
	l, err := q1.Place(t.Context(), job)
	require.NoError(t, err)
	require.NoError(t, l.Report(t.Context(), as(l.Recording(), recorder.StatusActive)))
	r.Kill()
	r.Start()
	require.Eventually(t, func() bool {
		found, err := q2.List(t.Context(), recorder.Filter{Active: true})
		return err == nil && len(found) == 1 && found[0].Status == recorder.StatusActive
	}, patience, testTTL/20)
	twin := recordertest.WebJob("twin")
	twin.RejectDuplicates = true
	_, err = q2.Start(t.Context(), twin)
	require.ErrorIs(t, err, recorder.ErrConflict)
	hooks, err := client(t, r.URL()).Get(t.Context(), "{tapedeck}:hooks:kept").Result()
	require.NoError(t, err)
	assert.JSONEq(t, `[{"url":"https://example.com/hook"}]`, hooks)
	require.NoError(t, l.Finish(t.Context(), as(l.Recording(), recorder.StatusComplete)))
	_, err = q2.Start(t.Context(), twin)
	require.NoError(t, err)
}

// Of many that ask at once for the same, one is taken. What a job that vanished
// left behind refuses nobody.
func TestDuplicatesAtOnce(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	q := open(t, r.URL(), testOptions(t, "w1"))
	for range 2 {
		var wg sync.WaitGroup
		var taken atomic.Pointer[recorder.Recording]
		var n atomic.Int64
		for i := range 16 {
			job := recordertest.WebJob("")
			job.RejectDuplicates = true
			wg.Go(func() {
				var rec recorder.Recording
				var err error
				if i%2 == 0 {
					rec, err = q.Start(t.Context(), job)
				} else if l, e := q.Place(t.Context(), job); e == nil {
					rec = l.Recording()
					l.Abandon()
				} else {
					err = e
				}
				if err == nil {
					n.Add(1)
					taken.Store(&rec)
				} else {
					assert.ErrorIs(t, err, recorder.ErrConflict)
				}
			})
		}
		wg.Wait()
		require.Equal(t, int64(1), n.Load())
		require.NoError(t, client(t, r.URL()).Del(t.Context(), "{tapedeck}:job:"+taken.Load().ID).Err(), "by hand")
	}
}

func TestPlacerContract(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	recordertest.PlacerContract(t, func(t *testing.T) recorder.Placer {
		return fixture(t, r.URL()).Open("w1")
	})
}
