package queue_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/queue"
	"tapedeck/recorder/recordertest"
)

const (
	envOutbox = "TAPEDECK_TEST_OUTBOX"
	seenKey   = "{tapedeck}:seen" // stream of what the receivers of TestOutboxIsKilled got
)

func outbox(t *testing.T, q *queue.Queue, opts queue.OutboxOptions) *queue.Outbox {
	t.Helper()
	opts.Name = "test"
	o, err := q.OpenOutbox(opts)
	require.NoError(t, err)
	return o
}

// nextEvent takes one event off an outbox.
func nextEvent(t *testing.T, o recorder.Outbox) recorder.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	d, err := o.Next(ctx)
	require.NoError(t, err)
	require.NoError(t, d.Done(ctx))
	return d.Event()
}

// receive is a process that works on an outbox: it notes what it gets, now and then
// puts something off, and now and then forgets what it has.
func receive(ctx context.Context, url string) error {
	q, err := queue.Open(ctx, url, queue.Options{LeaseTTL: time.Second})
	if err != nil {
		return err
	}
	opts := outboxOfProcesses()
	o, err := q.OpenOutbox(opts)
	if err != nil {
		return err
	}
	c, err := redis.ParseURL(url)
	if err != nil {
		return err
	}
	seen := redis.NewClient(c)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				d, err := o.Next(ctx)
				if err != nil {
					return
				}
				r := d.Receiver()
				_ = seen.XAdd(ctx, &redis.XAddArgs{Stream: seenKey, Values: []any{
					"to", d.Event().Recording.ID + " " + r.Name + r.Webhook.URL, "event", d.Event().ID,
				}}).Err()
				switch n := rand.IntN(20); {
				case n == 0: // forgotten
				case n < 4:
					_ = d.Later(ctx, time.Duration(rand.IntN(30))*time.Millisecond)
				default:
					_ = d.Done(ctx)
				}
			}
		})
	}
	wg.Wait()
	return nil
}

// outboxOfProcesses holds an event for longer than a busy machine keeps a receiver from noting
// it: one that notes it when another has the next would look as if the order was wrong.
func outboxOfProcesses() queue.OutboxOptions {
	return queue.OutboxOptions{Name: "test", Receivers: []string{"a", "b"}, Webhooks: true, Hold: time.Second}
}

func startReceiver(t *testing.T, url string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), envOutbox+"="+url)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// Whoever is killed whenever: every receiver gets every event of every job, and
// those of a job one after the other.
func TestOutboxIsKilled(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	c, q := client(t, r.URL()), open(t, r.URL(), testOptions(t, ""))
	_, err := q.OpenOutbox(outboxOfProcesses())
	require.NoError(t, err)

	const jobs = 30
	receivers := []*exec.Cmd{startReceiver(t, r.URL()), startReceiver(t, r.URL())}
	left := func() int64 {
		n, err := c.ZCard(t.Context(), "{tapedeck}:outbox-due:test").Result()
		require.NoError(t, err)
		return n
	}
	hook := "https://example.com/hook?key=1"
	for i := range jobs {
		job := recordertest.WebJob("j" + strconv.Itoa(i))
		if i%3 == 0 {
			job.Webhooks = []recorder.Webhook{{URL: hook}}
		}
		require.NoError(t, q.Enqueue(t.Context(), job))
		require.NoError(t, q.Stop(t.Context(), job.ID, ""))
		late := recorder.Recording{Files: []recorder.FileResult{{Filename: "late.mp4", State: recorder.FileDelivered}}}
		require.NoError(t, q.Amend(t.Context(), job.ID, late))
		if i%8 == 7 { // in the middle of whatever it does
			victim := i / 8 % 2
			require.Eventually(t, func() bool { return c.XLen(t.Context(), seenKey).Val() > int64(i) }, patience, time.Millisecond)
			require.NoError(t, receivers[victim].Process.Kill())
			_ = receivers[victim].Wait()
			receivers[victim] = startReceiver(t, r.URL())
		}
	}
	var all []redis.XMessage
	events, err := c.XRange(t.Context(), "{tapedeck}:events", "-", "+").Result()
	require.NoError(t, err)
	require.Len(t, events, 3*jobs)
	require.Eventually(t, func() bool {
		cursor, err := c.HGet(t.Context(), "{tapedeck}:outbox:test", "cursor").Result()
		return err == nil && cursor == events[len(events)-1].ID && left() == 0
	}, patience, 20*time.Millisecond, "the outbox is never empty")
	all, err = c.XRange(t.Context(), seenKey, "-", "+").Result()
	require.NoError(t, err)

	want, got := map[string][]string{}, map[string][]string{}
	for _, e := range events {
		id, _ := e.Values["id"].(string)
		to := []string{"a", "b"}
		if n, err := strconv.Atoi(id[1:]); err == nil && n%3 == 0 {
			to = append(to, hook)
		}
		for _, r := range to {
			want[id+" "+r] = append(want[id+" "+r], e.ID)
		}
	}
	for _, m := range all {
		to, _ := m.Values["to"].(string)
		id, _ := m.Values["event"].(string)
		got[to] = append(got[to], id)
	}
	for to := range got {
		got[to] = slices.Compact(got[to]) // at least once
	}
	assert.Equal(t, want, got)
	assert.Greater(t, len(all), jobs*7, "nothing was ever told again")
}

func TestOutboxBeginsNow(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t, recordertest.WithAppendOnly())
	q := open(t, r.URL(), testOptions(t, ""))
	require.NoError(t, q.Enqueue(t.Context(), recordertest.WebJob("before")))
	o := outbox(t, q, queue.OutboxOptions{Receivers: []string{"a"}})
	require.NoError(t, q.Enqueue(t.Context(), recordertest.WebJob("after")))
	outbox(t, q, queue.OutboxOptions{Receivers: []string{"a"}}) // another process begins nothing anew
	assert.Equal(t, "after", nextEvent(t, o).Recording.ID)

	// Nobody there, nobody misses anything: Redis remembers.
	require.NoError(t, q.Enqueue(t.Context(), recordertest.WebJob("meanwhile")))
	r.Kill()
	r.Start()
	later := outbox(t, open(t, r.URL(), testOptions(t, "")), queue.OutboxOptions{Receivers: []string{"a"}})
	assert.Equal(t, "meanwhile", nextEvent(t, later).Recording.ID)

	// What the stream has dropped is lost, what follows is not.
	c := client(t, r.URL())
	require.NoError(t, q.Enqueue(t.Context(), recordertest.WebJob("dropped")))
	require.NoError(t, c.XTrimMaxLen(t.Context(), "{tapedeck}:events", 0).Err())
	require.NoError(t, q.Enqueue(t.Context(), recordertest.WebJob("kept")))
	assert.Equal(t, "kept", nextEvent(t, later).Recording.ID)
	require.NoError(t, c.Del(t.Context(), "{tapedeck}:events").Err())
	require.NoError(t, q.Enqueue(t.Context(), recordertest.WebJob("anew")))
	assert.Equal(t, "anew", nextEvent(t, later).Recording.ID)
}

// A Redis that comes back empty has new events only, and none of them is missed.
func TestOutboxOutlivesTheMemoryOfRedis(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	q := open(t, r.URL(), testOptions(t, ""))
	o := outbox(t, q, queue.OutboxOptions{Receivers: []string{"a"}})
	require.NoError(t, q.Enqueue(t.Context(), recordertest.WebJob("one")))
	assert.Equal(t, "one", nextEvent(t, o).Recording.ID)
	r.Kill()
	r.Start()
	require.Eventually(t, func() bool { return q.Enqueue(t.Context(), recordertest.WebJob("two")) == nil }, patience, 20*time.Millisecond)
	assert.Equal(t, "two", nextEvent(t, o).Recording.ID)
}

func TestOutboxWakesAtOnceAndRests(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	q := open(t, r.URL(), queue.Options{})
	o := outbox(t, q, queue.OutboxOptions{Receivers: []string{"a"}})
	n := 0
	recordertest.Judged(t, func() []string {
		var late recordertest.Complaints
		for range 2 {
			got := make(chan recorder.Event)
			go func() { got <- nextEvent(t, o) }()
			n++
			id, at := fmt.Sprintf("n%d", n), time.Now()
			require.NoError(t, q.Enqueue(t.Context(), recordertest.WebJob(id)))
			assert.Equal(t, id, (<-got).Recording.ID)
			assert.Less(&late, time.Since(at), 800*time.Millisecond, "it did not wait for a poll")
		}
		return late
	})

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := o.Next(ctx)
		done <- err
	}()
	c := client(t, r.URL())
	commands := func() int {
		info, err := c.Info(t.Context(), "stats").Result()
		require.NoError(t, err)
		found := regexp.MustCompile(`total_commands_processed:(\d+)`).FindStringSubmatch(info)
		require.NotNil(t, found)
		n, err := strconv.Atoi(found[1])
		require.NoError(t, err)
		return n
	}
	before := commands()
	time.Sleep(1200 * time.Millisecond) // nothing happens
	// A script counts with each command in it: two looks at what is due, and two reads.
	assert.Less(t, commands()-before, 30, "an idle outbox polls")
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
}

// Jobs that were added by hand have webhooks too, and these are nobody's business
// but the outbox's.
func TestOutboxWebhooks(t *testing.T) {
	t.Parallel()
	const mark = "h00kMARKs3cret"
	r := recordertest.StartRedis(t)
	c, q := client(t, r.URL()), open(t, r.URL(), testOptions(t, "w1"))
	o := outbox(t, q, queue.OutboxOptions{Webhooks: true})
	add := func(id string) {
		require.NoError(t, c.XAdd(t.Context(), &redis.XAddArgs{Stream: "{tapedeck}:jobs", Values: map[string]any{
			"id": id, "job": `{"url":"https://example.com","file_outputs":[{}],"webhooks":[{"url":"https://example.com/` + id + `?k=` + mark + `"},{"url":"https://example.com/services/` + mark + `"}]}`,
		}}).Err())
	}
	// Each receiver has its events in their order; which of them is next, nobody promises.
	expect := func(id string, kinds ...recorder.EventType) {
		t.Helper()
		got := map[string][]recorder.EventType{}
		for range 2 * len(kinds) {
			d, err := o.Next(t.Context())
			require.NoError(t, err)
			url := d.Receiver().Webhook.URL
			got[url] = append(got[url], d.Event().Type)
			require.NoError(t, d.Done(t.Context()))
		}
		assert.Equal(t, map[string][]recorder.EventType{
			"https://example.com/" + id + "?k=" + mark: kinds, "https://example.com/services/" + mark: kinds,
		}, got)
	}
	add("claimed")
	l := claim(t, q)
	expect("claimed", recorder.EventQueued, recorder.EventUpdated)
	rec := as(l.Recording(), recorder.StatusFailed)
	rec.Error = recorder.Errorf(recorder.CodeInternal, "cannot tell https://example.com/claimed?k=%s", mark)
	rec.Segments = []recorder.SegmentsResult{{Series: recorder.Series{Error: "no " + mark}, PlaylistLocation: "s3://x/" + mark, LivePlaylistLocation: mark}}
	rec.Images = []recorder.ImagesResult{{Series: recorder.Series{Error: "no " + mark}}}
	rec.Files[0].ManifestLocation = "s3://x/" + mark
	require.NoError(t, l.Finish(t.Context(), rec))
	expect("claimed", recorder.EventEnded)
	require.NoError(t, c.XAdd(t.Context(), &redis.XAddArgs{Stream: "{tapedeck}:jobs", Values: map[string]any{
		"id": "bad", "job": `{"webhooks":[{"url":"https://example.com/services/` + mark + `"}]}`,
	}}).Err())
	ctx, cancel := context.WithCancel(t.Context())
	claiming := make(chan error, 1)
	go func() {
		_, err := q.Claim(ctx)
		claiming <- err
	}()
	require.Eventually(t, func() bool { return stateOf(t, q, "bad").Status == recorder.StatusFailed }, patience, 10*time.Millisecond)
	cancel()
	require.Error(t, <-claiming)
	add("stopped")
	require.NoError(t, q.Stop(t.Context(), "stopped", ""))
	expect("stopped", recorder.EventEnded)

	for _, id := range []string{"claimed", "stopped"} {
		kept, err := c.TTL(t.Context(), "{tapedeck}:hooks:"+id).Result()
		require.NoError(t, err)
		assert.InDelta(t, queue.DefaultRetention.Seconds(), kept.Seconds(), 60, "it goes with the job's state")
		require.NoError(t, c.Del(t.Context(), "{tapedeck}:hooks:"+id).Err())
	}
	assert.NotContains(t, dump(t, c), mark)
}

func TestOutboxForgets(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	opts := testOptions(t, "")
	opts.Retention = time.Second
	c, q := client(t, r.URL()), open(t, r.URL(), opts)
	o := outbox(t, q, queue.OutboxOptions{Receivers: []string{"a"}, Hold: 1100 * time.Millisecond})
	require.NoError(t, q.Enqueue(t.Context(), recordertest.WebJob("undeliverable")))
	_, err := o.Next(t.Context())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := o.Next(ctx)
		done <- err
	}()
	require.Eventually(t, func() bool {
		n, err := c.ZCard(t.Context(), "{tapedeck}:outbox-due:test").Result()
		return err == nil && n == 0
	}, patience, 50*time.Millisecond)
	cancel()
	require.ErrorIs(t, <-done, context.Canceled, "it came again")
	require.Eventually(t, func() bool {
		return len(c.Keys(t.Context(), "{tapedeck}:outbox*").Val()) == 0
	}, patience, 50*time.Millisecond, "an outbox that nobody asks any more is gone")
}

// Events for a receiver that only another process has are left to that one.
func TestOutboxOfAnotherConfiguration(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	q := open(t, r.URL(), testOptions(t, ""))
	both := outbox(t, q, queue.OutboxOptions{Receivers: []string{"a", "b"}, Hold: testHold})
	one := outbox(t, q, queue.OutboxOptions{Receivers: []string{"a"}, Hold: testHold})
	require.NoError(t, q.Enqueue(t.Context(), recordertest.WebJob("x")))
	first, err := both.Next(t.Context()) // it is collected for both
	require.NoError(t, err)
	require.NoError(t, first.Later(t.Context(), 0))
	d, err := one.Next(t.Context())
	require.NoError(t, err)
	assert.Equal(t, recorder.Receiver{Name: "a"}, d.Receiver())
	require.NoError(t, d.Done(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), testHold/4)
	defer cancel()
	_, err = one.Next(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	d, err = both.Next(t.Context())
	require.NoError(t, err)
	assert.Equal(t, recorder.Receiver{Name: "b"}, d.Receiver())

	for _, name := range []string{"", "a b", "{x}", fmt.Sprintf("%033d", 1)} {
		_, err := q.Outbox(name)
		require.ErrorIs(t, err, &recorder.Error{Code: recorder.CodeInvalid}, name)
	}
}
