package pipeline_test

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/pipeline"
	"tapedeck/recorder"
)

func (r *rig) images(id string, o recorder.ImageOutput) recorder.Output {
	o.CaptureInterval = recorder.Duration(time.Second)
	job := recorder.Job{ID: id, Encoding: recorder.Encoding{Advanced: &recorder.EncodingOptions{Width: rigWidth, Height: rigHeight}}}
	o = recorder.ResolveImages(job, o, time.Now(), 1)
	return recorder.Output{ID: id, Kind: recorder.KindImages, Dir: filepath.Join(r.dir, id), Images: o}
}

func decodeJPEG(t *testing.T, path string) image.Image {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	img, err := jpeg.Decode(bytes.NewReader(data))
	require.NoError(t, err, path)
	return img
}

func namesIn(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Pictures alone: nothing is encoded between them. The bars have known colours.
func TestImages(t *testing.T) {
	t.Parallel()
	r := newRigOf(t, "pattern=smpte")
	small := r.images("small", recorder.ImageOutput{FilenamePrefix: "a/thumb", Width: 161})
	stamped := r.images("stamped", recorder.ImageOutput{FilenamePrefix: "b", FilenameSuffix: recorder.SuffixTimestamp})
	one := r.images("one", recorder.ImageOutput{FilenamePrefix: "c", FilenameSuffix: recorder.SuffixNone, Width: 100, Height: 100})
	k := record(t, r.spec(small, stamped, one), pipeline.Options{})
	k.hear()
	k.begin()
	k.until(2200 * time.Millisecond)
	require.NoError(t, k.end())

	require.Equal(t, []string{"thumb_00000.jpeg", "thumb_00001.jpeg", "thumb_00002.jpeg"}, namesIn(t, filepath.Join(small.Dir, "a")))
	require.Equal(t, image.Pt(161, 91), decodeJPEG(t, filepath.Join(small.Dir, "a/thumb_00001.jpeg")).Bounds().Max, "the ratio is kept")
	require.Equal(t, []string{"c.jpeg"}, namesIn(t, one.Dir))
	require.Equal(t, image.Pt(100, 100), decodeJPEG(t, filepath.Join(one.Dir, "c.jpeg")).Bounds().Max)
	series := k.Snapshot().Series
	require.Equal(t, []int64{3, 3, 3}, []int64{series[0].Files, series[1].Files, series[2].Files})
	require.Equal(t, 2*time.Second, series[0].Duration)

	began := series[1].StartedAt
	for i, name := range namesIn(t, stamped.Dir) {
		digits := strings.TrimSuffix(strings.TrimPrefix(name, "b_"), ".jpeg")
		require.Len(t, digits, 17)
		at, err := time.Parse("20060102150405.000", digits[:14]+"."+digits[14:])
		require.NoError(t, err)
		require.InDelta(t, 0, at.Sub(began.Add(time.Duration(i)*time.Second)), float64(time.Millisecond), name)
	}
	bars := decodeJPEG(t, filepath.Join(stamped.Dir, namesIn(t, stamped.Dir)[2]))
	require.Equal(t, image.Pt(rigWidth, rigHeight), bars.Bounds().Max)
	for i, want := range []color.RGBA{{255, 255, 255, 255}, {255, 255, 0, 255}, {0, 255, 255, 255}, {0, 255, 0, 255}} {
		r, g, b, _ := bars.At(rigWidth*(2*i+1)/14, 80).RGBA()
		got := color.RGBA{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8), 255} //nolint:gosec // of 16 bits
		for c, pair := range [][2]uint8{{want.R, got.R}, {want.G, got.G}, {want.B, got.B}} {
			require.InDelta(t, pair[0], pair[1], 12, "bar %d, channel %d: %v", i, c, got)
		}
	}
}
