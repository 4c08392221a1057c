package pipeline_test

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder/recordertest"
)

// media is what ffprobe and ffmpeg see in a file.
type media struct {
	Streams []struct {
		CodecName  string `json:"codec_name"`
		CodecType  string `json:"codec_type"`
		Profile    string `json:"profile"`
		SampleRate string `json:"sample_rate"`
		Channels   int    `json:"channels"`
		Width      int    `json:"width"`
		Height     int    `json:"height"`
		Duration   string `json:"duration"`
		StartTime  string `json:"start_time"`
		ColorSpace string `json:"color_space"`
		BFrames    int    `json:"has_b_frames"`
	} `json:"streams"`
	Format struct {
		Name     string `json:"format_name"`
		Duration string `json:"duration"`
	} `json:"format"`

	t    testing.TB
	path string
}

// probe reads a file that must be free of anything ffprobe warns of.
func probe(t testing.TB, path string) *media {
	t.Helper()
	m := probeLoosely(t, path)
	recordertest.RequireClean(t, path)
	return m
}

func probeLoosely(t testing.TB, path string) *media {
	t.Helper()
	m := &media{t: t, path: path}
	recordertest.ProbeMedia(t, path, m)
	return m
}

func (m *media) codecs() []string {
	var names []string
	for _, s := range m.Streams {
		names = append(names, s.CodecName)
	}
	return names
}

func (m *media) duration() time.Duration { return recordertest.Seconds(m.t, m.Format.Duration) }

// times gives the time of every packet of the first video stream.
func (m *media) times() []time.Duration {
	m.t.Helper()
	out, err := exec.Command("ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=pts_time", "-of", "csv=p=0", m.path).Output()
	require.NoError(m.t, err)
	var times []time.Duration
	for _, line := range strings.Fields(string(out)) {
		times = append(times, recordertest.Seconds(m.t, strings.Trim(line, ",")))
	}
	return times
}

// requireEven checks that frames stand at n/fps exactly, within rounding to the
// container's clock.
func (m *media) requireEven(fps int, rounding time.Duration) {
	m.t.Helper()
	times := m.times()
	require.NotEmpty(m.t, times)
	for i, at := range times {
		want := times[0] + time.Duration(i)*time.Second/time.Duration(fps)
		require.InDelta(m.t, want, at, float64(rounding), "frame %d of %s", i, m.path)
	}
}

// pictures gives a hash of every decoded frame.
func (m *media) pictures() []string {
	m.t.Helper()
	out, err := exec.Command("ffmpeg", "-nostdin", "-v", "error", "-i", m.path, "-an", "-f", "framemd5", "-").Output()
	require.NoError(m.t, err)
	var hashes []string
	for _, line := range strings.Split(string(out), "\n") {
		if f := strings.Split(line, ","); !strings.HasPrefix(line, "#") && len(f) == 6 {
			hashes = append(hashes, strings.TrimSpace(f[5]))
		}
	}
	return hashes
}

// changes counts frames that differ from the one before.
func changes(hashes []string) int {
	n := 0
	for i := 1; i < len(hashes); i++ {
		if hashes[i] != hashes[i-1] {
			n++
		}
	}
	return n
}

// loudness gives the mean volume in dB from a time on, for so long.
func (m *media) loudness(from, length time.Duration) float64 {
	m.t.Helper()
	out := recordertest.Tool(m.t, "ffmpeg", "-nostdin", "-ss", fmt.Sprint(from.Seconds()), "-t", fmt.Sprint(length.Seconds()), "-i", m.path,
		"-vn", "-af", "volumedetect", "-f", "null", "-")
	_, rest, ok := strings.Cut(out, "mean_volume: ")
	require.True(m.t, ok, out)
	db, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	require.NoError(m.t, err)
	return db
}
