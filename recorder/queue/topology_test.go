package queue_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/queue"
	"tapedeck/recorder/recordertest"
)

// live runs a job with a command through a queue.
func live(t *testing.T, q *queue.Queue) {
	t.Helper()
	ctx := t.Context()
	require.NoError(t, q.Enqueue(ctx, recordertest.WebJob("one")))
	require.NoError(t, q.Enqueue(ctx, recordertest.WebJob("two")))
	l := claim(t, q)
	require.NoError(t, l.Report(ctx, as(l.Recording(), recorder.StatusActive)))
	require.NoError(t, q.Stop(ctx, "one", ""))
	assert.Equal(t, recorder.CommandStop, (<-l.Commands()).Kind)
	require.NoError(t, q.Stop(ctx, "two", ""))
	l.Abandon()
	placed, err := q.Place(ctx, recordertest.WebJob("three"))
	require.NoError(t, err)
	receive := outbox(t, q, queue.OutboxOptions{Receivers: []string{"a"}, Webhooks: true})
	told := make(chan recorder.Event, 1)
	go func() { told <- nextEvent(t, receive) }()
	beside := placed.Recording()
	require.Eventually(t, func() bool { // it hears what happens after it began to listen
		beside = as(beside, recorder.StatusStarting)
		beside.Part++
		require.NoError(t, placed.Report(ctx, beside))
		return len(told) > 0
	}, patience, 20*time.Millisecond)
	assert.Equal(t, "three", (<-told).Recording.ID)
	require.NoError(t, placed.Finish(ctx, as(beside, recorder.StatusFailed)))
	require.NoError(t, q.Beat(ctx, queue.WorkerInfo{}))
	adopted, err := q.Adopt(ctx, "one")
	require.ErrorIs(t, err, recorder.ErrConflict, "%v", adopted) // it is this very life's
	require.Eventually(t, func() bool {
		found, err := q.List(ctx, recorder.Filter{})
		return err == nil && len(found) == 3
	}, patience, 50*time.Millisecond)
}

func TestCluster(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t, recordertest.WithRedisArgs("--cluster-enabled", "yes"))
	_, err := r.Do("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		info, err := r.Do("CLUSTER", "INFO")
		return err == nil && strings.Contains(info, "cluster_state:ok")
	}, patience, 50*time.Millisecond)
	live(t, open(t, "redis+cluster://"+r.Addr(), testOptions(t, "w1")))
}

func TestSentinel(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	host, port, err := net.SplitHostPort(r.Addr())
	require.NoError(t, err)
	sentinel := recordertest.FreeAddr(t)
	_, sentinelPort, err := net.SplitHostPort(sentinel)
	require.NoError(t, err)
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, "bind 127.0.0.1\nport %s\nsentinel monitor main %s %s 1\n", sentinelPort, host, port), 0o600))
	cmd := exec.Command("redis-server", conf, "--sentinel")
	cmd.Dir = filepath.Dir(conf)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	require.Eventually(t, func() bool { return slices.Contains(recordertest.Listening(cmd.Process.Pid), sentinel) }, patience, 50*time.Millisecond)
	live(t, open(t, "redis+sentinel://"+sentinel+"?master_name=main", testOptions(t, "w1")))
}

func TestACLUser(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	for _, c := range [][]string{
		// All that a worker needs.
		{"ACL", "SETUSER", "worker", "on", ">p@ss/word", "~{tapedeck}:*", "+@all", "-@dangerous", "+info"},
		{"ACL", "SETUSER", "default", "off"},
	} {
		answer, err := r.Do(c...)
		require.NoError(t, err)
		require.Contains(t, answer, "OK")
	}
	live(t, open(t, "redis://worker:p%40ss%2Fword@"+r.Addr(), testOptions(t, "w1")))
	_, err := queue.Open(t.Context(), "redis://worker:wrong-password@"+r.Addr(), queue.Options{})
	require.ErrorIs(t, err, &recorder.Error{Code: recorder.CodeUnavailable})
}

// Two workers that wait both get work, and the oldest job is taken first.
func TestClaimOrder(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	q1, q2 := open(t, r.URL(), testOptions(t, "w1")), open(t, r.URL(), testOptions(t, "w2"))
	type taken struct {
		worker string
		lease  recorder.Lease
	}
	got := make(chan taken)
	for name, q := range map[string]*queue.Queue{"w1": q1, "w2": q2} {
		go func() {
			if l, err := q.Claim(t.Context()); err == nil {
				got <- taken{name, l}
			}
		}()
	}
	for i := range 3 {
		require.NoError(t, q1.Enqueue(t.Context(), recordertest.WebJob(fmt.Sprintf("n%d", i))))
	}
	a, b := <-got, <-got
	assert.NotEqual(t, a.worker, b.worker)
	assert.ElementsMatch(t, []string{"n0", "n1"}, []string{a.lease.Job().ID, b.lease.Job().ID})

	require.NoError(t, a.lease.Report(t.Context(), as(a.lease.Recording(), recorder.StatusStarting)))
	abandoned := a.lease.Job().ID
	a.lease.Abandon()
	expired(t, r.URL(), abandoned, testTTL)
	l := claim(t, q2)
	assert.Equal(t, abandoned, l.Job().ID, "expired leases come before new work")
	assert.Equal(t, "n2", claim(t, q2).Job().ID)
}
