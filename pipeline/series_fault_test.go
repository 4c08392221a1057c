package pipeline_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/pipeline"
	"tapedeck/recorder"
)

// A series that cannot be written takes nobody along, unless it is the last output.
func TestSeriesFailAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	hls := r.segments("hls", time.Second, recorder.SegmentOutput{FilenamePrefix: "seg"})
	images := r.images("images", recorder.ImageOutput{FilenamePrefix: "thumb"})
	k := record(t, r.spec(hls, images), pipeline.Options{})
	block := func(dir string) {
		require.NoError(t, os.Rename(dir, dir+".away"))
		require.NoError(t, os.WriteFile(dir, nil, 0o600))
	}
	// Between check and the first picture.
	require.Eventually(t, func() bool { return k.Snapshot().Stats.FPS > 0 }, 20*time.Second, 10*time.Millisecond)
	block(images.Dir)
	k.begin()
	require.Eventually(t, func() bool { return k.Snapshot().Series[1].Err != nil }, 5*time.Second, 10*time.Millisecond)
	require.Zero(t, k.Snapshot().Series[1].Files)
	require.NoError(t, k.Snapshot().Series[0].Err)
	part := filepath.Join(hls.Dir, hls.Segments.FilenamePrefix+"_00000.ts"+recorder.PartSuffix)
	require.Eventually(t, func() bool { _, err := os.Stat(part); return err == nil }, 5*time.Second, 10*time.Millisecond, "it goes on")
	block(hls.Dir)
	require.ErrorContains(t, k.wait(), "seg_0000", "the last one ends it")
	require.ErrorContains(t, k.Snapshot().Series[0].Err, "seg_0000")
	require.GreaterOrEqual(t, k.Snapshot().Stats.Elapsed.Std(), time.Second)
}
