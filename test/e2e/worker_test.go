package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// TestQueue lets one worker with one slot meet jobs and what is none.
func TestQueue(t *testing.T) {
	t.Parallel()
	page, p := recordertest.StartPage(t), startPool(t)
	short := page.URL + "/markers?start=100&end=1300"
	// What is no job comes first, and must not be in the way.
	for _, garbage := range []map[string]any{
		{"nothing": "to see"},
		{"job": "{"},
		{"job": `{"url":"ftp://example.com"}`},
		{"job": strings.Repeat("x", 300<<10)},
		{"id": "refused", "job": `{"url":"https://example.com","file_outputs":[{"filepath":"../x.mp4"}]}`},
	} {
		require.NoError(t, p.client.XAdd(t.Context(), &redis.XAddArgs{Stream: jobsKey, Values: garbage}).Err())
	}
	raw, err := json.Marshal(pageJob(short, "raw.mp4", time.Minute))
	require.NoError(t, err)
	host, port, _ := strings.Cut(p.redis.Addr(), ":")
	entry := recordertest.Tool(t, "redis-cli", "-h", host, "-p", port, "XADD", jobsKey, "*", "job", string(raw))
	jobs := []string{"EG_" + entry}
	for _, name := range []string{"one.mp4", "two.mp4"} {
		jobs = append(jobs, p.enqueue(pageJob(short, name, time.Minute)))
	}
	w := p.startWorker("w1")
	for _, reason := range p.awaitDead(5) {
		t.Logf("dead letter: %.160s", reason)
	}
	assert.Equal(t, recorder.StatusFailed, p.list("refused").Status, "whoever waits for it sees it")

	var spans [][2]int64
	for _, id := range jobs {
		rec := p.awaitStatus(id, recorder.StatusComplete, time.Minute)
		assert.Equal(t, recorder.EndSignal, rec.EndReason)
		spans = append(spans, [2]int64{rec.StartedAt, rec.EndedAt})
	}
	slices.SortFunc(spans, func(a, b [2]int64) int { return int(a[0] - b[0]) })
	for i := 1; i < len(spans); i++ {
		assert.LessOrEqual(t, spans[i-1][1], spans[i][0], "one after the other")
	}
	assert.Equal(t, jobs[0], p.first(recorder.EventStarted), "the oldest first")
	probe(t, p.stored("raw.mp4"))

	long := p.enqueue(pageJob(page.URL+"/barcode", "long.mp4", time.Minute))
	p.awaitActive(long)
	waiting := p.enqueue(pageJob(short, "never.mp4", time.Minute))
	require.Zero(t, p.verb("stop", waiting).code)
	rec := p.awaitStatus(waiting, recorder.StatusAborted, 10*time.Second) // the other one goes on for a minute
	assert.Equal(t, recorder.EndStopped, rec.EndReason)
	p.awaitElapsed(long, 2*time.Second)
	require.Zero(t, p.verb("stop", long).code)
	told := time.Now()
	rec = p.awaitStatus(long, recorder.StatusComplete, 20*time.Second)
	t.Logf("stopped, delivered and ended within %v", time.Since(told))
	assert.Less(t, time.Since(told), 8*time.Second)
	assert.Equal(t, recorder.EndStopped, rec.EndReason)
	probe(t, p.stored("long.mp4")).requireWhole(t, 30)
	assert.NoFileExists(t, p.stored("never.mp4"))
	for _, id := range append(jobs, long, waiting) {
		assert.Equal(t, 1, p.count(id, recorder.EventEnded), "%s ends once", id)
	}
	left, err := p.client.XLen(t.Context(), jobsKey).Result()
	require.NoError(t, err)
	assert.Zero(t, left, "the queue is empty")
	p.awaitSpoolFree("w1")
	p.requireNothingLeft(w.command)
}

// first gives the job of the first event of a type.
func (p *pool) first(kind recorder.EventType) string {
	p.t.Helper()
	messages, err := p.client.XRange(p.t.Context(), eventsKey, "-", "+").Result()
	require.NoError(p.t, err)
	for _, m := range messages {
		if m.Values["type"] == string(kind) {
			id, _ := m.Values["id"].(string)
			return id
		}
	}
	return ""
}

func TestDrain(t *testing.T) {
	t.Parallel()
	page, p := recordertest.StartPage(t), startPool(t)
	w := p.startWorker("w1")
	first := p.enqueue(pageJob(page.URL+"/barcode?end=5", "first.mp4", time.Minute))
	p.awaitActive(first)
	w.signal(syscall.SIGTERM)
	w.await(w.stderr, `"draining"`, 5*time.Second)
	second := p.enqueue(pageJob(page.URL+"/barcode", "second.mp4", time.Minute))
	assert.Zero(t, w.wait(30*time.Second), "it drains")
	rec := p.state(first)
	assert.Equal(t, recorder.StatusComplete, rec.Status, "what runs goes on to its end")
	assert.Equal(t, recorder.EndSignal, rec.EndReason)
	probe(t, p.stored("first.mp4")).requireWhole(t, 30)
	assert.Equal(t, recorder.StatusQueued, p.state(second).Status, "nothing new is taken")

	w = p.startWorker("w1", "TAPEDECK_WORKER_DRAIN_TIMEOUT=2s")
	p.awaitActive(second)
	p.awaitElapsed(second, time.Second)
	w.signal(syscall.SIGTERM)
	assert.Zero(t, w.wait(20*time.Second))
	rec = p.state(second)
	assert.Equal(t, recorder.StatusComplete, rec.Status)
	assert.Equal(t, recorder.EndDrained, rec.EndReason)
	m := probe(t, p.stored("second.mp4"))
	m.requireWhole(t, 30)
	assert.GreaterOrEqual(t, m.duration(t), 3*time.Second, "it went on for drain_timeout")

	w = p.startWorker("w1")
	third := p.enqueue(pageJob(page.URL+"/barcode", "third.mp4", time.Minute))
	p.awaitActive(third)
	p.awaitElapsed(third, 2*time.Second)
	w.signal(syscall.SIGTERM)
	w.await(w.stderr, `"draining"`, 5*time.Second)
	w.signal(syscall.SIGTERM)
	again := time.Now()
	assert.Zero(t, w.wait(15*time.Second))
	t.Logf("ended %v after the second signal", time.Since(again))
	assert.Equal(t, recorder.EndDrained, p.state(third).EndReason)
	assert.Equal(t, recorder.StatusComplete, p.state(third).Status)
	probe(t, p.stored("third.mp4")).requireWhole(t, 30)
	p.requireNothingLeft()
	p.requireSpoolFree("w1")
}

// TestSignalsReachWhatAChildStarts: a recording's process takes no notice of
// signals to its group, but what it starts must end when it is told to.
func TestSignalsReachWhatAChildStarts(t *testing.T) {
	t.Parallel()
	page, p := recordertest.StartPage(t), startPool(t)
	p.startWorker("w1")
	id := p.enqueue(pageJob(page.URL+"/barcode", "talk.mp4", time.Minute))
	p.awaitActive(id)
	for _, process := range p.look() {
		if strings.HasPrefix(process.Command, "/bin/sh") {
			continue // the janitor must outlive everybody
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", process.PID))
		require.NoError(t, err)
		ignored := regexp.MustCompile(`SigIgn:\s*([0-9a-f]+)`).FindSubmatch(status)
		require.NotNil(t, ignored)
		mask, err := strconv.ParseUint(string(ignored[1]), 16, 64)
		require.NoError(t, err)
		assert.Zero(t, mask&(1<<(syscall.SIGTERM-1)), "%s ignores SIGTERM", process)
	}
	require.Zero(t, p.verb("stop", id).code)
	p.awaitStatus(id, recorder.StatusComplete, 30*time.Second)
}

// TestRedisAway hangs Redis for longer than a lease lasts, then kills it, and
// brings it back when the recording is over.
func TestRedisAway(t *testing.T) {
	t.Parallel()
	page, p := recordertest.StartPage(t), startPool(t, recordertest.WithAppendOnly())
	p.startWorker("w1")
	id := p.enqueue(pageJob(page.URL+"/barcode?end=14", "talk.mp4", time.Minute))
	p.awaitActive(id)
	p.awaitElapsed(id, time.Second)
	p.redis.Pause()
	time.Sleep(leaseTTL + 2*time.Second) // the outage
	p.redis.Resume()
	p.awaitElapsed(id, 8*time.Second)
	p.redis.Kill()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if _, err := os.Stat(p.stored("talk.mp4")); err == nil {
			break
		}
		require.True(t, time.Now().Before(deadline), "the file is delivered without Redis")
	}
	p.redis.Start()
	rec := p.awaitStatus(id, recorder.StatusComplete, 30*time.Second)
	assert.Equal(t, recorder.EndSignal, rec.EndReason)
	assert.Equal(t, 1, rec.Attempt)
	assert.Equal(t, 1, p.count(id, recorder.EventEnded))
	m := probe(t, p.stored("talk.mp4"))
	m.requireWhole(t, 30)
	assert.InDelta(t, 14*time.Second, m.duration(t), float64(time.Second))
	assert.Zero(t, look(t, p.stored("talk.mp4")).resets)
	p.awaitSpoolFree("w1")
	// The worker works on.
	next := p.enqueue(pageJob(page.URL+"/markers?start=100&end=800", "next.mp4", time.Minute))
	p.awaitStatus(next, recorder.StatusComplete, time.Minute)
}
