package recorder_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

func TestConcludeWithEarlierParts(t *testing.T) {
	file := func(state recorder.FileState, partial bool) []recorder.FileResult {
		return []recorder.FileResult{{Filename: "a.mp4", State: state, Partial: partial, Error: "denied"}}
	}
	aborted, failed := recorder.Errorf(recorder.CodeAborted, "stopped"), recorder.Errorf(recorder.CodePageLoad, "HTTP 502")
	whole, cut := file(recorder.FileDelivered, false), file(recorder.FileDelivered, true)
	for name, c := range map[string]struct {
		last    recorder.EndReason // of the earlier part
		files   []recorder.FileResult
		began   bool // the last part
		reason  recorder.EndReason
		err     *recorder.Error
		status  recorder.Status
		code    recorder.Code
		segment *recorder.SegmentsResult
		image   *recorder.ImagesResult
	}{
		"both whole":               {last: recorder.EndDisplayDied, files: whole, began: true, reason: recorder.EndSignal, status: recorder.StatusComplete},
		"a lost one cut off":       {last: recorder.EndWorkerLost, files: cut, began: true, reason: recorder.EndSignal, status: recorder.StatusComplete},
		"an empty one":             {last: recorder.EndDisplayDied, files: file(recorder.FileEmpty, false), began: true, reason: recorder.EndSignal, status: recorder.StatusComplete},
		"one that is refused":      {last: recorder.EndDisplayDied, files: file(recorder.FileRefused, false), began: true, reason: recorder.EndSignal, status: recorder.StatusFailed, code: recorder.CodeUpload},
		"a lost one not completed": {last: recorder.EndWorkerLost, files: file(recorder.FilePending, false), began: true, reason: recorder.EndSignal, status: recorder.StatusFailed, code: recorder.CodeWorkerLost},
		"segments that go on": {
			last: recorder.EndWorkerLost, began: true, reason: recorder.EndSignal, status: recorder.StatusComplete,
			segment: &recorder.SegmentsResult{Continued: true, Series: recorder.Series{State: recorder.FilePending}},
		},
		"segments that do not": {
			last: recorder.EndWorkerLost, began: true, reason: recorder.EndSignal, status: recorder.StatusFailed, code: recorder.CodeWorkerLost,
			segment: &recorder.SegmentsResult{Series: recorder.Series{State: recorder.FilePending}},
		},
		"a lost one's last pictures": {
			last: recorder.EndWorkerLost, began: true, reason: recorder.EndSignal, status: recorder.StatusComplete,
			image: &recorder.ImagesResult{Series: recorder.Series{State: recorder.FilePending}},
		},
		"stopped before the last": {last: recorder.EndDisplayDied, files: whole, reason: recorder.EndStopped, err: aborted, status: recorder.StatusComplete},
		"stopped after a loss":    {last: recorder.EndWorkerLost, files: cut, reason: recorder.EndStopped, err: aborted, status: recorder.StatusComplete},
		"no room after a fault":   {last: recorder.EndDisplayDied, files: whole, reason: recorder.EndRoomClosed, err: failed, status: recorder.StatusComplete},
		"no room after a loss": {
			last: recorder.EndWorkerLost, files: cut, reason: recorder.EndRoomClosed, err: failed, status: recorder.StatusFailed, code: recorder.CodeWorkerLost,
		},
		"no start": {last: recorder.EndDisplayDied, files: whole, reason: recorder.EndStartFailed, err: failed, status: recorder.StatusFailed, code: recorder.CodePageLoad},
		"its time was up": {
			last: recorder.EndDisplayDied, files: whole, reason: recorder.EndMaxDuration, status: recorder.StatusLimitReached,
		},
		"the disk was full": {last: recorder.EndDisplayDied, files: whole, reason: recorder.EndDiskFull, err: aborted, status: recorder.StatusLimitReached},
		"not delivered, and stopped": {
			last: recorder.EndDisplayDied, files: file(recorder.FileRefused, false), reason: recorder.EndStopped, err: aborted,
			status: recorder.StatusFailed, code: recorder.CodeUpload,
		},
	} {
		t.Run(name, func(t *testing.T) {
			part := recorder.Part{Part: 1, StartedAt: 10, EndedAt: 20, EndReason: c.last, Files: c.files}
			if c.segment != nil {
				part.Segments = []recorder.SegmentsResult{*c.segment}
			}
			if c.image != nil {
				part.Images = []recorder.ImagesResult{*c.image}
			}
			rec := recorder.Recording{
				Status: recorder.StatusEnding, Part: 2, EndReason: c.reason, Error: c.err, EndedAt: 40, Earlier: []recorder.Part{part},
				Files: []recorder.FileResult{{Filename: "a.part2.mp4", State: recorder.FileEmpty}},
			}
			if c.began {
				rec.StartedAt, rec.Files[0].State = 30, recorder.FileDelivered
			}
			got := recorder.Conclude(rec)
			assert.Equal(t, c.status, got.Status)
			assert.Equal(t, c.reason, got.EndReason)
			if c.code == "" {
				assert.Nil(t, got.Error)
			} else {
				require.NotNil(t, got.Error)
				assert.Equal(t, c.code, got.Error.Code)
			}
			if !c.began {
				assert.Equal(t, 1, got.Part, "a part that never began leaves nothing")
				assert.EqualValues(t, 10, got.StartedAt)
				assert.Equal(t, c.files, got.Files)
				assert.Empty(t, got.Earlier)
			}
			assert.Len(t, rec.Earlier, 1, "what was given stays")
			assert.Equal(t, "a.part2.mp4", rec.Files[0].Filename)
			again := recorder.Conclude(got)
			assert.Equal(t, got, again)
		})
	}
}

func TestLimitsCountOverAllParts(t *testing.T) {
	earlier := func(ago time.Duration) []recorder.Part {
		return []recorder.Part{
			{Part: 1, StartedAt: time.Now().Add(-ago).UnixNano(), Files: []recorder.FileResult{{Size: 100}, {Size: 150_000}}},
			{Part: 2, StartedAt: time.Now().Add(-ago / 2).UnixNano(), Segments: []recorder.SegmentsResult{{Series: recorder.Series{Size: 40_000}}}},
		}
	}
	t.Run("max_duration", func(t *testing.T) {
		onStage(t, func(s *stage) {
			s.earlier = earlier(40 * time.Minute)
			s.job.Limits.MaxDuration = recorder.Duration(time.Hour)
			s.begin()
			assert.Equal(t, recorder.EndMaxDuration, s.end().EndReason)
			assert.Equal(t, 20*time.Minute, time.Since(s.began))
		})
	})
	t.Run("max_size", func(t *testing.T) {
		onStage(t, func(s *stage) {
			s.earlier = earlier(time.Minute)
			s.job.Limits.MaxSize = 200_000
			s.begin()
			s.pipeline.Change(func(snap *recorder.Snapshot) { snap.Stats.Bytes = 9_999 })
			time.Sleep(5 * time.Second)
			synctest.Wait()
			assert.Equal(t, recorder.StatusActive, s.last().Status)
			s.pipeline.Change(func(snap *recorder.Snapshot) { snap.Stats.Bytes = 10_000 })
			assert.Equal(t, recorder.EndMaxSize, s.end().EndReason)
		})
	})
}

// A room that somebody recorded and that does not exist is over: nobody will make it.
func TestFurtherPartOfARoomThatIsOver(t *testing.T) {
	inRoom(t, recorder.RoomState{}, nil, func(s *stage) {
		s.earlier = []recorder.Part{{Part: 1, StartedAt: time.Now().UnixNano()}}
		s.start(t.TempDir())
		rec := s.end()
		assert.Zero(t, time.Since(s.began).Round(100*time.Millisecond), "it is asked for once")
		assert.Equal(t, recorder.EndRoomClosed, rec.EndReason)
		assert.Contains(t, rec.Error.Message, "is over")
		assert.Empty(t, s.session.URLs(), "a page would make the room anew")
	})
}
