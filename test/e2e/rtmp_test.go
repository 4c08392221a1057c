package e2e

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// stream finds a job's stream by its URL.
func stream(rec recorder.Recording, url string) recorder.StreamResult {
	for _, s := range rec.Streams {
		if s.ID == recorder.StreamID(url) {
			return s
		}
	}
	return recorder.StreamResult{}
}

// TestStreams streams to three ingests at once, of which one refuses, one
// stalls after 4 s and one is healthy, and changes them while recording.
func TestStreams(t *testing.T) {
	page, ingest, p := startNoise(t), recordertest.StartRTMP(t), startPool(t)
	w := p.startWorker("w1")
	judged(t, func() []string { return p.streamToThree(t, page, ingest) })
	p.requireNothingLeft(w.command)
}

// streamToThree gives what a busy machine may have done to the picture.
func (p *pool) streamToThree(t *testing.T, page string, ingest *recordertest.RTMP) (complaints []string) {
	t.Helper()
	refusing, stalling := recordertest.NewStallingProxy(t, ingest.Addr), recordertest.NewStallingProxy(t, ingest.Addr)
	refusing.Refuse()
	try := strconv.FormatInt(time.Now().UnixNano(), 36)
	healthyKey, addedKey := "healthy-"+try+"-000111", "added-"+try+"-000222"
	healthy, added := ingest.URL(healthyKey), ingest.URL(addedKey)
	refused, stalled := refusing.URL(ingest.URL("refused-key-000333")), stalling.URL(ingest.URL("stalled-key-000444"))
	job := pageJob(page, "talk.mp4", 3*time.Minute)
	job.Advanced = &recorder.EncodingOptions{VideoBitrate: 8000} // so that a stall shows soon
	job.Streams = []recorder.StreamOutput{{URLs: []string{healthy, refused, stalled}}}
	id := p.enqueue(job)
	p.awaitActive(id)

	p.await(id, "two streams", 30*time.Second, func(rec recorder.Recording) bool {
		return stream(rec, healthy).State == recorder.StreamActive && stream(rec, stalled).State == recorder.StreamActive
	})
	p.awaitElapsed(id, 4*time.Second)
	p.await(id, "a retry", 30*time.Second, func(rec recorder.Recording) bool { return stream(rec, refused).Retries > 0 })
	stalling.Stall()
	rec := p.list(id)
	s := stream(rec, refused)
	assert.Equal(t, recorder.StreamRetrying, s.State)
	assert.Greater(t, s.Retries, 0)
	assert.NotEmpty(t, s.Error)
	assert.NotZero(t, s.LastRetryAt)
	t.Logf("refused: %s, %d retries, %s", s.State, s.Retries, s.Error)

	require.Zero(t, p.verb("update", id, "--remove-rtmp", s.ID).code)
	p.await(id, "the removal", 30*time.Second, func(rec recorder.Recording) bool {
		gone := stream(rec, refused)
		return gone.ID == "" || gone.State == recorder.StreamFinished || gone.State == recorder.StreamFailed
	})
	require.Zero(t, p.verb("update", id, "--add-rtmp", added).code)
	p.await(id, "the added stream", 30*time.Second, func(rec recorder.Recording) bool {
		return stream(rec, added).State == recorder.StreamActive
	})
	// The kernel takes megabytes for a server that does not read; then it shows.
	rec = p.await(id, "the stall", time.Minute, func(rec recorder.Recording) bool {
		return stream(rec, stalled).State == recorder.StreamRetrying
	})
	t.Logf("stalled: %+v", stream(rec, stalled))
	assert.Equal(t, recorder.StreamActive, stream(rec, healthy).State, "the others go on")

	p.awaitElapsed(id, rec.Stats.Elapsed.Std()+2*time.Second)
	require.Zero(t, p.verb("stop", id).code)
	rec = p.awaitEnd(id, time.Minute)
	assert.Equal(t, recorder.StatusComplete, rec.Status)
	assert.Nil(t, rec.Error)
	shown := p.list(id)
	for _, s := range shown.Streams {
		t.Logf("%+v", s)
		assert.Contains(t, s.URL, "...", "the key is not shown")
	}
	assert.Equal(t, recorder.StreamFinished, stream(shown, healthy).State)
	assert.Zero(t, stream(shown, healthy).Retries)
	assert.Equal(t, recorder.StreamFinished, stream(shown, added).State)

	m := probe(t, p.stored(rec.Files[0].Filename))
	m.requireWhole(t, 30)
	whole := requireWholePicture(t, m.path)
	for key, url := range map[string]string{healthyKey: healthy, addedKey: added} {
		length, gaps := requireWholeStream(t, ingest, key, whole)
		assert.InDelta(t, length, stream(shown, url).Duration, float64(500*time.Millisecond), key)
		complaints = append(complaints, gaps...)
	}
	return append(complaints, m.gaps(t, 30)...)
}

// requireWholePicture checks that nothing is missing, twice or from elsewhere.
func requireWholePicture(t *testing.T, path string) sight {
	t.Helper()
	s := look(t, path)
	t.Logf("%s: %d frames, %.2f %% distinct, at most %d page frames apart", path[strings.LastIndex(path, "/")+1:], len(s.frames), 100*s.share(), s.gap)
	assert.Zero(t, s.unreadable)
	assert.Zero(t, s.resets)
	assert.GreaterOrEqual(t, s.share(), drawnAtAll)
	return s
}

// drawnAtAll is the share of pictures that differ on whatever machine. What a busy one does
// not draw cannot be seen; TestBarcode asks for more.
const drawnAtAll = 0.5

// requireWholeStream checks what an ingest recorded, and gives its length and its gaps: one
// publication, of the pictures that are in the file, too.
func requireWholeStream(t *testing.T, ingest *recordertest.RTMP, key string, file sight) (length time.Duration, gaps []string) {
	t.Helper()
	files := ingest.Recorded(key)
	require.Len(t, files, 1, "one publication of %s", key)
	ours, theirs := requireWholePicture(t, files[0]).frames, file.frames
	require.LessOrEqual(t, len(ours), len(theirs))
	at := 0
	for ; at < len(theirs)-len(ours); at++ {
		if slices.EqualFunc(ours, theirs[at:at+len(ours)], sameCounter) {
			break
		}
	}
	require.True(t, slices.EqualFunc(ours, theirs[at:at+len(ours)], sameCounter), "%s has the pictures of the file, each once", key)
	require.LessOrEqual(t, len(theirs)-at-len(ours), 5, "%s to the end", key)
	out := recordertest.Tool(t, "ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=pts", "-of", "csv=p=0", files[0])
	var first, before int
	for i, line := range strings.Fields(out) {
		ms, err := strconv.Atoi(strings.Trim(line, ","))
		require.NoError(t, err)
		if i > 0 {
			require.Greater(t, ms, before, "before packet %d of %s", i, key)
			// FLV counts milliseconds.
			if ms-before != 33 && ms-before != 34 {
				gaps = append(gaps, fmt.Sprintf("%d ms before packet %d of %s", ms-before, i, key))
			}
		}
		if i == 0 {
			first = ms
		}
		before = ms
	}
	m := probePartial(t, files[0])
	assert.ElementsMatch(t, []string{"h264", "aac"}, m.codecs())
	return time.Duration(before-first)*time.Millisecond + time.Second/30, gaps
}

func sameCounter(a, b recordertest.Frame) bool { return a.Counter == b.Counter }
