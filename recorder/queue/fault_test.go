package queue_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/queue"
	"tapedeck/recorder/recordertest"
)

const patience = 30 * time.Second

func claim(t *testing.T, q *queue.Queue) recorder.Lease {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l, err := q.Claim(ctx)
	require.NoError(t, err)
	return l
}

func as(rec recorder.Recording, s recorder.Status) recorder.Recording {
	rec.Status, rec.UpdatedAt = s, rec.UpdatedAt+1
	return rec
}

func stateOf(t *testing.T, q *queue.Queue, id string) recorder.Recording {
	t.Helper()
	found, err := q.List(t.Context(), recorder.Filter{IDs: []string{id}})
	require.NoError(t, err)
	if len(found) == 0 {
		return recorder.Recording{}
	}
	return found[0]
}

// events counts the events of a type by job.
func events(t *testing.T, c *redis.Client, kind recorder.EventType) map[string]int {
	t.Helper()
	all, err := c.XRange(t.Context(), "{tapedeck}:events", "-", "+").Result()
	require.NoError(t, err)
	n := map[string]int{}
	for _, m := range all {
		if m.Values["type"] == string(kind) {
			id, _ := m.Values["id"].(string)
			n[id]++
		}
	}
	return n
}

func lost(l recorder.Lease) bool {
	select {
	case <-l.Lost():
		return true
	default:
		return false
	}
}

// outageTTL is a short lease for these: after an outage go-redis dials once a second.
const outageTTL = 3 * time.Second

// outage runs one recording through an outage that lasts longer than a lease,
// with another worker waiting to take whatever it can.
func outage(t *testing.T, r *recordertest.Redis, ttl time.Duration, away, back func(), survives bool) {
	o1, o2 := testOptions(t, "w1"), testOptions(t, "w2")
	o1.LeaseTTL, o2.LeaseTTL = ttl, ttl
	q1, q2 := open(t, r.URL(), o1), open(t, r.URL(), o2)
	require.NoError(t, q1.Enqueue(t.Context(), recordertest.WebJob("tape")))
	l := claim(t, q1)
	rec := as(l.Recording(), recorder.StatusStarting)
	require.NoError(t, l.Report(t.Context(), rec))

	ctx, cancel := context.WithCancel(t.Context())
	thief := make(chan recorder.Lease, 1)
	go func() {
		other, err := q2.Claim(ctx)
		if err != nil {
			other = nil
		}
		thief <- other
	}()
	away()
	at := time.Now()
	for range 5 {
		rec = as(rec, recorder.StatusActive)
		require.NoError(t, l.Report(t.Context(), rec), "a report is kept while redis is away")
	}
	assert.Less(t, time.Since(at), 4*time.Second, "reports do not hold the recording up: at most one waits its second")
	time.Sleep(ttl * 4 / 3) // the outage itself
	back()

	require.Eventually(t, func() bool {
		found, err := q1.List(t.Context(), recorder.Filter{IDs: []string{"tape"}})
		return err == nil && len(found) == 1 && found[0].Status == recorder.StatusActive
	}, patience, 50*time.Millisecond, "the newest state arrives")
	time.Sleep(ttl * 3 / 2) // time for the other worker to do wrong
	require.False(t, lost(l), "redis being away ends no lease")
	cancel()
	require.Nil(t, <-thief, "the other worker took a job whose owner lives")

	require.NoError(t, q2.Stop(t.Context(), "tape", ""))
	select {
	case c := <-l.Commands():
		assert.Equal(t, recorder.CommandStop, c.Kind)
	case <-time.After(patience):
		t.Fatal("no command came")
	}
	require.NoError(t, l.Finish(t.Context(), as(rec, recorder.StatusComplete)))
	c := client(t, r.URL())
	assert.Equal(t, map[string]int{"tape": 1}, events(t, c, recorder.EventEnded))
	assert.Equal(t, map[string]int{"tape": 1}, events(t, c, recorder.EventStarted))
	if survives {
		assert.Equal(t, map[string]int{"tape": 1}, events(t, c, recorder.EventQueued))
	}
	n, err := c.XLen(t.Context(), "{tapedeck}:jobs").Result()
	require.NoError(t, err)
	assert.Zero(t, n, "the entry with its secrets is gone")
}

func TestRedisRestartMidLease(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t, recordertest.WithAppendOnly())
	outage(t, r, queue.DefaultLeaseTTL, r.Kill, r.Start, true)
}

func TestRedisLosesItsMemoryMidLease(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	outage(t, r, outageTTL, r.Kill, r.Start, false)
}

func TestRedisHangsMidLease(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	outage(t, r, outageTTL, r.Pause, r.Resume, true)
}

func TestFinishWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t, recordertest.WithAppendOnly())
	q := open(t, r.URL(), testOptions(t, "w1"))
	require.NoError(t, q.Enqueue(t.Context(), recordertest.WebJob("end")))
	l := claim(t, q)
	r.Kill()
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := l.Finish(short, as(l.Recording(), recorder.StatusComplete))
	require.ErrorIs(t, err, &recorder.Error{Code: recorder.CodeUnavailable})
	done := make(chan error, 1)
	go func() { done <- l.Finish(t.Context(), as(l.Recording(), recorder.StatusComplete)) }()
	r.Start()
	require.NoError(t, <-done)
	assert.Equal(t, recorder.StatusComplete, stateOf(t, q, "end").Status)
	assert.Equal(t, map[string]int{"end": 1}, events(t, client(t, r.URL()), recorder.EventEnded))
}

// gate is a client's connection that can be held up, as that of a worker that sleeps.
type gate struct {
	mu   sync.Mutex
	wait chan struct{}
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wait = make(chan struct{})
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.wait)
	g.wait = nil
}

func (g *gate) pass() {
	g.mu.Lock()
	w := g.wait
	g.mu.Unlock()
	if w != nil {
		<-w
	}
}

func (g *gate) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (g *gate) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		g.pass()
		return next(context.WithoutCancel(ctx), cmd)
	}
}

func (g *gate) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		g.pass()
		return next(context.WithoutCancel(ctx), cmds)
	}
}

// sleeper gives the lease of a worker that falls asleep when the gate is shut, and a queue of
// another one.
func sleeper(t *testing.T) (g *gate, awake *queue.Queue, old recorder.Lease) {
	t.Helper()
	r := recordertest.StartRedis(t)
	c, g := client(t, r.URL()), &gate{}
	c.AddHook(g)
	asleep, err := queue.New(t.Context(), c, testOptions(t, "w1"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = asleep.Close() })
	awake = open(t, r.URL(), testOptions(t, "w2"))
	require.NoError(t, awake.Enqueue(t.Context(), recordertest.WebJob("fenced")))
	return g, awake, claim(t, asleep)
}

func TestFenceRefusesAWorkerThatSlept(t *testing.T) {
	t.Parallel()
	g, awake, old := sleeper(t)
	require.NoError(t, old.Report(t.Context(), as(old.Recording(), recorder.StatusActive)))
	g.shut()
	l := claim(t, awake)
	require.Equal(t, recorder.StatusActive, l.Recording().Status)
	previous, ok := l.(interface{ Previous() queue.Previous })
	require.True(t, ok)
	assert.Equal(t, queue.Previous{Worker: "w1", Status: recorder.StatusActive}, previous.Previous())

	finished, reported := make(chan error, 1), make(chan error, 1)
	go func() { reported <- old.Report(t.Context(), as(old.Recording(), recorder.StatusEnding)) }()
	go func() { finished <- old.Finish(t.Context(), as(old.Recording(), recorder.StatusComplete)) }()
	time.Sleep(50 * time.Millisecond) // both are on their way
	g.open()
	require.ErrorIs(t, <-finished, recorder.ErrLeaseLost)
	if err := <-reported; err != nil { // nil when it was left to the background
		require.ErrorIs(t, err, recorder.ErrLeaseLost)
	}
	require.ErrorIs(t, old.Report(t.Context(), as(old.Recording(), recorder.StatusEnding)), recorder.ErrLeaseLost)
	<-old.Lost()
	rec := stateOf(t, awake, "fenced")
	assert.Equal(t, "w2", rec.Worker)
	assert.Equal(t, recorder.StatusStarting, rec.Status)
	require.NoError(t, l.Finish(t.Context(), as(l.Recording(), recorder.StatusFailed)))
}

func TestHeartbeatNoticesATakeover(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	q := open(t, r.URL(), testOptions(t, "w1"))
	require.NoError(t, q.Enqueue(t.Context(), recordertest.WebJob("taken")))
	l := claim(t, q)
	require.NoError(t, client(t, r.URL()).HSet(t.Context(), "{tapedeck}:job:taken", "owner", "w2/other", "fence", "2").Err())
	select {
	case <-l.Lost():
	case <-time.After(patience):
		t.Fatal("the lease was not lost")
	}
	_, more := <-l.Commands()
	assert.False(t, more)
}

func TestLifeOfAnEarlierLife(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	first := open(t, r.URL(), testOptions(t, "w1"))
	require.NoError(t, first.Enqueue(t.Context(), recordertest.WebJob("mine")))
	l := claim(t, first)
	require.NoError(t, l.Report(t.Context(), as(l.Recording(), recorder.StatusActive)))
	l.Abandon()
	expired(t, r.URL(), "mine", 3*testTTL)
	second := open(t, r.URL(), testOptions(t, "w1"))
	ctx, cancel := context.WithTimeout(t.Context(), testTTL)
	defer cancel()
	_, err := second.Claim(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded, "what this worker recorded is left to Adopt at first")
	adopted, err := second.Adopt(t.Context(), "mine")
	require.NoError(t, err)
	assert.Equal(t, recorder.StatusActive, adopted.Recording().Status)
	adopted.Abandon()
	assert.Equal(t, "mine", claim(t, second).Job().ID, "and is claimed when nobody adopts it")
}

func TestAbandonAfter(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	o := testOptions(t, "w2")
	o.AbandonAfter = 3 * testTTL
	q1, q2 := open(t, r.URL(), testOptions(t, "w1")), open(t, r.URL(), o)
	require.NoError(t, q1.Enqueue(t.Context(), recordertest.WebJob("spooled")))
	l := claim(t, q1)
	require.NoError(t, l.Report(t.Context(), as(l.Recording(), recorder.StatusActive)))
	require.NoError(t, l.Report(t.Context(), as(l.Recording(), recorder.StatusEnding)))
	l.Abandon()
	at := time.Now()
	l2 := claim(t, q2)
	assert.Greater(t, time.Since(at), 3*testTTL)
	assert.Equal(t, recorder.StatusEnding, l2.Recording().Status)
	assert.Equal(t, recorder.StatusEnding, stateOf(t, q1, "spooled").Status)
	require.NoError(t, l2.Finish(t.Context(), as(l2.Recording(), recorder.StatusFailed)))
}

func TestTooManyCrashes(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	q := open(t, r.URL(), testOptions(t, "w1"))
	require.NoError(t, q.Enqueue(t.Context(), recordertest.WebJob("deadly")))
	for range queue.DefaultMaxAttempts {
		claim(t, q).Abandon()
	}
	ctx, cancel := context.WithCancel(t.Context())
	claiming := make(chan error, 1)
	go func() {
		_, err := q.Claim(ctx)
		claiming <- err
	}()
	require.Eventually(t, func() bool { return stateOf(t, q, "deadly").Status.Ended() }, patience, 20*time.Millisecond)
	cancel()
	require.ErrorIs(t, <-claiming, context.Canceled, "it is not handed out once more")
	rec := stateOf(t, q, "deadly")
	assert.Equal(t, recorder.StatusFailed, rec.Status)
	assert.Equal(t, recorder.EndTooManyTries, rec.EndReason)
	n, err := client(t, r.URL()).XLen(t.Context(), "{tapedeck}:dead").Result()
	require.NoError(t, err)
	assert.Equal(t, int64(1), n)
}

func TestGroupDestroyedMidLease(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	q1, q2 := open(t, r.URL(), testOptions(t, "w1")), open(t, r.URL(), testOptions(t, "w2"))
	require.NoError(t, q1.Enqueue(t.Context(), recordertest.WebJob("one")))
	l := claim(t, q1)
	require.NoError(t, client(t, r.URL()).XGroupDestroy(t.Context(), "{tapedeck}:jobs", "workers").Err())
	require.NoError(t, q1.Enqueue(t.Context(), recordertest.WebJob("two")))
	l2 := claim(t, q2)
	assert.Equal(t, "two", l2.Job().ID, "a running job is not handed out again")
	require.NoError(t, l.Finish(t.Context(), as(l.Recording(), recorder.StatusComplete)))
	require.NoError(t, l2.Finish(t.Context(), as(l2.Recording(), recorder.StatusComplete)))
}

func TestStopRacesClaim(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	q := open(t, r.URL(), testOptions(t, "w1"))
	const jobs = 40
	id := func(i int) string { return "race" + string(rune('A'+i/10)) + string(rune('0'+i%10)) }
	for i := range jobs {
		require.NoError(t, q.Enqueue(t.Context(), recordertest.WebJob(id(i))))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			l, err := q.Claim(ctx)
			if err != nil {
				return
			}
			wg.Go(func() {
				if c := <-l.Commands(); c.Kind != recorder.CommandStop {
					t.Errorf("%s was not stopped", l.Job().ID)
				}
				assert.NoError(t, l.Finish(t.Context(), as(l.Recording(), recorder.StatusComplete)))
			})
		}
	})
	for i := range jobs {
		require.NoError(t, q.Stop(t.Context(), id(i), ""))
	}
	require.Eventually(t, func() bool {
		return len(events(t, client(t, r.URL()), recorder.EventEnded)) == jobs
	}, patience, 100*time.Millisecond)
	cancel()
	wg.Wait()
	for id, n := range events(t, client(t, r.URL()), recorder.EventEnded) {
		assert.Equal(t, 1, n, id)
	}
}

func TestOpenNeverShowsThePassword(t *testing.T) {
	t.Parallel()
	const password = "hunter2secret"
	for _, url := range []string{
		"redis://user:" + password + "@127.0.0.1:1/0",
		"redis://user:" + password + "@127.0.0.1:1/db",
		"redis://user:" + password + "@127.0.0.1:1/0?pool_size=" + password,
		"redis://user:pa/" + password + "@127.0.0.1:1/0",
		"redis://user:" + password + "%zz@127.0.0.1:1/0",
		"http://user:" + password + "@127.0.0.1:1/0",
		"redis+cluster://user:" + password + "@127.0.0.1:1?nonsense=1",
		"redis+cluster://user:" + password + "@127.0.0.1:1",
		"redis+sentinel://user:" + password + "@127.0.0.1:1",
		"redis+sentinel://user:" + password + "@127.0.0.1:1?master_name=m&sentinel_password=" + password,
		"redis+other://user:" + password + "@127.0.0.1:1",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		_, err := queue.Open(ctx, url, queue.Options{})
		cancel()
		require.Error(t, err, url)
		for e := err; e != nil; e = errors.Unwrap(e) {
			assert.False(t, strings.Contains(e.Error(), password), "%s: %v", url, e)
		}
	}
}
