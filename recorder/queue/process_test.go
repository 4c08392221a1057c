package queue_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"tapedeck/recorder"
	"tapedeck/recorder/queue"
	"tapedeck/recorder/recordertest"
)

const (
	envWorker = "TAPEDECK_TEST_QUEUE_WORKER"
	envURL    = "TAPEDECK_TEST_QUEUE_URL"
)

// TestMain is also the worker process of TestTwoProcesses, and a receiver of TestOutboxIsKilled.
func TestMain(m *testing.M) {
	queue.LogClient(zap.NewNop())
	if worker := os.Getenv(envWorker); worker != "" {
		if err := work(context.Background(), worker, os.Getenv(envURL)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if url := os.Getenv(envOutbox); url != "" {
		if err := receive(context.Background(), url); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(recordertest.RunTogether(m, 8))
}

// work is a worker with a recorder that only waits.
func work(ctx context.Context, worker, url string) error {
	q, err := queue.Open(ctx, url, queue.Options{Worker: worker, LeaseTTL: time.Second, RetryDelay: 10 * time.Millisecond})
	if err != nil {
		return err
	}
	const slots = 4
	var wg sync.WaitGroup
	for range slots {
		wg.Go(func() {
			for {
				l, err := q.Claim(ctx)
				if err != nil {
					return
				}
				rec := l.Recording()
				for _, s := range []recorder.Status{recorder.StatusActive, recorder.StatusEnding} {
					rec = as(rec, s)
					if s == recorder.StatusEnding && rec.Attempt > 1 {
						time.Sleep(20 * time.Millisecond)
					}
					if rec.Status == l.Recording().Status || l.Recording().Status == recorder.StatusEnding {
						continue
					}
					_ = l.Report(ctx, rec)
					time.Sleep(15 * time.Millisecond)
				}
				_ = l.Finish(ctx, as(rec, recorder.StatusComplete))
			}
		})
	}
	wg.Wait()
	return q.Close()
}

func startWorker(t *testing.T, worker, url string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), envWorker+"="+worker, envURL+"="+url)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// A hundred jobs and two worker processes; one sleeps through its leases once
// and is killed in the middle of its work.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	q := open(t, r.URL(), queue.Options{})
	c := client(t, r.URL())
	const jobs = 100
	for i := range jobs {
		require.NoError(t, q.Enqueue(t.Context(), recordertest.WebJob(fmt.Sprintf("job-%d", i))))
	}
	victim := startWorker(t, "victim", r.URL())
	ended := func() int { return len(events(t, c, recorder.EventEnded)) }
	require.Eventually(t, func() bool { return ended() > 5 }, patience, 5*time.Millisecond)
	// What is ending waits for the victim; it must have something that others take over.
	records := func(rec recorder.Recording) bool {
		return rec.Worker == "victim" && rec.Status == recorder.StatusActive
	}
	require.Eventually(t, func() bool {
		require.NoError(t, victim.Process.Signal(syscall.SIGSTOP))
		left, err := q.List(t.Context(), recorder.Filter{Active: true, Limit: jobs})
		require.NoError(t, err)
		if slices.ContainsFunc(left, records) {
			return true
		}
		require.NoError(t, victim.Process.Signal(syscall.SIGCONT))
		return false
	}, patience, 5*time.Millisecond)
	startWorker(t, "other", r.URL())
	before := ended()
	require.Eventually(t, func() bool { return ended() > before+20 }, patience, 5*time.Millisecond)
	time.Sleep(1500 * time.Millisecond) // the victim's leases expire
	require.NoError(t, victim.Process.Signal(syscall.SIGCONT))
	time.Sleep(50 * time.Millisecond)
	require.NoError(t, victim.Process.Kill())
	_ = victim.Wait()

	// What the victim was about to deliver waits for it: its next life adopts it.
	adopted := 0
	next := open(t, r.URL(), queue.Options{Worker: "victim", LeaseTTL: time.Second})
	require.Eventually(t, func() bool {
		left, err := q.List(t.Context(), recorder.Filter{Active: true, Limit: jobs})
		require.NoError(t, err)
		for _, rec := range left {
			if rec.Status != recorder.StatusEnding || rec.Worker != "victim" {
				continue
			}
			l, err := next.Adopt(t.Context(), rec.ID)
			if err == nil {
				adopted++
				require.NoError(t, l.Finish(t.Context(), as(l.Recording(), recorder.StatusFailed)))
			}
		}
		return ended() == jobs
	}, patience, 50*time.Millisecond)

	for id, n := range events(t, c, recorder.EventEnded) {
		assert.Equal(t, 1, n, "%s ended %d times", id, n)
	}
	all, err := q.List(t.Context(), recorder.Filter{Limit: 2 * jobs})
	require.NoError(t, err)
	require.Len(t, all, jobs)
	takeovers := 0
	for _, rec := range all {
		assert.True(t, rec.Status.Ended(), "%s is %s", rec.ID, rec.Status)
		takeovers += rec.Attempt - 1
	}
	assert.Positive(t, takeovers+adopted, "nobody had to take over from the victim")
	n, err := c.XLen(t.Context(), "{tapedeck}:jobs").Result()
	require.NoError(t, err)
	assert.Zero(t, n)
	p, err := c.XPending(t.Context(), "{tapedeck}:jobs", "workers").Result()
	require.NoError(t, err)
	assert.Zero(t, p.Count)
}
