package pipeline_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/pipeline"
	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// segments gives an HLS output into a directory of its own, in segments of so long.
func (r *rig) segments(id string, aim time.Duration, o recorder.SegmentOutput) recorder.Output {
	o.SegmentDuration = recorder.Duration(aim)
	o = recorder.ResolveSegments(recorder.Job{ID: id}, o, time.Now(), 1)
	return recorder.Output{ID: id, Kind: recorder.KindSegments, Dir: filepath.Join(r.dir, id), Segments: o}
}

func listOf(o recorder.Output) string { return filepath.Join(o.Dir, o.Segments.PlaylistName) }

func TestSegments(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	server := recordertest.StartRTMP(t)
	hls := r.segments("hls", time.Second, recorder.SegmentOutput{FilenamePrefix: "a b/ts/seg#1", PlaylistName: "a b/list", LivePlaylistName: "live"})
	file, url := r.file("a.mp4"), server.URL("key")
	spec := r.spec(hls, file)
	spec.Options.KeyFrameInterval = 7
	k := record(t, spec, pipeline.Options{Stream: hasty()})
	began := time.Now()
	k.begin()
	ended := time.Now()
	k.until(1300 * time.Millisecond)
	// A stream asks for a key frame off the rhythm.
	require.NoError(t, k.Add(t.Context(), streamTo(url)))
	list := listOf(hls)
	require.Eventually(t, func() bool { _, err := os.Stat(list); return err == nil }, 5*time.Second, 10*time.Millisecond, "listed while it is recorded")
	require.False(t, recordertest.ReadPlaylist(t, list).Ended)
	k.until(6200 * time.Millisecond)
	require.NoError(t, k.end())

	p := recordertest.ReadSegments(t, list)
	require.True(t, p.Ended && p.Independent)
	require.Equal(t, "EVENT", p.Type)
	require.Equal(t, time.Second, p.Target)
	require.Equal(t, "ts/seg#1_00000.ts", p.Segments[0].Name)
	for i, s := range p.Segments[:len(p.Segments)-1] {
		require.InDelta(t, time.Second, s.Duration, float64(time.Millisecond), "segment %d", i)
	}
	out := k.Snapshot().Series[0]
	require.Equal(t, int64(len(p.Segments)), out.Files)
	require.InDelta(t, k.Snapshot().Files[0].Duration, out.Duration, float64(aFrame))
	require.InDelta(t, out.Duration, p.Duration(), float64(time.Millisecond))
	require.InDelta(t, 0, p.Segments[0].At.Sub(out.StartedAt), float64(time.Millisecond))
	require.WithinRange(t, out.StartedAt, began.Add(-aFrame), ended.Add(aFrame), "the nearest picture on the grid is the first")

	live := recordertest.ReadPlaylist(t, filepath.Join(hls.Dir, "a b/live.m3u8"))
	require.Len(t, live.Segments, recorder.LiveSegments)
	require.Equal(t, p.Segments[len(p.Segments)-recorder.LiveSegments:], live.Segments)
	require.Equal(t, int64(len(p.Segments)-recorder.LiveSegments), live.Sequence)
	require.True(t, live.Ended)
	require.Empty(t, live.Type)

	// Together they are what the file is.
	whole := r.concatenate(list, p)
	m, mp4 := probe(t, whole), probe(t, file.Path)
	require.ElementsMatch(t, []string{"h264", "aac"}, m.codecs())
	m.requireEven(30, 12*time.Microsecond) // 90 kHz
	require.Equal(t, mp4.pictures(), m.pictures())
	requireEvenSound(t, whole)
	require.InDelta(t, mp4.loudness(time.Second, time.Second), m.loudness(time.Second, time.Second), 0.5)
	requireNoParts(t, hls.Dir)
}

func TestSegmentsOfSound(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	server := recordertest.StartSRT(t, "")
	url := server.URL("streamid=a")
	hls := r.segments("hls", time.Second, recorder.SegmentOutput{FilenamePrefix: "seg"})
	spec := r.spec(hls, streamTo(url))
	spec.AudioOnly = true
	k := record(t, spec, pipeline.Options{})
	k.hear()
	k.begin()
	k.untilState(url, recorder.StreamActive)
	k.until(2200 * time.Millisecond)
	untilReceived(t, server.Received(1), 30_000)
	require.NoError(t, k.end())
	p := recordertest.ReadSegments(t, listOf(hls))
	require.GreaterOrEqual(t, len(p.Segments), 3)
	for _, s := range p.Segments[:len(p.Segments)-1] {
		require.InDelta(t, time.Second, s.Duration, float64(25*time.Millisecond), "to a frame")
	}
	require.InDelta(t, k.Snapshot().Series[0].Duration, p.Duration(), float64(time.Millisecond))
	whole := r.concatenate(listOf(hls), p)
	requireEvenSound(t, whole)
	m := probe(t, whole)
	require.Equal(t, []string{"aac"}, m.codecs())
	require.InDelta(t, -15, m.loudness(1500*time.Millisecond, 500*time.Millisecond), 1)
	require.Equal(t, []string{"aac"}, probeLoosely(t, server.Received(1)).codecs(), "SRT takes sound alone")
}

// Two outputs of different lengths share one encoder. Names tell the time.
func TestSegmentsOfPicture(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	short := r.segments("short", time.Second, recorder.SegmentOutput{FilenamePrefix: "seg", FilenameSuffix: recorder.SuffixTimestamp})
	long := r.segments("long", 1500*time.Millisecond, recorder.SegmentOutput{PlaylistName: "list.m3u8"})
	spec := r.spec(short, long)
	spec.VideoOnly = true
	k := record(t, spec, pipeline.Options{})
	k.begin()
	k.until(3200 * time.Millisecond)
	require.NoError(t, k.end())
	for _, c := range []struct {
		out recorder.Output
		aim time.Duration
	}{{short, time.Second}, {long, 1500 * time.Millisecond}} {
		p := recordertest.ReadSegments(t, listOf(c.out))
		for _, s := range p.Segments[:len(p.Segments)-1] {
			require.InDelta(t, c.aim, s.Duration, float64(aFrame))
			if c.out.ID == short.ID {
				require.Equal(t, "seg_"+recorder.Timestamp(s.At)+".ts", s.Name)
			}
		}
		m := probe(t, r.concatenate(listOf(c.out), p))
		require.Equal(t, []string{"h264"}, m.codecs())
		m.requireEven(30, 12*time.Microsecond)
	}
}

// What was closed before a SIGKILL plays, and nothing else is listed.
func TestSegmentsAfterKill(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	list := filepath.Join(r.dir, "hls", "list.m3u8")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "TAPEDECK_TEST_VICTIM="+strings.Join([]string{r.inputs.Display, r.inputs.PulseServer, list}, "|"))
	p := start(t, cmd)
	var found recordertest.Playlist
	require.Eventually(t, func() bool {
		if _, err := os.Stat(list); err == nil {
			found = recordertest.ReadPlaylist(t, list)
		}
		return len(found.Segments) >= 2
	}, 30*time.Second, time.Millisecond, "two segments are listed")
	p.kill()
	found = recordertest.ReadSegments(t, list)
	require.False(t, found.Ended)
	require.GreaterOrEqual(t, len(found.Segments), 2)
	probe(t, r.concatenate(list, found)).requireEven(30, 12*time.Microsecond)
}

// A second pipeline goes on in the first one's playlist: players play both, across
// the discontinuity.
func TestSegmentsGoOn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	first := r.segments("first", time.Second, recorder.SegmentOutput{FilenamePrefix: "seg", PlaylistName: "list", LivePlaylistName: "live"})
	images := r.images("pictures", recorder.ImageOutput{FilenamePrefix: "shot"})
	part := func(outputs ...recorder.Output) *take {
		k := record(t, r.spec(outputs...), pipeline.Options{})
		k.begin()
		k.until(2200 * time.Millisecond)
		require.NoError(t, k.end())
		return k
	}
	part(first, images)
	text, err := os.ReadFile(listOf(first))
	require.NoError(t, err)
	begun := recordertest.ReadSegments(t, listOf(first))

	second := r.segments("second", time.Second, recorder.SegmentOutput{FilenamePrefix: "seg.part2", PlaylistName: "list", LivePlaylistName: "live"})
	second.Earlier = string(text)
	images.Before = 3
	k := part(second, images)
	require.EqualValues(t, 3, k.Snapshot().Series[0].Files)
	require.FileExists(t, filepath.Join(images.Dir, "shot_00005.jpeg"))
	for _, s := range begun.Segments { // in one place, as in a storage
		require.NoError(t, os.Link(filepath.Join(first.Dir, s.Name), filepath.Join(second.Dir, s.Name)))
	}
	p := recordertest.ReadSegments(t, listOf(second))
	require.Equal(t, begun.Segments, p.Segments[:len(begun.Segments)])
	own := p.Segments[len(begun.Segments):]
	require.True(t, own[0].Cut && p.Ended && !own[1].Cut)
	require.Equal(t, "seg.part2_00003.ts", own[0].Name)
	require.InDelta(t, 0, own[0].At.Sub(k.Snapshot().Series[0].StartedAt), float64(time.Millisecond))
	require.InDelta(t, k.Snapshot().Series[0].Duration, sum(own), float64(time.Millisecond))

	whole := filepath.Join(t.TempDir(), "whole.mp4")
	require.Empty(t, recordertest.Tool(t, "ffmpeg", "-nostdin", "-v", "error", "-xerror", "-i", listOf(second), "-c", "copy", whole))
	m := probe(t, whole)
	require.ElementsMatch(t, []string{"h264", "aac"}, m.codecs())
	require.InDelta(t, p.Duration().Seconds()*30, len(m.pictures()), 2, "all pictures of both parts")
}

func sum(segments []recordertest.PlaylistSegment) time.Duration {
	return recordertest.Playlist{Segments: segments}.Duration()
}

func TestSegmentsAreNotOverwritten(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	hls := r.segments("hls", time.Second, recorder.SegmentOutput{FilenamePrefix: "seg"})
	require.NoError(t, os.MkdirAll(hls.Dir, 0o700))
	require.NoError(t, os.WriteFile(listOf(hls), []byte("x"), 0o600))
	require.ErrorContains(t, record(t, r.spec(hls), pipeline.Options{}).wait(), "exists already")
	file := r.images("file", recorder.ImageOutput{FilenamePrefix: "a/b"})
	require.NoError(t, os.WriteFile(file.Dir, nil, 0o600))
	require.ErrorContains(t, record(t, r.spec(file), pipeline.Options{}).wait(), "output directory")
}

// concatenate joins the segments of a playlist, as a player does.
func (r *rig) concatenate(list string, p recordertest.Playlist) string {
	r.t.Helper()
	var all []byte
	for _, s := range p.Segments {
		data, err := os.ReadFile(filepath.Join(filepath.Dir(list), s.Name))
		require.NoError(r.t, err)
		all = append(all, data...)
	}
	whole := filepath.Join(r.t.TempDir(), "whole.ts")
	require.NoError(r.t, os.WriteFile(whole, all, 0o600))
	return whole
}

// requireEvenSound checks that AAC frames follow each other without gap or jump.
func requireEvenSound(t *testing.T, path string) {
	t.Helper()
	out, err := exec.Command("ffprobe", "-v", "error", "-select_streams", "a", "-show_entries", "packet=pts_time", "-of", "csv=p=0", path).Output()
	require.NoError(t, err)
	times := strings.Fields(string(out))
	first := recordertest.Seconds(t, strings.Trim(times[0], ","))
	for i, at := range times {
		want := first + time.Duration(i)*1024*time.Second/48000
		require.InDelta(t, want, recordertest.Seconds(t, strings.Trim(at, ",")), float64(50*time.Microsecond), "AAC frame %d", i)
	}
}

func requireNoParts(t *testing.T, dir string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		require.NotEqual(t, recorder.PartSuffix, filepath.Ext(path), path)
		return err
	}))
}
