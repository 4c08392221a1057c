package pipeline_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/pipeline"
	"tapedeck/recorder/recordertest"
)

// More than any machine of the tests can encode: pictures are dropped and
// counted, but what is there stands where it belongs, up to the end, and the sound is whole.
func TestOverload(t *testing.T) {
	r := &rig{t: t, dir: t.TempDir()}
	r.startX("3840x2160x24")
	r.startPulse()
	r.player("videotestsrc is-live=true pattern=snow ! video/x-raw,width=1920,height=1080,framerate=30/1 ! ximagesink display=%s sync=true", r.inputs.Display)
	r.player("audiotestsrc is-live=true wave=sine freq=440 volume=0.25 ! audio/x-raw,rate=48000,channels=2 ! pulsesink server=%s", r.inputs.PulseServer)
	out := r.file("a.mp4")
	spec := r.spec(out)
	spec.Options.Width, spec.Options.Height, spec.Options.Framerate, spec.Options.VideoBitrate = 3840, 2160, 60, 20000
	k := record(t, spec, pipeline.Options{})
	k.hear()
	k.begin()
	began := time.Now()
	require.Eventually(t, func() bool { return k.Snapshot().Stats.Dropped > 0 }, 30*time.Second, 20*time.Millisecond)
	k.until(3 * time.Second)
	wall := time.Since(began)
	require.NoError(t, k.end())
	t.Logf("%v of media in %v: %+v", k.Snapshot().Files[0].Duration, wall, k.Snapshot().Stats)
	m := probeLoosely(t, out.Path)
	times := m.times()
	for i, at := range times {
		slot := at.Seconds() * 60
		require.InDelta(t, math.Round(slot), slot, 0.001, "frame %d stands on the grid", i)
	}
	require.InDelta(t, recordertest.Seconds(t, m.Streams[0].Duration), recordertest.Seconds(t, m.Streams[1].Duration), float64(50*time.Millisecond))
	require.Greater(t, m.loudness(time.Second, time.Second), -20.0)
}
