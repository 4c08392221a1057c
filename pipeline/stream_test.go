package pipeline_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/pipeline"
	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

func streamTo(url string) recorder.Output {
	return recorder.Output{ID: recorder.StreamID(url), Kind: recorder.KindStream, URL: url}
}

func (k *take) stream(url string) recorder.StreamResult {
	id := recorder.StreamID(url)
	for _, s := range k.Snapshot().Streams {
		if s.ID == id {
			return s
		}
	}
	k.t.Fatalf("no stream %s", id)
	return recorder.StreamResult{}
}

func (k *take) untilStream(url string, what string, ok func(recorder.StreamResult) bool) {
	k.t.Helper()
	require.Eventually(k.t, func() bool { return ok(k.stream(url)) }, 30*time.Second, 20*time.Millisecond, what)
}

func (k *take) untilState(url string, state recorder.StreamState) {
	k.t.Helper()
	k.untilStream(url, string(state), func(s recorder.StreamResult) bool { return s.State == state })
}

// hasty makes faults show within a test's patience.
func hasty() pipeline.StreamTiming {
	return pipeline.StreamTiming{
		Connect: 2 * time.Second, Stall: 1500 * time.Millisecond, BackoffMin: 200 * time.Millisecond, BackoffMax: 2 * time.Second,
	}
}

// ingested gives the files of a stream key when the server has closed them, which it does
// when it comes to what ended the stream.
func ingested(t testing.TB, server *recordertest.RTMP, key string) []string {
	t.Helper()
	recordertest.AwaitNone(t, 20*time.Second, func() (open []string) {
		held := map[string]bool{}
		links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
		for _, link := range links {
			if to, err := os.Readlink(link); err == nil {
				held[to] = true
			}
		}
		for _, file := range server.Recorded(key) {
			if held[file] {
				open = append(open, file)
			}
		}
		return open
	})
	return server.Recorded(key)
}

// One encode feeds a file and four URLs; what three of them do shows in neither
// the file nor the healthy one.
func TestStreamsAreIsolated(t *testing.T) {
	r := newNoisyRig(t)
	r.judged(func() { r.requireIsolated(t) })
}

func (r *rig) requireIsolated(t *testing.T) {
	server, hanging := recordertest.StartRTMP(t), recordertest.NewHangingListener(t)
	proxy := recordertest.NewStallingProxy(t, server.Addr)
	healthy, stalling := server.URL("healthy"), proxy.URL(server.URL("stalling"))
	refused, mute := "rtmp://127.0.0.1:1/live/s3cr3t-stream-key", hanging.URL("mute")
	file := r.file("a.mp4")
	spec := r.spec(file, streamTo(healthy), streamTo(stalling), streamTo(refused), streamTo(mute))
	spec.Options.VideoBitrate = 8000
	k := record(t, spec, pipeline.Options{Stream: hasty()})
	k.begin()
	k.untilState(stalling, recorder.StreamActive)
	k.until(2 * time.Second)
	proxy.Stall()
	k.untilStream(stalling, "the stall is noticed", func(s recorder.StreamResult) bool { return s.Retries > 0 })
	require.Contains(t, k.stream(stalling).Error, "stalled")
	k.untilStream(refused, "refusals are retried", func(s recorder.StreamResult) bool { return s.Retries >= 3 })
	k.untilStream(mute, "silence is noticed", func(s recorder.StreamResult) bool { return s.Retries >= 1 })
	require.NotEqual(t, recorder.StreamActive, k.stream(mute).State)
	require.NotEqual(t, recorder.StreamActive, k.stream(refused).State)
	require.NotZero(t, k.stream(refused).LastRetryAt)
	require.NotContains(t, k.stream(refused).Error+k.stream(refused).URL, "s3cr3t-stream-key")
	require.NoError(t, k.end())
	require.Equal(t, recorder.StreamFinished, k.stream(stalling).State)
	require.NotEmpty(t, k.stream(refused).Error, "why it never ran")
	require.Equal(t, recorder.StreamFailed, k.stream(refused).State)
	r.requireUntouched(k, file.Path, healthy, ingested(t, server, "healthy"))
}

// requireUntouched checks that a file and a stream have every picture.
func (r *rig) requireUntouched(k *take, file, url string, ingested []string) {
	m := probe(r.t, file)
	m.requireEven(30, time.Microsecond)
	assert.LessOrEqual(&r.late, k.Snapshot().Stats.Dropped, int64(hiccup))
	s := k.stream(url)
	require.Equal(r.t, recorder.StreamFinished, s.State)
	require.NotZero(r.t, s.Bytes)
	require.NotEmpty(r.t, ingested)
	live := probe(r.t, ingested[0])
	require.Equal(r.t, []string{"h264", "aac"}, live.codecs())
	live.requireEven(30, time.Millisecond)
	assert.Zero(&r.late, s.Dropped+int64(s.Retries))
	if assert.Len(&r.late, ingested, 1, "one publication without a break") {
		assert.InDelta(&r.late, len(m.times()), len(live.times()), 2, "from the first frame to the last")
	}
	assert.InDelta(&r.late, m.duration(), s.Duration, float64(100*time.Millisecond))
}

func TestStreamComesBack(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	server := recordertest.StartRTMP(t)
	url := server.URL("again?token=a%20b")
	k := record(t, r.spec(streamTo(url)), pipeline.Options{Stream: hasty()})
	k.begin()
	k.untilState(url, recorder.StreamActive)
	k.until(2 * time.Second)
	server.Kill()
	k.untilState(url, recorder.StreamRetrying)
	require.NotEmpty(t, k.stream(url).Error)
	server.Restart()
	k.untilState(url, recorder.StreamActive)
	require.Empty(t, k.stream(url).Error)
	at := k.Snapshot().Stats.Elapsed.Std()
	k.until(at + 2*time.Second)
	require.NoError(t, k.end())
	s := k.stream(url)
	require.Equal(t, recorder.StreamFinished, s.State)
	require.Positive(t, s.Retries)
	require.Positive(t, s.Dropped)
	lives := ingested(t, server, "again")
	require.Len(t, lives, 2)
	m := probe(t, lives[1])
	m.requireEven(30, time.Millisecond)
	require.Less(t, m.times()[0], 100*time.Millisecond, "every life begins at zero, with a key frame")
	require.GreaterOrEqual(t, m.duration(), 1500*time.Millisecond)
}

func TestAddAndRemoveStreams(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	server := recordertest.StartRTMP(t)
	file, first, second := r.file("a.webm"), server.URL("first"), server.URL("second")
	spec := r.spec(file)
	spec.Options.KeyFrameInterval = 30 // none comes by itself
	k := record(t, spec, pipeline.Options{Stream: hasty()})
	k.begin()
	k.until(1 * time.Second)
	require.NoError(t, k.Add(t.Context(), streamTo(first)))
	require.ErrorIs(t, k.Add(t.Context(), streamTo(first)), recorder.ErrConflict)
	require.ErrorIs(t, k.Remove(t.Context(), "st_unknown"), recorder.ErrNotFound)
	require.Equal(t, recorder.CodeInvalid, recorder.CodeOf(k.Add(t.Context(), r.file("late.mp4"))))
	k.untilState(first, recorder.StreamActive)
	at := k.Snapshot().Stats.Elapsed.Std()
	require.NoError(t, k.Add(t.Context(), streamTo(second)))
	k.untilState(second, recorder.StreamActive)
	require.Less(t, k.Snapshot().Stats.Elapsed.Std()-at, 10*time.Second, "a key frame was asked for")
	k.until(at + 2*time.Second)
	require.NoError(t, k.Remove(t.Context(), recorder.StreamID(first)))
	require.Equal(t, recorder.StreamFinished, k.stream(first).State)
	require.NoError(t, k.Remove(t.Context(), recorder.StreamID(first)), "again does no harm")
	at = k.Snapshot().Stats.Elapsed.Std()
	k.until(at + time.Second)
	require.NoError(t, k.Add(t.Context(), streamTo(first)), "a removed stream may come back")
	k.untilState(first, recorder.StreamActive)
	require.NoError(t, k.end())
	require.ErrorIs(t, k.Add(t.Context(), streamTo(server.URL("late"))), recorder.ErrConflict)
	require.Len(t, ingested(t, server, "second"), 1)
	probe(t, ingested(t, server, "second")[0]).requireEven(30, time.Millisecond)
	probe(t, ingested(t, server, "first")[0]).requireEven(30, time.Millisecond)
	probe(t, file.Path).requireEven(30, time.Millisecond)
}

func TestStreamIsGivenUp(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	out := streamTo("rtmp://127.0.0.1:1/live/key")
	out.GiveUp = time.Second
	// The other one is taken each time, and hung up on.
	proxy := recordertest.NewStallingProxy(t, recordertest.StartRTMP(t).Addr)
	fickle := streamTo(proxy.URL("rtmp://h/live/key"))
	fickle.GiveUp = time.Second
	k := record(t, r.spec(out, fickle), pipeline.Options{Stream: hasty()})
	k.begin()
	k.untilStream(fickle.URL, "given up", func(s recorder.StreamResult) bool {
		if s.State == recorder.StreamActive {
			proxy.Refuse()
			proxy.Accept()
		}
		return s.State == recorder.StreamFailed
	})
	require.NotZero(t, k.stream(fickle.URL).StartedAt, "it was up")
	k.untilState(out.URL, recorder.StreamFailed)
	require.NotEmpty(t, k.stream(out.URL).Error)
	require.NoError(t, k.end(), "a stream's failure is not the recording's")
	require.Equal(t, recorder.StreamFailed, k.stream(out.URL).State)
}

func TestHurry(t *testing.T) {
	t.Parallel()
	r := newNoisyRig(t)
	server := recordertest.StartRTMP(t)
	proxy := recordertest.NewStallingProxy(t, server.Addr)
	file, url := r.file("a.mp4"), proxy.URL(server.URL("slow"))
	spec := r.spec(file, streamTo(url))
	spec.Options.VideoBitrate = 8000
	k := record(t, spec, pipeline.Options{Stream: pipeline.StreamTiming{Flush: time.Minute}})
	k.begin()
	k.untilState(url, recorder.StreamActive)
	proxy.Stall()
	k.until(5 * time.Second)
	k.stop()
	k.Hurry()
	k.Hurry()
	began := time.Now()
	require.NoError(t, k.wait())
	require.Less(t, time.Since(began), 15*time.Second, "no flush of a minute")
	probe(t, file.Path)
}

func TestAudioOnlyStream(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	server := recordertest.StartRTMP(t)
	url := server.URL("sound")
	spec := r.spec(streamTo(url))
	spec.AudioOnly = true
	k := record(t, spec, pipeline.Options{})
	k.begin()
	k.untilState(url, recorder.StreamActive)
	k.until(2 * time.Second)
	require.NoError(t, k.end())
	require.Equal(t, []string{"aac"}, probe(t, ingested(t, server, "sound")[0]).codecs())
}

// Threads of C code are not ours to count, but every goroutine that a
// recording starts must end with it.
func TestNoGoroutineIsLeft(t *testing.T) {
	r := newRig(t)
	server, hanging := recordertest.StartRTMP(t), recordertest.NewHangingListener(t)
	before, _ := ours() // a test that hung a display leaves a thread parked in Xlib
	k := record(t, r.spec(r.file("a.mp4"), streamTo(server.URL("a")), streamTo(hanging.URL("b"))), pipeline.Options{Stream: hasty()})
	k.begin()
	k.untilState(server.URL("a"), recorder.StreamActive)
	require.NoError(t, k.end())
	require.Eventually(t, func() bool { n, _ := ours(); return n <= before }, 10*time.Second, 50*time.Millisecond)
	if n, stacks := ours(); n > before {
		t.Fatal(stacks)
	}
}

// ours counts frames of the package in all goroutines' stacks.
func ours() (int, string) {
	buf := make([]byte, 4<<20)
	stacks := string(buf[:runtime.Stack(buf, true)])
	return strings.Count(stacks, "tapedeck/pipeline."), stacks
}
