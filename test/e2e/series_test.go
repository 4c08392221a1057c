package e2e

import (
	"fmt"
	"image/jpeg"
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

func seriesJob(url string, limit time.Duration) recorder.Job {
	job := pageJob(url, "", limit)
	job.Files = nil
	job.Advanced = &recorder.EncodingOptions{Width: 640, Height: 360, Framerate: 15}
	job.Segments = []recorder.SegmentOutput{{FilenamePrefix: "hls/seg", PlaylistName: "list", LivePlaylistName: "live", SegmentDuration: recorder.Duration(time.Second)}}
	job.Images = []recorder.ImageOutput{{FilenamePrefix: "hls/thumb", CaptureInterval: recorder.Duration(2 * time.Second), Width: 320}}
	return job
}

// awaitStored waits for a file in the storage while the job records.
func (p *pool) awaitStored(id, name string) {
	p.t.Helper()
	p.await(id, name+" in the storage", time.Minute, func(rec recorder.Recording) bool {
		require.False(p.t, rec.Status.Ended(), "it arrives while recording")
		_, err := os.Stat(p.stored(name))
		return err == nil
	})
}

// TestSeries records segments and pictures, and streams over SRT, without a file.
func TestSeries(t *testing.T) {
	t.Parallel()
	page, listener, p := recordertest.StartPage(t), recordertest.StartSRT(t, ""), startPool(t)
	url := listener.URL("streamid=s3cr3t-stream-id")
	w := p.startWorker("w1")
	job := seriesJob(page.URL+"/barcode?end=7", time.Minute)
	job.Streams = []recorder.StreamOutput{{URLs: []string{url}}}
	id := p.enqueue(job)
	p.awaitStored(id, "hls/seg_00001.ts")
	p.awaitStored(id, "hls/thumb_00001.jpeg")
	p.awaitStored(id, "hls/live.m3u8")
	assert.NotEmpty(t, recordertest.ReadSegments(t, p.stored("hls/list.m3u8")).Segments)
	rec := p.awaitStatus(id, recorder.StatusComplete, time.Minute)

	hls, images := rec.Segments[0], rec.Images[0]
	assert.Equal(t, recorder.FileDelivered, hls.State)
	assert.Equal(t, "hls/list.m3u8", hls.PlaylistName)
	assert.Equal(t, recorder.FileDelivered, images.State)
	list := recordertest.ReadSegments(t, p.stored("hls/list.m3u8"))
	assert.True(t, list.Ended)
	assert.EqualValues(t, hls.SegmentCount, len(list.Segments))
	assert.InDelta(t, hls.Duration, list.Duration(), float64(2*time.Millisecond))
	assert.GreaterOrEqual(t, hls.Duration, int64(6*time.Second), "from the marker to the end")
	assert.InDelta(t, rec.EndedAt-rec.StartedAt, hls.Duration, 1e9)
	assert.InDelta(t, rec.StartedAt, list.Segments[0].At.UnixNano(), 1e6)
	live := recordertest.ReadPlaylist(t, p.stored("hls/live.m3u8"))
	assert.True(t, live.Ended)
	assert.Equal(t, list.Segments[len(list.Segments)-len(live.Segments):], live.Segments)

	last := hls.Duration / int64(2*time.Second)
	assert.EqualValues(t, last+1, images.ImageCount)
	for _, name := range []string{"hls/thumb_00000.jpeg", fmt.Sprintf("hls/thumb_%05d.jpeg", last)} {
		file, err := os.Open(p.stored(name))
		require.NoError(t, err)
		config, err := jpeg.DecodeConfig(file)
		require.NoError(t, err)
		require.NoError(t, file.Close())
		assert.Equal(t, [2]int{320, 180}, [2]int{config.Width, config.Height})
	}
	assert.Equal(t, recorder.StreamFinished, stream(rec, url).State)
	assert.NotContains(t, stream(rec, url).URL+w.stderr.String(), "s3cr3t")
	received := probe(t, listener.Received(1))
	assert.ElementsMatch(t, []string{"h264", "aac"}, received.codecs())
	p.awaitSpoolFree("w1")
}

// TestSeriesOfADeadRecording kills the process that writes segments: what was
// closed is delivered, and the playlists end.
func TestSeriesOfADeadRecording(t *testing.T) {
	t.Parallel()
	page, p := recordertest.StartPage(t), startPool(t)
	w := p.startWorker("w1")
	id := p.enqueue(endsWithLoss(seriesJob(page.URL+"/barcode", time.Minute)))
	p.awaitStored(id, "hls/seg_00001.ts")
	require.NoError(t, syscall.Kill(w.child().PID, syscall.SIGKILL))
	rec := p.awaitStatus(id, recorder.StatusFailed, time.Minute)
	assert.Equal(t, recorder.EndChildDied, rec.EndReason)
	list := recordertest.ReadSegments(t, p.stored("hls/list.m3u8"))
	assert.True(t, list.Ended, "no player waits for more")
	assert.EqualValues(t, rec.Segments[0].SegmentCount, len(list.Segments))
	assert.Equal(t, recorder.FileDelivered, rec.Segments[0].State)
	assert.Equal(t, recorder.FileDelivered, rec.Images[0].State)
	found, err := filepath.Glob(p.stored("hls/*.ts"))
	require.NoError(t, err)
	assert.Len(t, found, len(list.Segments))
}
