package pipeline_test

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/pipeline"
	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// pass waits for so many ms of the clock and gives what it shows.
func (c *clock) pass(ms int64) int64 {
	c.t.Helper()
	until := c.drawn.Load() + ms
	require.Eventually(c.t, func() bool { return c.drawn.Load() >= until }, 30*time.Second, 5*time.Millisecond)
	return c.drawn.Load()
}

// pause pauses for a while in which a tone of 3 kHz is heard, and gives from when on
// to what the clock showed. meanwhile is called in the middle.
func (c *clock) pause(k *take, ms int64, meanwhile func()) [2]int64 {
	c.t.Helper()
	k.Pause(true)
	from := time.Since(c.began).Milliseconds()
	c.pass(150)
	tone := c.player("audiotestsrc is-live=true freq=3000 volume=0.5 ! audio/x-raw,rate=48000,channels=2 ! pulsesink server=%s", c.inputs.PulseServer)
	meanwhile()
	c.pass(ms)
	tone.kill()
	c.pass(300) // what the sound server still has
	to := c.drawn.Load()
	k.Pause(false)
	return [2]int64{from, to}
}

// requireCutOut checks that nothing of the pauses is in a recording and that everything
// else is, in its place. It gives the pictures' numbers.
func (c *clock) requireCutOut(path string, pauses ...[2]int64) []int64 {
	c.t.Helper()
	shown := []int64{}
	jumps := 0
	for i, f := range recordertest.ReadBarcodes(c.t, path) {
		require.NotEqual(c.t, -1, f.Counter, "picture %d of %s is no slate", i, path)
		at := int64(f.Counter)
		for _, p := range pauses {
			require.False(c.t, at > p[0] && at < p[1], "picture %d of %s was drawn at %d ms: %v was a pause", i, path, at, p)
		}
		if i > 0 {
			jump := at - shown[i-1]
			require.GreaterOrEqual(c.t, jump, int64(0), "picture %d of %s", i, path)
			if jump > 500 {
				jumps++
			}
		}
		shown = append(shown, at)
	}
	assert.Equal(&c.late, len(pauses), jumps, "pauses in %s", path)
	assert.Less(&c.late, c.peak(path, 3000), -25.0, "what sounded in the pauses is not heard")
	assert.Greater(&c.late, c.peak(path, 1000), -10.0, "beeps are")
	return shown
}

// peak gives the level of a frequency, dB.
func (c *clock) peak(path string, hertz int) float64 {
	c.t.Helper()
	f := strconv.Itoa(hertz)
	out := recordertest.Tool(c.t, "ffmpeg", "-nostdin", "-i", path, "-vn", "-af",
		"bandpass=f="+f+":t=q:w=20,bandpass=f="+f+":t=q:w=20,volumedetect", "-f", "null", "-")
	_, rest, ok := strings.Cut(out, "max_volume: ")
	require.True(c.t, ok, out)
	db, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	require.NoError(c.t, err)
	return db
}

// beeps gives what the clock showed when beeps sounded, ms: not those that a cut or a
// slate is close to.
func (c *clock) beeps(path string) (found []int64) {
	c.t.Helper()
	frames := recordertest.ReadBarcodes(c.t, path)
	for _, b := range recordertest.BeepOnsets(c.t, path) {
		n := int((b - frames[0].PTS) * 30 / time.Second)
		if n < 2 || n+2 >= len(frames) || frames[n-2].Counter < 0 || frames[n+2].Counter < 0 || frames[n+2].Counter-frames[n-2].Counter > 500 {
			continue
		}
		found = append(found, int64(frames[n].Counter)+(b-frames[n].PTS).Milliseconds())
	}
	return found
}

// requireTogether checks that sound is where it is in a stream of the same capture, before,
// between and after the pauses.
func (c *clock) requireTogether(path, stream string, pauses ...[2]int64) {
	c.t.Helper()
	kept, live := c.beeps(path), c.beeps(stream)
	c.t.Logf("beeps at %v, in the stream at %v", kept, live)
	checked := map[int]bool{}
	for _, at := range kept {
		i := slices.IndexFunc(live, func(l int64) bool { return l > at-300 && l < at+300 })
		if i >= 0 {
			assert.InDelta(&c.late, live[i], at, 40)
			after := 0
			for _, p := range pauses {
				if at >= p[1] {
					after++
				}
			}
			checked[after] = true
		}
	}
	assert.Len(&c.late, checked, len(pauses)+1)
}

// Two pauses of a recording with every kind of output: what is kept has no gap and
// nothing of them; streams show the slate in silence.
func TestPause(t *testing.T) {
	c := newClock(t)
	c.judged(func() { c.requirePauses(t) })
}

func (c *clock) requirePauses(t *testing.T) {
	server := recordertest.StartRTMP(t)
	mp4, url, late := c.file("a.mp4"), server.URL("key"), server.URL("late")
	hls := c.segments("hls", time.Second, recorder.SegmentOutput{FilenamePrefix: "seg", PlaylistName: "list"})
	images := c.images("pictures", recorder.ImageOutput{FilenamePrefix: "shot"})
	k := record(t, c.spec(mp4, hls, images, streamTo(url)), pipeline.Options{Stream: hasty()})
	k.hear()
	k.begin()
	k.untilState(url, recorder.StreamActive)
	k.until(1500 * time.Millisecond)
	first := c.pause(k, 1000, func() {})
	k.until(3500 * time.Millisecond)
	second := c.pause(k, 1000, func() {
		before := k.Snapshot().Stats.Elapsed
		require.NoError(t, k.Add(t.Context(), streamTo(late)))
		k.untilState(late, recorder.StreamActive)
		require.Equal(t, before, k.Snapshot().Stats.Elapsed, "nothing is recorded")
	})
	k.until(5500 * time.Millisecond)
	require.NoError(t, k.end())

	m := probe(t, mp4.Path)
	m.requireEven(30, time.Microsecond)
	c.requireCutOut(mp4.Path, first, second)
	require.InDelta(t, m.duration(), k.Snapshot().Files[0].Duration, float64(aFrame))
	require.InDelta(t, recordertest.Seconds(t, m.Streams[0].Duration), recordertest.Seconds(t, m.Streams[1].Duration), float64(aFrame))
	requireEvenSound(t, mp4.Path)
	require.EqualValues(t, len(m.times()), k.Snapshot().Stats.Frames)
	assert.InDelta(&c.late, 6, k.Snapshot().Series[1].Files, 1, "a picture a second of what is kept")
	c.requireSegmentsCut(t, listOf(hls), first, second)
	c.requireSlates(server, "key", 2, first[1]-first[0]+second[1]-second[0])
	c.requireSlates(server, "late", 0, 0) // it begins with slates
	c.requireTogether(mp4.Path, ingested(t, server, "key")[0], first, second)
}

// requireSegmentsCut checks that a playlist has a segment's end at each pause, and the
// time that passed.
func (c *clock) requireSegmentsCut(t *testing.T, path string, pauses ...[2]int64) {
	t.Helper()
	list := readJumpingList(t, path)
	whole := c.concatenate(path, list)
	probe(t, whole).requireEven(30, 12*time.Microsecond)
	c.requireCutOut(whole, pauses...)
	requireEvenSound(t, whole)
	var jumps []time.Duration
	for i, s := range list.Segments[1:] {
		before := list.Segments[i]
		if jump := s.At.Sub(before.At) - before.Duration; jump > 2*time.Millisecond {
			jumps = append(jumps, jump)
		}
	}
	require.Len(t, jumps, len(pauses), "the wall clock goes on in pauses, and a segment ends there")
	for i, p := range pauses {
		assert.InDelta(&c.late, p[1]-p[0], jumps[i].Milliseconds(), 200)
	}
}

// readJumpingList reads a playlist in which there are pauses: what the wall clock is,
// the segments before do not tell.
func readJumpingList(t *testing.T, path string) (p recordertest.Playlist) {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var s recordertest.PlaylistSegment
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		tag, value, _ := strings.Cut(line, ":")
		switch {
		case tag == "#EXT-X-PROGRAM-DATE-TIME":
			s.At, err = time.Parse(time.RFC3339, value)
			require.NoError(t, err)
		case tag == "#EXTINF":
			s.Duration = recordertest.Seconds(t, strings.Trim(value, ","))
		case !strings.HasPrefix(line, "#"):
			s.Name = line
			p.Segments = append(p.Segments, s)
		}
	}
	return p
}

// requireSlates checks that a stream had no gap, and after it began the slate and silence
// in so many pauses, of so many ms together if that is known.
func (c *clock) requireSlates(server *recordertest.RTMP, key string, pauses int, ms int64) {
	c.t.Helper()
	found := ingested(c.t, server, key)
	require.Len(c.t, found, 1)
	m := probe(c.t, found[0])
	m.requireEven(30, time.Millisecond)
	assert.Less(&c.late, c.peak(found[0], 3000), -25.0, "what sounded in the pauses is not heard")
	slates, spans, before := int64(0), 0, true
	for _, f := range recordertest.ReadBarcodes(c.t, found[0]) {
		slate := f.Counter < 0
		if slate {
			slates++
		}
		if slate && !before {
			spans++
		}
		before = slate
	}
	require.Greater(c.t, slates, int64(20))
	require.Equal(c.t, pauses, spans, "%s", key)
	if ms > 0 {
		assert.InDelta(&c.late, ms*30/1000, slates, 8, "slates of %s", key)
	}
}

// Without streams nothing is encoded in a pause. A recording may begin in one and end in
// one, and what is asked for twice is done once.
func TestPauseOfFilesAlone(t *testing.T) {
	c := newClock(t)
	c.judged(func() { c.requirePausedFiles(t) })
}

func (c *clock) requirePausedFiles(t *testing.T) {
	mp4, webm := c.file("a.mp4"), c.file("a.webm")
	k := record(t, c.spec(mp4, webm), pipeline.Options{})
	k.hear()
	k.Pause(false)
	k.Pause(true)
	k.begin()
	c.pass(500)
	require.Zero(t, k.Snapshot().Stats.Elapsed)
	begin := c.drawn.Load()
	k.Pause(false)
	k.until(time.Second)
	pause := c.pause(k, 500, func() {
		k.Pause(true)
		k.Hold(true)
		k.Hold(false)
	})
	k.Pause(false)
	k.until(2 * time.Second)
	k.Pause(true)
	end := time.Since(c.began).Milliseconds()
	c.pass(700)
	asked := time.Now()
	require.NoError(t, k.end())
	assert.Less(&c.late, time.Since(asked), 5*time.Second)

	m := probe(t, mp4.Path)
	m.requireEven(30, time.Microsecond)
	requireEvenSound(t, mp4.Path)
	require.InDelta(t, recordertest.Seconds(t, m.Streams[0].Duration), recordertest.Seconds(t, m.Streams[1].Duration), float64(aFrame))
	shown := c.requireCutOut(mp4.Path, pause)
	require.GreaterOrEqual(t, shown[0], begin)
	require.LessOrEqual(t, shown[len(shown)-1], end)
	s := k.Snapshot()
	require.EqualValues(t, len(shown), s.Stats.Frames)
	assert.InDelta(&c.late, shown[0], s.Files[0].StartedAt.Sub(c.began).Milliseconds(), 100, "the first picture's time")
	require.InDelta(t, m.duration(), s.Stats.Elapsed.Std(), float64(aFrame))
	probe(t, webm.Path).requireEven(30, time.Millisecond)
	require.Len(t, c.requireCutOut(webm.Path, pause), len(shown))
}
