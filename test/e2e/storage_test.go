package e2e

import (
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// TestStorageAway loses the storage while it takes the file, and restarts the
// worker before it is back.
func TestStorageAway(t *testing.T) {
	t.Parallel()
	page, s3, p := recordertest.StartPage(t), recordertest.StartS3(t), startPool(t)
	proxy := recordertest.StartS3Proxy(t, s3.Endpoint)
	// Slow, so that the upload is still going on when the storage dies.
	proxy.Fault(func(_ int, r *http.Request) recordertest.S3Fault {
		if r.Method == http.MethodPut {
			return recordertest.S3Fault{Rate: 2000}
		}
		return recordertest.S3Fault{}
	})
	job := pageJob(page.URL+"/barcode?end=4", "rooms/talk.mp4", time.Minute)
	job.Files[0].DisableManifest = false
	job.Files[0].S3 = s3.Upload()
	job.Files[0].S3.Endpoint = proxy.URL
	grace := "TAPEDECK_WORKER_DELIVER_GRACE=1s"
	w := p.startWorker("w1", grace)
	id := p.enqueue(job)
	p.awaitActive(id)
	p.await(id, "the upload", 30*time.Second, func(recorder.Recording) bool {
		for _, r := range proxy.Requests() {
			if r.Method == http.MethodPut && r.Status == 0 {
				return true
			}
		}
		return false
	})
	s3.Kill()
	proxy.Fault(nil)
	rec := p.await(id, "an error of the upload", 30*time.Second, func(rec recorder.Recording) bool {
		return len(rec.Files) > 0 && rec.Files[0].Error != ""
	})
	assert.Equal(t, recorder.StatusEnding, rec.Status, "not ended: the file has not arrived")
	t.Logf("while the storage is away: %s %q", rec.Files[0].State, rec.Files[0].Error)

	w.signal(syscall.SIGTERM)
	assert.Zero(t, w.wait(20*time.Second))
	assert.Equal(t, recorder.StatusEnding, p.list(id).Status)
	w = p.startWorker("w1", grace)
	p.await(id, "another try", 30*time.Second, func(rec recorder.Recording) bool { return rec.Worker == "w1" })
	s3.Restart()
	rec = p.awaitStatus(id, recorder.StatusComplete, 90*time.Second)
	assert.Equal(t, recorder.EndSignal, rec.EndReason)
	assert.Nil(t, rec.Error)
	assert.Greater(t, rec.Files[0].Retries, 0)
	file := p.download(s3, "rooms/talk.mp4", rec.Files[0])
	probe(t, file).requireWhole(t, 30)
	require.Contains(t, s3.Keys(), "rooms/talk.mp4.json")
	assert.Contains(t, string(s3.Get("rooms/talk.mp4.json")), rec.Files[0].SHA256)
	assert.Zero(t, s3.Uploads(), "no upload is left half done")
	assert.Equal(t, 1, p.count(id, recorder.EventEnded))
	p.awaitSpoolFree("w1")
	w.signal(syscall.SIGTERM)
	assert.Zero(t, w.wait(20*time.Second))
}
