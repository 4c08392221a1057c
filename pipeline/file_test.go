package pipeline_test

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/pipeline"
	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

const aFrame = time.Second / 30

func TestMP4(t *testing.T) {
	c := newClockWith(t, "wave=sine freq=440 volume=0.25")
	c.judged(func() {
		out := c.file("a.mp4")
		k := record(t, c.spec(out), pipeline.Options{})
		k.hear()
		shownAtBegin := c.drawn.Load()
		k.begin()
		k.until(3500 * time.Millisecond)
		require.NoError(t, k.end())
		c.requireShown(k, out.Path, shownAtBegin)
		requireOrdinaryMP4(t, out.Path)
		requireAccount(t, k, out.Path)
	})
}

// requireShown checks that a recording shows what was drawn since the first time of the clock,
// and sounds.
func (c *clock) requireShown(k *take, path string, from int64) {
	c.t.Helper()
	m := probe(c.t, path)
	m.requireEven(30, time.Microsecond)
	shown := recordertest.ReadBarcodes(c.t, path)
	first, last := int64(shown[0].Counter), int64(shown[len(shown)-1].Counter)
	due, gap := c.due(from, last)
	require.GreaterOrEqual(c.t, first, from)
	assert.LessOrEqual(&c.late, first-from, 100+gap, "the first picture after Begin")
	missed := int(k.Snapshot().Stats.Repeated + k.Snapshot().Stats.Dropped)
	assert.GreaterOrEqual(&c.late, changes(m.pictures()), (due-missed)*85/100, "what is drawn is seen")
	assert.InDelta(&c.late, -15, m.loudness(time.Second, 2*time.Second), 1, "a sine of amplitude 0.25")
}

func requireOrdinaryMP4(t *testing.T, path string) {
	t.Helper()
	m := probe(t, path)
	require.Equal(t, []string{"h264", "aac"}, m.codecs())
	video, audio := m.Streams[0], m.Streams[1]
	require.Equal(t, "High", video.Profile)
	require.Equal(t, 0, video.BFrames)
	require.Equal(t, "bt709", video.ColorSpace)
	require.Equal(t, [2]int{rigWidth, rigHeight}, [2]int{video.Width, video.Height})
	require.Equal(t, "LC", audio.Profile)
	require.Equal(t, "48000", audio.SampleRate)
	require.Zero(t, recordertest.Seconds(t, video.StartTime))
	require.Zero(t, recordertest.Seconds(t, audio.StartTime))
	require.InDelta(t, recordertest.Seconds(t, video.Duration), recordertest.Seconds(t, audio.Duration), float64(aFrame))
	boxes := recordertest.Tool(t, "ffprobe", "-v", "trace", "-show_entries", "format=", path)
	require.NotContains(t, boxes, "'moof'", "an ordinary MP4, not a fragmented one")
	recordertest.Tool(t, "ffmpeg", "-nostdin", "-v", "error", "-ss", "3", "-i", path, "-frames:v", "1", "-f", "null", "-")
}

// requireAccount checks what a snapshot says of the one file of a recording.
func requireAccount(t *testing.T, k *take, path string) {
	t.Helper()
	m, s := probeLoosely(t, path), k.Snapshot()
	require.Equal(t, int64(len(m.times())), s.Stats.Frames)
	require.Len(t, s.Files, 1)
	require.True(t, s.Files[0].Final)
	require.Equal(t, []string{"h264", "aac"}, s.Files[0].Codecs)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, info.Size(), s.Files[0].Bytes)
	require.InDelta(t, m.duration(), s.Files[0].Duration, float64(aFrame))
}

// Several files of one recording, in all containers.
func TestContainers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	type file struct {
		name     string
		codecs   []string
		rounding time.Duration
	}
	sound := []file{{"sound.mp4", []string{"aac"}, 0}, {"sound.ogg", []string{"opus"}, 0}, {"sound.mp3", []string{"mp3"}, 0}}
	picture := []file{{"picture.mp4", []string{"h264"}, time.Microsecond}, {"picture.webm", []string{"vp8"}, time.Millisecond}}
	both := []file{
		{"both.mp4", []string{"h264", "aac"}, time.Microsecond},
		{"both.webm", []string{"vp8", "opus"}, time.Millisecond},
		{"both.ogg", []string{"opus"}, 0},
	}
	for name, files := range map[string][]file{"sound": sound, "picture": picture, "both": both} {
		t.Run(name, func(t *testing.T) {
			spec := r.spec()
			for _, f := range files {
				spec.Outputs = append(spec.Outputs, r.file(f.name))
			}
			spec.AudioOnly, spec.VideoOnly = name == "sound", name == "picture"
			k := record(t, spec, pipeline.Options{})
			if !spec.VideoOnly {
				k.hear()
			}
			k.begin()
			k.until(2 * time.Second)
			require.NoError(t, k.end())
			for i, f := range files {
				m := probe(t, spec.Outputs[i].Path)
				require.Equal(t, f.codecs, m.codecs())
				require.InDelta(t, k.Snapshot().Files[i].Duration, m.duration(), float64(50*time.Millisecond))
				require.GreaterOrEqual(t, m.duration(), 2*time.Second-aFrame)
				if f.rounding > 0 {
					m.requireEven(30, f.rounding)
				}
				if !spec.VideoOnly {
					require.InDelta(t, -15, m.loudness(500*time.Millisecond, time.Second), 1)
				}
			}
		})
	}
}

func TestNothingIsWrittenBeforeBegin(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	out := r.file("a.mp4")
	k := record(t, r.spec(out), pipeline.Options{})
	k.hear()
	require.NoFileExists(t, out.Path)
	require.NoError(t, k.end())
	require.NoFileExists(t, out.Path)
	require.Equal(t, recorder.CodeAborted, recorder.CodeOf(k.Begin(t.Context())))
}

func TestHold(t *testing.T) {
	r := newRig(t)
	r.judged(func() {
		out := r.file("a.mp4")
		k := record(t, r.spec(out), pipeline.Options{})
		k.hear()
		k.begin()
		k.until(1 * time.Second)
		k.Hold(true)
		from := k.Snapshot().Stats.Elapsed.Std()
		k.until(from + 2*time.Second)
		held := k.Snapshot().Stats.Elapsed.Std() - from
		k.Hold(false)
		k.until(from + 2500*time.Millisecond)
		require.NoError(t, k.end())
		m := probe(t, out.Path)
		m.requireEven(30, time.Microsecond)
		assert.Greater(&r.late, m.loudness(1500*time.Millisecond, time.Second), -20.0, "sound goes on")
		s := k.Snapshot().Stats
		assert.InDelta(&r.late, held/aFrame, s.Repeated, 6)
		assert.LessOrEqual(&r.late, s.Dropped, int64(hiccup))
	})
}

// hiccup is how many pictures a machine's own hiccups, and the steering of capture
// after Chrome's paints, may cost a test that is not about them: whatever holds
// capture up costs dozens.
const hiccup = 5

func TestRefusedOutputs(t *testing.T) {
	r := &rig{t: t, dir: t.TempDir()}
	for _, o := range []recorder.Output{
		{ID: "a", Kind: recorder.KindFile, Path: "x.avi"},
		{ID: "a", Kind: "segments"},
		{ID: "a", Kind: recorder.KindSegments, Dir: "x", Segments: recorder.SegmentOutput{FilenamePrefix: "a"}},
		{ID: "a", Kind: recorder.KindImages, Dir: "x", Images: recorder.ImageOutput{FilenamePrefix: "a"}},
		{ID: "a", Kind: recorder.KindStream, URL: "srt://host"},
		{ID: "a", Kind: "nonsense"},
	} {
		_, err := pipeline.New(r.spec(o), pipeline.Options{})
		require.Equal(t, recorder.CodeInvalid, recorder.CodeOf(err), "%v", err)
	}
	require.Empty(t, pipeline.Missing())
}
