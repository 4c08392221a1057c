package recorder_test

import (
	"context"
	"testing"
	"testing/synctest"
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

// Whoever watches learns where the stream is while it is made; the spool keeps
// the names under which it finds the files.
func TestWorkerTellsWhereSeriesAre(t *testing.T) {
	inYard(t, func(y *yard) {
		const at = "https://recordings.s3.amazonaws.com/talk/take-2/"
		y.spool.OnFollow = func(begun recorder.Recording) recorder.Recording {
			s := &begun.Segments[0]
			s.PlaylistName, s.PlaylistLocation = "talk/take-2/all.m3u8", at+"all.m3u8"
			s.LivePlaylistName, s.LivePlaylistLocation = "talk/take-2/live.m3u8", at+"live.m3u8"
			begun.Images[0].FilenamePrefix, begun.Images[0].Backup = "take-3/shot", true
			begun.Status = recorder.StatusQueued // is not its business
			return begun
		}
		y.start()
		job := fileJob("hls")
		job.Segments = []recorder.SegmentOutput{{FilenamePrefix: "talk/seg", PlaylistName: "talk/all.m3u8", LivePlaylistName: "talk/live.m3u8"}}
		job.Images = []recorder.ImageOutput{{FilenamePrefix: "shot", CaptureInterval: recorder.Duration(time.Second)}}
		next := make(chan struct{})
		saved := make(chan recorder.Recording, 1)
		y.runner.Play = func(ctx context.Context, task recorder.Task, commands <-chan recorder.Command, report func(recorder.Recording)) recorder.Recording {
			return y.runner.Record(ctx, task, commands, func(rec recorder.Recording) {
				report(rec)
				if rec.Status == recorder.StatusActive {
					<-next // by then it is known
					report(rec)
					saved <- y.spool.Entries()[0].Task().Recording
				}
			})
		}
		lease := y.putAs(job, recorder.NewRecording(job, time.Now()))
		close(next)
		synctest.Wait()
		located := func(rec recorder.Recording) {
			t.Helper()
			assert.Equal(t, "talk/take-2/all.m3u8", rec.Segments[0].PlaylistName)
			assert.Equal(t, at+"all.m3u8", rec.Segments[0].PlaylistLocation)
			assert.Equal(t, "talk/take-2/live.m3u8", rec.Segments[0].LivePlaylistName)
			assert.Equal(t, at+"live.m3u8", rec.Segments[0].LivePlaylistLocation)
			assert.Equal(t, "take-3/shot", rec.Images[0].FilenamePrefix)
			assert.True(t, rec.Images[0].Backup)
		}
		reports := lease.End().Reports
		require.GreaterOrEqual(t, len(reports), 2)
		assert.Equal(t, recorder.StatusActive, reports[len(reports)-1].Status)
		located(reports[len(reports)-1])
		assert.Equal(t, "talk/all.m3u8", (<-saved).Segments[0].PlaylistName)
		lease.Sent <- stopCommand()
		located(y.finished(lease))
	})
}

// Whoever watches learns at once that a storage refuses a file, and when it does no
// more; what the spool keeps of the recording knows nothing of it.
func TestWorkerTellsWhatKeepsFiles(t *testing.T) {
	inYard(t, func(y *yard) {
		y.spool.OnFollow = func(begun recorder.Recording) recorder.Recording {
			begun.Files[0].Error, begun.Files[0].Backup = "access denied", true
			begun.Files[0].State = recorder.FileDelivered // is not its business
			return begun
		}
		y.start()
		next := make(chan struct{})
		saved := make(chan recorder.Recording, 1)
		y.runner.Play = func(ctx context.Context, task recorder.Task, commands <-chan recorder.Command, report func(recorder.Recording)) recorder.Recording {
			return y.runner.Record(ctx, task, commands, func(rec recorder.Recording) {
				report(rec)
				if rec.Status == recorder.StatusActive {
					<-next // by then it is known
					report(rec)
					saved <- y.spool.Entries()[0].Task().Recording
				}
			})
		}
		lease := y.put("file")
		close(next)
		synctest.Wait()
		reports := lease.End().Reports
		require.GreaterOrEqual(t, len(reports), 2)
		file := reports[len(reports)-1].Files[0]
		assert.Equal(t, "access denied", file.Error)
		assert.Equal(t, recorder.FileRecording, file.State)
		assert.True(t, file.Backup)
		assert.Empty(t, (<-saved).Files[0].Error)
		lease.Sent <- stopCommand()
		y.finished(lease)
		assert.Len(t, y.spool.Entries()[0].End().Follows, 1)
	})
}
