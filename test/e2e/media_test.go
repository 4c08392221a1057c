package e2e

import (
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder/recordertest"
)

// media is what ffprobe sees in a file.
type media struct {
	Streams []track `json:"streams"`
	Format  struct {
		Name     string `json:"format_name"`
		Duration string `json:"duration"`
	} `json:"format"`
	path string
}

type track struct {
	Codec      string `json:"codec_name"`
	Type       string `json:"codec_type"`
	Profile    string `json:"profile"`
	SampleRate string `json:"sample_rate"`
	Width      int    `json:"width"`
	Height     int    `json:"height"`
	FrameRate  string `json:"avg_frame_rate"`
	TimeBase   string `json:"time_base"`
	StartTime  string `json:"start_time"`
	Duration   string `json:"duration"`
}

// probe reads a file that ffprobe and ffmpeg must have nothing to say against.
func probe(t testing.TB, path string) *media {
	t.Helper()
	m := probePartial(t, path)
	recordertest.RequireClean(t, path)
	return m
}

// probePartial reads a file that may have been cut off.
func probePartial(t testing.TB, path string) *media {
	t.Helper()
	m := &media{path: path}
	recordertest.ProbeMedia(t, path, m)
	return m
}

// codecs lists them in the file's order.
func (m *media) codecs() []string {
	var names []string
	for _, s := range m.Streams {
		names = append(names, s.Codec)
	}
	return names
}

func (m *media) track(t testing.TB, kind string) track {
	t.Helper()
	i := slices.IndexFunc(m.Streams, func(s track) bool { return s.Type == kind })
	require.GreaterOrEqual(t, i, 0, "%s has a track of %s", m.path, kind)
	return m.Streams[i]
}

func (m *media) duration(t testing.TB) time.Duration {
	t.Helper()
	return recordertest.Seconds(t, m.Format.Duration)
}

// requireEven checks that every frame stands in a slot of its own, in the container's own
// ticks, and gives how many slots are empty: encoders that a busy machine keeps a second
// behind are given no more pictures. A test that is judged by the clock has none of it.
func (m *media) requireEven(t testing.TB, fps int) (empty int) {
	t.Helper()
	_, scale, ok := strings.Cut(m.track(t, "video").TimeBase, "/")
	require.True(t, ok)
	ticks, err := strconv.Atoi(scale)
	require.NoError(t, err)
	require.Zero(t, ticks%fps, "a frame is a whole number of ticks of 1/%d s", ticks)
	out := recordertest.Tool(t, "ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=pts", "-of", "csv=p=0", m.path)
	var stamps []int
	for _, line := range strings.Fields(out) {
		n, err := strconv.Atoi(strings.Trim(line, ","))
		require.NoError(t, err)
		stamps = append(stamps, n)
	}
	slices.Sort(stamps)
	for i := 1; i < len(stamps); i++ {
		interval := stamps[i] - stamps[i-1]
		require.True(t, interval > 0 && interval%(ticks/fps) == 0, "interval %d before frame %d of %s in ticks of 1/%d s", interval, i, m.path, ticks)
		empty += interval/(ticks/fps) - 1
	}
	if empty > 0 {
		t.Logf("%s: %d slots are empty: the encoders were behind", m.path, empty)
	}
	return empty
}

// gaps complains of slots without a frame.
func (m *media) gaps(t testing.TB, fps int) []string {
	t.Helper()
	if empty := m.requireEven(t, fps); empty > 0 {
		return []string{fmt.Sprintf("%d slots of %s are empty", empty, m.path)}
	}
	return nil
}

// requireWhole checks an MP4 that was finalised: its tracks, that they are
// equally long, and that a player can seek in it.
func (m *media) requireWhole(t testing.TB, fps int) {
	t.Helper()
	v, a := m.track(t, "video"), m.track(t, "audio")
	assert.Equal(t, "h264 High", v.Codec+" "+v.Profile)
	assert.Equal(t, "aac 48000", a.Codec+" "+a.SampleRate)
	// Sound ends with a whole AAC packet, the picture with a whole frame.
	assert.InDelta(t, recordertest.Seconds(t, v.Duration), recordertest.Seconds(t, a.Duration),
		float64(time.Second)/float64(fps)+float64(time.Second)*1024/48000, "tracks are equally long")
	m.requireEven(t, fps)
	// A seek to the middle of an ordinary MP4 lands within a key frame interval.
	half := m.duration(t) / 2
	out := recordertest.Tool(t, "ffprobe", "-v", "error", "-select_streams", "v", "-read_intervals", strconv.FormatFloat(half.Seconds(), 'f', 3, 64)+"%+#1",
		"-show_entries", "packet=pts_time", "-of", "csv=p=0", m.path)
	at := recordertest.Seconds(t, strings.Trim(strings.Fields(out)[0], ","))
	assert.InDelta(t, half, at, float64(4*time.Second), "seeking works")
}

// sight is what the barcode page's pictures tell.
type sight struct {
	frames     []recordertest.Frame
	distinct   int // different from the one before
	unreadable int
	trailing   int // of the unreadable ones, those the recording ends with
	torn       int // not counted as unreadable: what is held until the page is loaded again
	resets     int // the page was loaded again
	gap        int // the most page frames between two pictures of one load
}

func look(t testing.TB, path string) sight {
	t.Helper()
	s := sight{frames: recordertest.ReadBarcodes(t, path)}
	before := -1
	for i, f := range s.frames {
		if f.Counter < 0 {
			s.unreadable++
			s.trailing++
			continue
		}
		if f.Counter < before {
			// A renderer that is killed while it draws leaves half a code behind.
			s.torn, s.unreadable = s.torn+s.trailing, s.unreadable-s.trailing
		}
		s.trailing = 0
		switch {
		case before < 0 || f.Counter > before:
			s.distinct++
			if before >= 0 && i > 0 {
				s.gap = max(s.gap, f.Counter-before)
			}
		case f.Counter < before:
			s.distinct++
			s.resets++
		}
		before = f.Counter
	}
	return s
}

func (s sight) share() float64 { return float64(s.distinct) / float64(max(len(s.frames), 1)) }

// skew gives how far each flash is behind its beep.
func skew(t testing.TB, path string, frames []recordertest.Frame) (flashes, behind []time.Duration) {
	t.Helper()
	flashes = recordertest.FlashOnsets(frames)
	beeps := recordertest.BeepOnsets(t, path)
	require.NotEmpty(t, beeps)
	return flashes, behindBeeps(flashes, beeps)
}

// behindBeeps gives how far each flash is behind the nearest beep.
func behindBeeps(flashes, beeps []time.Duration) (behind []time.Duration) {
	for _, f := range flashes {
		nearest := slices.MinFunc(beeps, func(a, b time.Duration) int {
			return int((a - f).Abs() - (b - f).Abs())
		})
		behind = append(behind, f-nearest)
	}
	return behind
}

// spread gives the least, the median and the most.
func spread(values []time.Duration) (low, middle, high time.Duration) {
	if len(values) == 0 {
		return 0, 0, 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[0], sorted[len(sorted)/2], sorted[len(sorted)-1]
}

// requireBackground checks that the part of the barcode page where nothing ever
// is has the page's own grey in every frame: Chrome's error page has not.
func requireBackground(t testing.TB, path string) {
	t.Helper()
	out, err := exec.Command("ffmpeg", "-nostdin", "-v", "error", "-i", path, "-vf", "crop=iw/2:ih/2:iw/8:ih/2,scale=1:1:flags=area,format=gray",
		"-fps_mode", "passthrough", "-f", "rawvideo", "-").Output()
	require.NoError(t, err)
	for i, grey := range out {
		require.InDelta(t, 0x40, int(grey), 8, "frame %d of %s", i, path)
	}
}
