package recorder_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

// Segments leave while they are recorded, and the delivery waits for whoever
// brings them away.
func TestWorkerFollowsSeries(t *testing.T) {
	inYard(t, func(y *yard) {
		y.start()
		job := fileJob("hls")
		job.Segments = []recorder.SegmentOutput{{FilenamePrefix: "talk/seg", PlaylistName: "talk/all.m3u8"}}
		lease := y.putAs(job, recorder.NewRecording(job, time.Now()))
		entry := y.spool.Entries()[0]
		follows := entry.End().Follows
		require.Len(t, follows, 1, "from the first active report on, and once")
		require.Equal(t, "talk/all.m3u8", follows[0].Segments[0].PlaylistName)
		assert.Zero(t, entry.End().Deliveries)
		lease.Sent <- stopCommand()
		y.finished(lease)
		assert.Equal(t, 1, entry.End().Deliveries)
		assert.False(t, entry.End().Overlapped)
		assert.Len(t, entry.End().Follows, 1)
	})
}

func TestWorkerFollowsNoFiles(t *testing.T) {
	inYard(t, func(y *yard) {
		y.start()
		lease := y.put("file")
		lease.Sent <- stopCommand()
		y.finished(lease)
		assert.Empty(t, y.spool.Entries()[0].End().Follows)
	})
}
