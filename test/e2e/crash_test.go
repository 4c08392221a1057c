package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// bucketEnv makes a bucket the storage of a worker.
func bucketEnv(s3 *recordertest.S3) []string {
	return []string{
		"TAPEDECK_STORAGE_S3_BUCKET=" + s3.Bucket, "TAPEDECK_STORAGE_S3_ENDPOINT=" + s3.Endpoint,
		"TAPEDECK_STORAGE_S3_REGION=us-east-1", "TAPEDECK_STORAGE_S3_FORCE_PATH_STYLE=true",
		"TAPEDECK_STORAGE_S3_ACCESS_KEY=" + s3.AccessKey, "TAPEDECK_STORAGE_S3_SECRET=" + s3.Secret,
	}
}

// download gives an object as a file, after checking that it is what the result says.
func (h *home) download(s3 *recordertest.S3, key string, f recorder.FileResult) string {
	h.t.Helper()
	assert.Equal(h.t, recorder.FileDelivered, f.State, f.Error)
	data := s3.Get(key)
	sum := sha256.Sum256(data)
	assert.Equal(h.t, f.SHA256, hex.EncodeToString(sum[:]), "the object is what the result says")
	assert.EqualValues(h.t, f.Size, len(data))
	path := h.path("downloaded-" + filepath.Base(key))
	require.NoError(h.t, os.WriteFile(path, data, 0o600))
	return path
}

// requirePlays checks that a file that was cut off plays at least so far.
func requirePlays(t *testing.T, path string, least time.Duration) {
	t.Helper()
	s := look(t, path)
	require.NotEmpty(t, s.frames)
	last := s.frames[len(s.frames)-1].PTS
	t.Logf("plays up to %v, %.2f %% distinct", last, 100*s.share())
	assert.GreaterOrEqual(t, last, least)
	assert.Zero(t, s.unreadable)
	assert.Zero(t, s.resets)
	assert.GreaterOrEqual(t, s.share(), drawnAtAll)
	beeps := recordertest.BeepOnsets(t, path)
	assert.GreaterOrEqual(t, len(beeps), int(least.Seconds())-1, "sound is there as well")
}

// endsWithLoss has a job end where it is cut off; test/faults plays those that go on.
func endsWithLoss(job recorder.Job) recorder.Job {
	job.OnWorkerLoss = recorder.LossEnd
	return job
}

func TestDeadWorker(t *testing.T) {
	t.Parallel()
	page, s3, p := recordertest.StartPage(t), recordertest.StartS3(t), startPool(t)
	w := p.startWorker("w1", bucketEnv(s3)...)
	id := p.enqueue(endsWithLoss(pageJob(page.URL+"/barcode", "talk.mp4", 2*time.Minute)))
	p.awaitActive(id)
	p.awaitElapsed(id, 4*time.Second)
	w.killTree()
	p.requireNothingLeft() // display, sound, browser and their files vanish by themselves
	assert.Empty(t, s3.Keys())

	w = p.startWorker("w1", bucketEnv(s3)...)
	rec := p.awaitEnd(id, 30*time.Second)
	assert.Equal(t, recorder.StatusFailed, rec.Status)
	assert.Equal(t, recorder.EndWorkerLost, rec.EndReason)
	require.NotNil(t, rec.Error)
	assert.True(t, rec.Files[0].Partial)
	assert.Equal(t, 1, p.count(id, recorder.EventEnded))
	requirePlays(t, p.download(s3, "talk.mp4", rec.Files[0]), 2*time.Second)
	p.awaitSpoolFree("w1")
	w.signal(syscall.SIGTERM)
	assert.Zero(t, w.wait(20*time.Second))
}

// TestOrphanedChild kills the worker alone: the recording's process finalises
// its file by itself, and the worker that comes back delivers it.
func TestOrphanedChild(t *testing.T) {
	t.Parallel()
	page, p := recordertest.StartPage(t), startPool(t)
	w := p.startWorker("w1")
	id := p.enqueue(endsWithLoss(pageJob(page.URL+"/barcode", "talk.mp4", 2*time.Minute)))
	p.awaitActive(id)
	p.awaitElapsed(id, 4*time.Second)
	w.kill()
	p.requireNothingLeft()

	p.startWorker("w1")
	rec := p.awaitEnd(id, 30*time.Second)
	assert.Equal(t, recorder.StatusFailed, rec.Status)
	assert.Equal(t, recorder.EndWorkerLost, rec.EndReason)
	m := probe(t, p.stored("talk.mp4"))
	m.requireWhole(t, 30)
	assert.GreaterOrEqual(t, m.duration(t), 3*time.Second)
}

// TestTakeover kills one of two workers: the other one records on.
func TestTakeover(t *testing.T) {
	t.Parallel()
	page, p := recordertest.StartPage(t), startPool(t)
	w := p.startWorker("w1")
	id := p.enqueue(pageJob(page.URL+"/barcode", "talk.mp4", 2*time.Minute))
	p.awaitActive(id)
	other := p.startWorker("w2")
	p.awaitElapsed(id, 4*time.Second)
	w.killTree()
	died := time.Now()

	rec := p.await(id, "another worker", leaseTTL+recordStart, func(rec recorder.Recording) bool {
		return rec.Worker == "w2" && rec.Status == recorder.StatusActive
	})
	took := time.Since(died)
	t.Logf("the other worker records on after %v", took)
	assert.Less(t, took, leaseTTL+10*time.Second)
	assert.Equal(t, 2, rec.Part)
	p.look()
	other.awaitFile(filepath.Join(p.spool("w2"), "*", "media-0.mp4"), settledMedia, 30*time.Second)
	require.Zero(t, p.verb("stop", id).code)
	rec = p.awaitStatus(id, recorder.StatusFailed, time.Minute) // for want of part 1, which w1's disk has
	assert.Equal(t, recorder.EndStopped, rec.EndReason)
	assert.Equal(t, recorder.CodeWorkerLost, rec.Error.Code)
	assert.Equal(t, "talk.part2.mp4", rec.Files[0].Filename)
	assert.Equal(t, recorder.FileDelivered, rec.Files[0].State)
	probe(t, p.stored("talk.part2.mp4")).requireWhole(t, 30)
	s := look(t, p.stored("talk.part2.mp4"))
	assert.Zero(t, s.unreadable)

	p.startWorker("w1")
	rec = p.await(id, "part 1", 30*time.Second, func(rec recorder.Recording) bool {
		return rec.Earlier[0].Files[0].State == recorder.FileDelivered
	})
	assert.Equal(t, recorder.EndWorkerLost, rec.Earlier[0].EndReason)
	requirePlays(t, p.stored("talk.mp4"), 2*time.Second)
	assert.Equal(t, 1, p.count(id, recorder.EventEnded), "a job ends once")
	assert.Equal(t, 1, p.count(id, recorder.EventAmended))
	p.awaitSpoolFree("w1")
	p.requireSpoolFree("w2")
}

// TestGrowingFile copies a file again and again while it grows: whatever moment
// a SIGKILL comes at, what is there plays.
func TestGrowingFile(t *testing.T) {
	t.Parallel()
	page, h := recordertest.StartPage(t), newHome(t)
	c := h.startRecord(page.URL+"/barcode", "-o", h.path("out.mp4"), "--await-start")
	media, began := h.path("spool", "*", "media-0.mp4"), time.Now()
	c.awaitFile(media, someMedia, 30*time.Second)
	for n := range 8 {
		found, err := filepath.Glob(media)
		require.NoError(t, err)
		data, err := os.ReadFile(found[0])
		require.NoError(t, err)
		grown := time.Since(began)
		part := h.path("copy.mp4")
		require.NoError(t, os.WriteFile(part, data, 0o600))
		frames := recordertest.ReadBarcodes(t, part)
		require.NotEmpty(t, frames)
		assert.GreaterOrEqual(t, frames[len(frames)-1].PTS, grown-3*time.Second, "copy %d, %v after the start", n, grown)
		c.awaitMore(media, 3_000, 30*time.Second)
	}
	c.signal(syscall.SIGINT)
	assert.Zero(t, c.wait(15*time.Second))
}
