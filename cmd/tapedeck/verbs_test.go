package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/queue"
	"tapedeck/recorder/recordertest"
)

// output is what a verb wrote, while it writes.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// verb runs the command line as main does, but for ctx.
func verb(ctx context.Context, args ...string) (code int, out, errOut *output) {
	out, errOut = &output{}, &output{}
	return verbTo(ctx, out, errOut, args...), out, errOut
}

func verbTo(ctx context.Context, out, errOut *output, args ...string) int {
	root := (&app{in: strings.NewReader(""), out: out, err: errOut}).command()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	return exitCode(root.ExecuteContext(ctx), errOut)
}

func embedded(t *testing.T, address string) {
	t.Helper()
	redis, err := queue.StartEmbedded(address)
	require.NoError(t, err)
	t.Cleanup(func() { redis.Close() })
	t.Setenv("TAPEDECK_REDIS_URL", redis.URL())
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// diskSpool is a spool a worker accepts: not below a temp directory.
func diskSpool(t *testing.T) string {
	t.Helper()
	ground, err := filepath.Abs("../../out")
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(ground, 0o755))
	dir, err := os.MkdirTemp(ground, "cmd-")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	return dir
}

func TestMaxJobsIsValidated(t *testing.T) {
	for _, n := range []string{"0", "-1", "257"} {
		code, _, errOut := verb(soon(t), "worker", "--max-jobs", n)
		assert.Equal(t, exitUsage, code)
		assert.Contains(t, errOut.String(), `worker.max_jobs: "`+n+`": use 1 to 256`)
	}
}

func TestWatchOfAJobThatEnded(t *testing.T) {
	embedded(t, "127.0.0.1:0")
	code, _, errOut := verb(soon(t), "enqueue", "--url", "https://example.com", "--file", "a.mp4", "--id", "ended")
	require.Zero(t, code, errOut)
	code, _, errOut = verb(soon(t), "stop", "ended")
	require.Zero(t, code, errOut)
	ctx := soon(t)
	code, out, errOut := verb(ctx, "watch", "ended", "--until-end")
	assert.Zero(t, code, errOut)
	require.NoError(t, ctx.Err(), "it returns at once")
	assert.Contains(t, out.String(), "recording_ended  aborted")
}

// claimed is a new job that a worker has.
func claimed(t *testing.T, id, worker string) (*queue.Queue, recorder.Lease) {
	t.Helper()
	code, _, errOut := verb(soon(t), "enqueue", "--url", "https://example.com", "--file", id+".mp4", "--id", id)
	require.Zero(t, code, errOut)
	q, err := queue.Open(soon(t), os.Getenv("TAPEDECK_REDIS_URL"), queue.Options{Worker: worker})
	require.NoError(t, err)
	t.Cleanup(func() { _ = q.Close() })
	lease, err := q.Claim(soon(t))
	require.NoError(t, err)
	return q, lease
}

func TestStopOfAJobThatIsEnding(t *testing.T) {
	embedded(t, "127.0.0.1:0")
	_, lease := claimed(t, "ending", "w")
	rec := lease.Recording()
	rec.Status = recorder.StatusEnding
	require.NoError(t, lease.Report(soon(t), rec))
	code, _, errOut := verb(soon(t), "stop", "ending")
	assert.Zero(t, code)
	assert.Contains(t, errOut.String(), "job ending is ending already")
	for _, args := range [][]string{{"pause"}, {"resume"}, {"update", "--layout", "grid"}} {
		code, _, errOut = verb(soon(t), append(args, "ending")...)
		assert.Equal(t, exitFailed, code, args)
		assert.Contains(t, errOut.String(), "job ending is ending: nothing of it is recorded any more")
	}
}

func TestWorkerWaitsForRedis(t *testing.T) {
	address := recordertest.FreeAddr(t)
	t.Setenv("TAPEDECK_REDIS_URL", "redis://"+address)
	s := newShelf(t)
	s.leave("EG_left", "w1", 2*recorder.ResumeWithin)
	s.leave("EG_cut", "w1", 0)

	run := func(ctx context.Context) (*output, <-chan int) {
		errOut, ended := &output{}, make(chan int, 1)
		go func() { ended <- verbTo(ctx, &output{}, errOut, "worker") }()
		return errOut, ended
	}
	says := func(o *output, text string) {
		t.Helper()
		require.Eventually(t, func() bool { return strings.Contains(o.String(), text) }, 20*time.Second, 5*time.Millisecond, "%s", o)
	}

	ctx, stop := context.WithCancel(soon(t))
	log, ended := run(ctx)
	says(log, "Redis is away")
	stop()
	assert.Zero(t, <-ended, "a stop ends the waiting: %s", log)

	ctx, stop = context.WithCancel(soon(t))
	log, ended = run(ctx)
	says(log, "Redis is away")
	require.Eventually(t, func() bool { return len(s.stored()) == 1 }, 20*time.Second, 5*time.Millisecond, "the spool needs no Redis: %s", log)
	assert.Equal(t, entryLeft, s.list()["EG_cut"].State, "it may be gone on with")
	assert.Equal(t, []string{"EG_left.mp4"}, s.stored())
	embedded(t, address)
	says(log, "worker is up")
	require.Eventually(t, func() bool { return len(s.list()) == 0 }, 20*time.Second, 10*time.Millisecond, "the entries are freed: %s", log)
	assert.ElementsMatch(t, []string{"EG_left.mp4", "EG_cut.mp4"}, s.stored(), "once")
	stop()
	assert.Zero(t, <-ended, log)
}

func TestHealthCheckIsNoReasonToEndAWorker(t *testing.T) {
	t.Setenv("TAPEDECK_REDIS_URL", "redis://127.0.0.1:1")
	t.Setenv("TAPEDECK_SPOOL", filepath.Join(diskSpool(t), "spool"))
	code, out, errOut := verb(soon(t), "doctor", "--quick")
	assert.Zero(t, code, "Redis is away: %s %s", out, errOut)
	assert.Contains(t, out.String(), "start Redis")
	code, _, _ = verb(soon(t), "doctor")
	assert.Equal(t, exitFailed, code, "a full look wants all of it")
	t.Setenv("TAPEDECK_SPOOL", "/proc/spool")
	code, _, _ = verb(soon(t), "doctor", "--quick")
	assert.Equal(t, exitFailed, code, "nothing can be recorded")
}

func TestOnWorkerLoss(t *testing.T) {
	f := enqueueFlags{files: []string{"a.mp4"}, url: "https://example.com", onLoss: "end"}
	job, err := f.job((&app{}).enqueueCommand(), []string{"-"}, strings.NewReader(`{"on_worker_loss": "resume"}`))
	require.NoError(t, err)
	assert.Equal(t, recorder.LossEnd, job.OnWorkerLoss, "the flag has the last word")
	f.onLoss = ""
	job, err = f.job((&app{}).enqueueCommand(), []string{"-"}, strings.NewReader(`{"on_worker_loss": "end"}`))
	require.NoError(t, err)
	assert.Equal(t, recorder.LossEnd, job.OnWorkerLoss)
	code, _, errOut := verb(soon(t), "enqueue", "--url", "https://example.com", "--file", "a.mp4", "--on-worker-loss", "hope")
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, errOut.String(), `on_worker_loss: "hope": use resume (the default) or end`)
}
