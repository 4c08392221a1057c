package pipeline_test

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/pipeline"
	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

const aFrame = time.Second / 30

func TestMP4(t *testing.T) {
	c := newClockWith(t, "wave=sine freq=440 volume=0.25")
	out := c.file("a.mp4")
	k := record(t, c.spec(out), pipeline.Options{})
	require.Eventually(t, func() bool { return k.Snapshot().Stats.AudioPeak > -20 }, 20*time.Second, 10*time.Millisecond)
	shownAtBegin := c.drawn.Load()
	k.begin()
	k.until(4 * time.Second)
	require.NoError(t, k.end())

	m := probe(t, out.Path)
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
	m.requireEven(30, time.Microsecond)
	shown := recordertest.ReadBarcodes(t, out.Path)
	first, last := int64(shown[0].Counter), int64(shown[len(shown)-1].Counter)
	due, gap := c.due(shownAtBegin, last)
	require.GreaterOrEqual(t, first, shownAtBegin)
	require.LessOrEqual(t, first-shownAtBegin, 100+gap, "the first picture after Begin")
	missed := int(k.Snapshot().Stats.Repeated + k.Snapshot().Stats.Dropped)
	pictures := m.pictures()
	require.GreaterOrEqual(t, changes(pictures), (due-missed)*85/100, "what is drawn is seen")
	require.InDelta(t, -15, m.loudness(time.Second, 2*time.Second), 1, "a sine of amplitude 0.25")

	boxes := recordertest.Tool(t, "ffprobe", "-v", "trace", "-show_entries", "format=", out.Path)
	require.NotContains(t, boxes, "'moof'", "an ordinary MP4, not a fragmented one")
	recordertest.Tool(t, "ffmpeg", "-nostdin", "-v", "error", "-ss", "3", "-i", out.Path, "-frames:v", "1", "-f", "null", "-")

	s := k.Snapshot()
	require.Equal(t, int64(len(pictures)), s.Stats.Frames)
	require.Len(t, s.Files, 1)
	require.True(t, s.Files[0].Final)
	require.Equal(t, []string{"h264", "aac"}, s.Files[0].Codecs)
	info, err := os.Stat(out.Path)
	require.NoError(t, err)
	require.Equal(t, info.Size(), s.Files[0].Bytes)
	require.InDelta(t, m.duration(), s.Files[0].Duration, float64(aFrame))
}

func TestContainers(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		name     string
		audio    bool
		video    bool
		codecs   []string
		rounding time.Duration
	}{
		{"sound.mp4", true, false, []string{"aac"}, 0},
		{"sound.ogg", true, false, []string{"opus"}, 0},
		{"sound.mp3", true, false, []string{"mp3"}, 0},
		{"picture.mp4", false, true, []string{"h264"}, time.Microsecond},
		{"both.webm", true, true, []string{"vp8", "opus"}, time.Millisecond},
		{"picture.webm", false, true, []string{"vp8"}, time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := r.file(c.name)
			spec := r.spec(out)
			spec.AudioOnly, spec.VideoOnly = !c.video, !c.audio
			k := record(t, spec, pipeline.Options{})
			k.begin()
			k.until(2 * time.Second)
			require.NoError(t, k.end())
			m := probe(t, out.Path)
			require.Equal(t, c.codecs, m.codecs())
			require.InDelta(t, k.Snapshot().Files[0].Duration, m.duration(), float64(50*time.Millisecond))
			require.GreaterOrEqual(t, m.duration(), 2*time.Second-aFrame)
			if c.video {
				m.requireEven(30, c.rounding)
			}
			if c.audio {
				require.InDelta(t, -15, m.loudness(500*time.Millisecond, time.Second), 1)
			}
		})
	}
}

func TestSeveralFilesAtOnce(t *testing.T) {
	r := newRig(t)
	mp4, webm, ogg := r.file("a.mp4"), r.file("a.webm"), r.file("a.ogg")
	k := record(t, r.spec(mp4, webm, ogg), pipeline.Options{})
	k.begin()
	k.until(2 * time.Second)
	require.NoError(t, k.end())
	require.Equal(t, []string{"h264", "aac"}, probe(t, mp4.Path).codecs())
	require.Equal(t, []string{"vp8", "opus"}, probe(t, webm.Path).codecs())
	require.Equal(t, []string{"opus"}, probe(t, ogg.Path).codecs())
}

func TestNothingIsWrittenBeforeBegin(t *testing.T) {
	r := newRig(t)
	out := r.file("a.mp4")
	k := record(t, r.spec(out), pipeline.Options{})
	require.Eventually(t, func() bool { return k.Snapshot().Stats.AudioPeak > -20 }, 20*time.Second, 10*time.Millisecond)
	require.NoFileExists(t, out.Path)
	require.NoError(t, k.end())
	require.NoFileExists(t, out.Path)
	require.Equal(t, recorder.CodeAborted, recorder.CodeOf(k.Begin(t.Context())))
}

func TestHold(t *testing.T) {
	r := newRig(t)
	out := r.file("a.mp4")
	k := record(t, r.spec(out), pipeline.Options{})
	k.begin()
	k.until(1 * time.Second)
	k.Hold(true)
	k.until(3 * time.Second)
	k.Hold(false)
	k.until(4 * time.Second)
	require.NoError(t, k.end())
	m := probe(t, out.Path)
	m.requireEven(30, time.Microsecond)
	require.Greater(t, m.loudness(1500*time.Millisecond, time.Second), -20.0, "sound goes on")
	s := k.Snapshot().Stats
	require.InDelta(t, 60, s.Repeated, 6)
	require.LessOrEqual(t, s.Dropped, int64(hiccup))
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
