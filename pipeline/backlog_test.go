package pipeline

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/go-gst/go-gst/gst"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// packets makes H.264 packets of a size, with a key frame every ten.
func packets(size int64, n int) []packet {
	caps := gst.NewCapsFromString("video/x-h264,stream-format=avc,alignment=au")
	list := make([]packet, n)
	for i := range list {
		list[i] = packet{
			codec: codecH264, buf: gst.NewBufferWithSize(size), caps: caps, key: i%10 == 0,
			pts: time.Duration(i) * time.Second / 30, duration: time.Second / 30,
		}
	}
	return list
}

// A disk that takes nothing: memory is bounded, nobody waits, and what is
// dropped ends at a key frame.
func TestFileBacklogIsBounded(t *testing.T) {
	gstInit()
	f, err := newFileOutput(recorder.Output{ID: "a", Path: filepath.Join(t.TempDir(), "a.mp4")}, 30, false, false, zap.NewNop())
	require.NoError(t, err)
	defer f.unit.stop()
	began := time.Now()
	for _, p := range packets(1<<20, 200) { // the unit is not playing: nothing leaves
		f.accept(p)
	}
	require.Less(t, time.Since(began), 2*time.Second)
	require.LessOrEqual(t, f.srcs[codecH264].GetCurrentLevelBytes(), uint64(maxFileBacklog+1<<20))
	require.Positive(t, f.dropped)
	require.True(t, f.wantKey)
}

// A server that takes nothing: the same, by time.
func TestStreamBacklogIsBounded(t *testing.T) {
	gstInit()
	server := recordertest.NewHangingListener(t)
	c, err := newConnection(server.URL("key"), []codec{codecH264}, StreamTiming{}.withDefaults(), zap.NewNop())
	require.NoError(t, err)
	defer c.close()
	list := packets(100, 600)
	for _, p := range list[5:] {
		c.accept(p)
	}
	require.Equal(t, list[10].pts, c.base, "it begins at a key frame")
	require.InDelta(t, maxStreamBacklog, c.backlog(), float64(500*time.Millisecond))
	require.Positive(t, c.dropped)
}
