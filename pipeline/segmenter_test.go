package pipeline

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-gst/go-gst/gst"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

func TestInterleaver(t *testing.T) {
	i := interleaver{both: true}
	add := func(c codec, at time.Duration) { i.add(frame{codec: c, pts: at}) }
	next := func(ended bool) (codec, time.Duration) {
		f, ok := i.next(ended)
		if !ok {
			return "", 0
		}
		return f.codec, f.pts
	}
	expect := func(ended bool, c codec, at time.Duration) {
		t.Helper()
		gotCodec, gotAt := next(ended)
		require.Equal(t, c, gotCodec)
		require.Equal(t, at, gotAt)
	}
	add(codecAAC, 0)
	add(codecAAC, 20*time.Millisecond)
	expect(false, "", 0)
	add(codecH264, 0)
	expect(false, codecH264, 0) // of two at one time
	expect(false, "", 0)
	add(codecH264, 33*time.Millisecond)
	expect(false, codecAAC, 0)
	expect(false, codecAAC, 20*time.Millisecond)
	expect(false, "", 0)
	add(codecH264, 33*time.Millisecond+interleavePatience)
	expect(false, codecH264, 33*time.Millisecond) // the sound has nothing to give
	expect(false, "", 0)
	expect(true, codecH264, 33*time.Millisecond+interleavePatience)
	expect(true, "", 0)
}

func TestRhythm(t *testing.T) {
	for fps, count := range map[int]int{30: 9, 1: 9, 60: 9, 7: 9} {
		r := newRhythm(fps, []time.Duration{time.Second, 2 * time.Second})
		var due []time.Duration
		for n := range 10 * fps {
			at := time.Duration(n) * time.Second / time.Duration(fps)
			if r.due(at) {
				due = append(due, at)
			}
		}
		require.Len(t, due, count, "%d fps", fps)
		for i, at := range due {
			require.InDelta(t, time.Duration(i+1)*time.Second, at, float64(halfFrame(fps)), "%d fps", fps)
		}
	}
}

func TestKeyInterval(t *testing.T) {
	aims := []time.Duration{4 * time.Second, 2 * time.Second}
	require.InDelta(t, 2, keyInterval(0, aims), 0)
	require.InDelta(t, 2, keyInterval(7, aims), 0)
	require.InDelta(t, 0.5, keyInterval(0.5, aims), 0)
}

// avcC with one SPS (67 01) and one PPS (68 02).
var testAVCC = []byte{1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 2, 0x67, 1, 1, 0, 2, 0x68, 2}

func testFrame(c codec, at time.Duration, key bool) frame {
	if c.video() {
		return frame{codec: c, data: []byte{0, 0, 0, 2, 0x65, 9}, config: testAVCC, pts: at, duration: time.Second / 10, key: key}
	}
	return frame{codec: c, data: []byte{1, 2, 3}, config: []byte{0x11, 0x90}, pts: at, duration: time.Second / 50, key: true}
}

func newTestSegmenter(t *testing.T, codecs ...codec) (*segmenter, string) {
	t.Helper()
	dir := t.TempDir()
	ts, err := newTSWriter(codecs, false)
	require.NoError(t, err)
	out := &segmentOutput{
		ts: ts, dir: dir, fps: 10, codecs: codecs, log: zap.NewNop(),
		spec: recorder.ResolveSegments(recorder.Job{ID: "x"}, recorder.SegmentOutput{FilenamePrefix: "s", SegmentDuration: recorder.Duration(time.Second)}, time.Time{}, 1),
		wall: func(media time.Duration) time.Time { return time.Unix(1_700_000_000, 0).Add(media) },
	}
	s := newSegmenter(out)
	t.Cleanup(s.abandon)
	return s, filepath.Join(dir, "s.m3u8")
}

// A picture with a gap where a segment should begin does not make it longer, and
// a gap of everything is part of no segment.
func TestSegmenterAtGaps(t *testing.T) {
	s, list := newTestSegmenter(t, codecH264, codecAAC)
	for n := range 400 { // 8 s of sound
		at := time.Duration(n) * time.Second / 50
		if at >= 5200*time.Millisecond && at < 7100*time.Millisecond {
			continue
		}
		video := at < 1500*time.Millisecond || at >= 3500*time.Millisecond
		if n%5 == 0 && video {
			require.NoError(t, s.take(testFrame(codecH264, at, at%time.Second == 0 || at == 3500*time.Millisecond || at == 7100*time.Millisecond)))
		}
		require.NoError(t, s.take(testFrame(codecAAC, at, true)))
	}
	require.NoError(t, s.finish())
	text, err := os.ReadFile(list)
	require.NoError(t, err)
	require.Equal(t, "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-INDEPENDENT-SEGMENTS\n"+
		"#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:20.000Z\n#EXTINF:1.000,\ns_00000.ts\n"+
		"#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:21.000Z\n#EXTINF:1.400,\ns_00001.ts\n"+ // the picture is waited for
		"#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:22.400Z\n#EXTINF:1.000,\ns_00002.ts\n"+ // sound alone
		"#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:23.400Z\n#EXTINF:0.600,\ns_00003.ts\n"+
		"#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:24.000Z\n#EXTINF:1.000,\ns_00004.ts\n"+
		"#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:25.000Z\n#EXTINF:0.200,\ns_00005.ts\n"+
		"#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:27.100Z\n#EXTINF:0.900,\ns_00006.ts\n"+
		"#EXT-X-ENDLIST\n", string(text))
}

// Pictures that come when the sound has cut their segment already are of no use to
// the next one before its key frame: every segment stands alone.
func TestSegmenterWithLatePictures(t *testing.T) {
	s, list := newTestSegmenter(t, codecH264, codecAAC)
	pictures := func(from, to time.Duration) {
		for at := from; at < to; at += time.Second / 10 {
			require.NoError(t, s.take(testFrame(codecH264, at, at%time.Second == 0)))
		}
	}
	pictures(0, 800*time.Millisecond)
	for at := time.Duration(0); at < 1500*time.Millisecond; at += time.Second / 50 {
		require.NoError(t, s.take(testFrame(codecAAC, at, true)))
	}
	require.Equal(t, int64(1), s.list.count, "the sound cut it")
	pictures(800*time.Millisecond, 1500*time.Millisecond)
	require.NoError(t, s.finish())
	for i, want := range []int{8, 5} {
		data, err := os.ReadFile(filepath.Join(filepath.Dir(list), fmt.Sprintf("s_%05d.ts", i)))
		require.NoError(t, err)
		require.Equal(t, want, bytes.Count(data, []byte{0, 0, 0, 1, 9, 0xf0}), "access units of segment %d", i)
		first := bytes.Index(data, []byte{0, 0, 0, 1, 9, 0xf0})
		require.Equal(t, byte(0x67), data[first+10], "segment %d begins with a key frame's parameters", i)
	}
}

// A later part lists what earlier ones recorded, and then its own.
func TestSegmenterGoesOn(t *testing.T) {
	earlier := recorder.MediaPlaylist{Event: true, Target: 1, Ended: true}
	for n := range 6 {
		earlier.Entries = append(earlier.Entries, recorder.PlaylistEntry{
			Name: fmt.Sprintf("s_%05d.ts", n), At: time.Unix(1_600_000_000+int64(n), 0), Length: time.Second, Cut: n == 1,
		})
	}
	before, list := newTestSegmenter(t, codecAAC)
	out := before.out
	out.spec.FilenamePrefix, out.spec.LivePlaylistName = "s.part3", "live.m3u8"
	var err error
	out.earlier, err = readEarlier(recorder.Output{Earlier: earlier.Text(), Segments: out.spec})
	require.NoError(t, err)
	s := newSegmenter(out)
	t.Cleanup(s.abandon)
	for at := time.Duration(0); at < 2500*time.Millisecond; at += time.Second / 50 {
		require.NoError(t, s.take(testFrame(codecAAC, at, true)))
	}
	require.False(t, recordertest.ReadPlaylist(t, list).Ended)
	require.NoError(t, s.finish())
	all, live := recordertest.ReadPlaylist(t, list), recordertest.ReadPlaylist(t, filepath.Join(filepath.Dir(list), "live.m3u8"))
	require.True(t, all.Ended && live.Ended)
	require.Len(t, all.Segments, 9)
	for n, e := range earlier.Entries {
		require.Equal(t, recordertest.PlaylistSegment{Name: e.Name, Duration: e.Length, At: e.At.UTC(), Cut: e.Cut}, all.Segments[n])
	}
	own := all.Segments[6:]
	require.Equal(t, "s.part3_00006.ts", own[0].Name)
	require.Equal(t, []bool{true, false, false}, []bool{own[0].Cut, own[1].Cut, own[2].Cut})
	require.Equal(t, out.wall(0).UTC(), own[0].At)
	require.Equal(t, all.Segments[4:], live.Segments)
	require.Equal(t, []int64{4, 1}, []int64{live.Sequence, live.Cuts})
	require.EqualValues(t, 3, out.total.Files, "its own")

	out.spec.SegmentDuration = recorder.Duration(2 * time.Second)
	_, err = readEarlier(recorder.Output{Earlier: earlier.Text(), Segments: out.spec})
	require.ErrorContains(t, err, "target duration is 1 s")
	_, err = readEarlier(recorder.Output{Earlier: "x", Segments: out.spec})
	require.Equal(t, recorder.CodeInvalid, recorder.CodeOf(err))
}

func TestSegmenterWithoutADisk(t *testing.T) {
	s, list := newTestSegmenter(t, codecAAC)
	require.NoError(t, s.take(testFrame(codecAAC, 0, true)))
	require.NoError(t, os.RemoveAll(filepath.Dir(list)))
	err := s.take(testFrame(codecAAC, time.Second, true))
	require.Equal(t, recorder.CodePipeline, recorder.CodeOf(err))
	require.ErrorContains(t, err, "s_00000.ts")
}

// A disk that stands still costs what it does not take, up to a key frame, and
// holds nobody up.
func TestSegmentsOnASlowDisk(t *testing.T) {
	gstInit()
	out := &segmentOutput{codecs: []codec{codecH264, codecAAC}, fed: make(chan struct{}, 1), configs: map[codec][]byte{}}
	caps := gst.NewCapsFromString("video/x-h264,codec_data=(buffer)0164")
	accept := func(c codec, size int, key bool) {
		b := gst.NewBufferFromBytes(make([]byte, size))
		out.accept(packet{codec: c, buf: b, caps: caps, key: key})
		freeBuffer(b)
	}
	accept(codecH264, 1, true)
	accept(codecVP8, 1, true)
	require.Len(t, out.queue, 1)
	require.Equal(t, []byte{1, 0x64}, out.queue[0].config)
	for range 80 {
		accept(codecAAC, 1<<20, true)
	}
	require.Equal(t, int64(80-64), out.dropped)
	accept(codecH264, 1, true) // still too much
	require.Equal(t, int64(17), out.dropped)
	frames, last := out.take()
	require.Len(t, frames, 65)
	require.False(t, last)
	accept(codecAAC, 1, true)
	accept(codecH264, 1, false)
	require.Empty(t, out.queue, "nothing before a key frame")
	accept(codecH264, 1, true)
	accept(codecAAC, 1, true)
	require.Len(t, out.queue, 2)
}

func TestTransportStreamStandsAlone(t *testing.T) {
	w, err := newTSWriter([]codec{codecH264, codecAAC}, true)
	require.NoError(t, err)
	var counters [1 << 13]int
	for i := range counters {
		counters[i] = -1
	}
	var fresh []int
	for n := range 3 {
		var out bytes.Buffer
		at := 26*time.Hour + 30*time.Minute + time.Duration(n)*time.Minute // across the wrap of the clock
		first := testFrame(codecH264, at, n != 1)
		if n == 1 {
			first = testFrame(codecAAC, at, true)
		}
		require.NoError(t, w.begin(&out, first))
		require.NoError(t, w.write(first))
		for range 6 {
			require.NoError(t, w.write(testFrame(codecAAC, at, true)))
		}
		require.NoError(t, w.flush())
		data := out.Bytes()
		require.Zero(t, len(data)%188)
		for i := 0; i < len(data); i += 188 {
			require.Equal(t, byte(0x47), data[i])
			pid := int(data[i+1]&0x1f)<<8 | int(data[i+2])
			switch i {
			case 0:
				require.Zero(t, pid, "the PAT is first")
			case 188:
				require.Equal(t, 0x1000, pid, "then the PMT")
			}
			if data[i+3]&0x20 != 0 && data[i+4] > 0 && data[i+5]&0x80 != 0 {
				fresh = append(fresh, pid)
			}
			if data[i+3]&0x10 == 0 {
				continue // no payload, no count
			}
			counter := int(data[i+3] & 15)
			if counters[pid] >= 0 {
				require.Equal(t, (counters[pid]+1)%16, counter, "continuity over segments")
			}
			counters[pid] = counter
		}
	}
	require.Equal(t, []int{pidVideo, pidAudio}, fresh, "each stream is marked once where it begins anew")
}

func TestMalformedPackets(t *testing.T) {
	for _, f := range []frame{
		{codec: codecH264, data: []byte{0, 0, 0}},
		{codec: codecH264, data: []byte{0, 0, 0, 9, 1}},
		{codec: codecH264, data: []byte{0xff, 0xff, 0xff, 0xff, 1}},
		{codec: codecH264, key: true},
		{codec: codecH264, key: true, config: testAVCC[:9]},
		{codec: codecH264, key: true, config: testAVCC[:10]},
		{codec: codecH264, key: true, config: []byte{1, 0x64, 0, 0x1f, 0xfd, 0xe0, 0}},
	} {
		_, err := annexB(f)
		require.Equal(t, recorder.CodePipeline, recorder.CodeOf(err), "%v", f)
	}
	for _, f := range []frame{{config: []byte{0x11}}, {config: []byte{0, 0}}, {config: []byte{0x17, 0x90}}, {config: []byte{0x11, 0x90}, data: make([]byte, 1<<13)}} {
		_, err := adtsHeader(f)
		require.Equal(t, recorder.CodePipeline, recorder.CodeOf(err))
	}
	header, err := adtsHeader(testFrame(codecAAC, 0, true))
	require.NoError(t, err)
	require.Equal(t, []byte{0xff, 0xf1, 0x4c, 0x80, 1, 0x5f, 0xfc}, header, "LC, 48 kHz, two channels, 10 bytes")
	au, err := annexB(testFrame(codecH264, 0, true))
	require.NoError(t, err)
	require.Equal(t, []byte{0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2, 0, 0, 0, 1, 0x65, 9}, au)
}

// A stop may come between Begin's first look and its start of the outputs.
func TestOutputsDoNotStartAfterTheirEnd(t *testing.T) {
	gstInit()
	dir := t.TempDir()
	p := &Pipeline{log: zap.NewNop(), spec: recorder.PipelineSpec{Options: recorder.EncodingOptions{Width: 160, Height: 160, Framerate: 10}}}
	images, err := p.newImageOutput(recorder.Output{
		ID: "i", Dir: dir, Images: recorder.ImageOutput{FilenamePrefix: "x", Width: 16, Height: 16},
	})
	require.NoError(t, err)
	file, err := newFileOutput(recorder.Output{ID: "f", Path: filepath.Join(dir, "a.mp4")}, 10, false, false, zap.NewNop())
	require.NoError(t, err)
	for _, out := range []interface {
		start() error
		finish(deadline <-chan time.Time) error
	}{images, file} {
		require.NoError(t, out.finish(nil))
		require.Equal(t, recorder.CodeAborted, recorder.CodeOf(out.start()))
	}
	require.Equal(t, gst.StateNull, images.unit.pipe.GetCurrentState())
	require.NoFileExists(t, file.path)
}
