package recorder_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// passedOn gives what others find of a job that this worker was to go on with.
func (y *yard) passedOn(l *recordertest.FakeLease) recorder.Recording {
	y.t.Helper()
	<-l.Ended
	synctest.Wait()
	end := l.End()
	require.True(y.t, end.Released)
	assert.False(y.t, end.Counted, "it is no fault of the job's")
	require.NoError(y.t, end.Cause)
	assert.Empty(y.t, end.Finished)
	requireLegal(y.t, l)
	return end.Kept
}

// A worker that was restarted has filled its slots before the child of its last life has finalised what
// was cut off seconds ago: others record on, and what is here goes beside theirs.
func TestCutOffWithoutASlotIsPassedOn(t *testing.T) {
	inYard(t, func(y *yard) {
		tally := y.tally()
		delivered := make(chan struct{})
		y.spool.OnDeliver = func(_ context.Context, rec recorder.Recording) recorder.FileState {
			if rec.ID == "a" {
				<-delivered
			}
			return recorder.FileDelivered
		}
		_, state := lostJob()
		l := y.adopts(state)
		y.worker.Slots = 1
		served := map[string]bool{}
		y.worker.Began = func(job recorder.Job) func() {
			served[job.ID] = true
			return func() { served[job.ID] = false }
		}
		y.start()
		b := y.put("b")
		time.Sleep(6 * time.Second) // the child finalises
		entry := y.cut(func(rec *recorder.Recording) { rec.UpdatedAt -= int64(6 * time.Second) })
		kept := y.passedOn(l)
		assert.Equal(t, []any{2, int64(0)}, []any{kept.Part, kept.StartedAt})
		require.Len(t, kept.Earlier, 1)
		assert.Equal(t, recorder.EndWorkerLost, kept.Earlier[0].EndReason)
		assert.Equal(t, recorder.FilePending, kept.Earlier[0].Files[0].State)
		assert.Equal(t, []recorder.EndReason{recorder.EndWorkerLost}, tally.incidents)
		assert.Equal(t, map[string]bool{"a": false, "b": true}, served)
		assert.Equal(t, []string{"b"}, y.worker.Running())
		close(delivered)
		synctest.Wait()
		assert.True(t, entry.End().Given.Orphan, "who records on may have the name")
		assert.True(t, entry.End().Freed)
		assert.Equal(t, recorder.FileDelivered, y.queue.Amended("a")[0].State)
		b.Sent <- stopCommand()
		y.finished(b)
	})
}

// So it is where the worker shuts down while it waits for Redis.
func TestCutOffDuringAShutdownIsPassedOn(t *testing.T) {
	inYard(t, func(y *yard) {
		entry := y.cut()
		_, state := lostJob()
		adopted := make(chan struct{})
		l := recordertest.NewFakeLease(fileJob("a"), state)
		y.queue.OnAdopt = func(string) (recorder.Lease, error) {
			<-adopted
			return l, nil
		}
		y.start()
		y.stop()
		synctest.Wait()
		close(adopted)
		kept := y.passedOn(l)
		assert.Equal(t, 2, kept.Part)
		assert.True(t, entry.End().Freed)
	})
}

// A job that another worker had after this one, and lost, is passed on as well: that worker's part is told
// of as its own.
func TestTakenBackWithoutASlotIsPassedOn(t *testing.T) {
	theirs := func(status recorder.Status) recorder.Recording {
		_, rec := lostJob()
		rec.Part, rec.Status = 2, status
		rec.Earlier = []recorder.Part{{Part: 1, StartedAt: rec.StartedAt, EndReason: recorder.EndWorkerLost, Files: rec.Clone().Files}}
		rec.Files[0].Filename = "a.part2.mp4"
		return rec
	}
	t.Run("while they recorded", func(t *testing.T) {
		inYard(t, func(y *yard) {
			asked := y.rescues(0)
			l := y.adopts(theirs(recorder.StatusActive))
			l.Previous = "w2"
			y.worker.Slots = 1
			y.start()
			b := y.put("b")
			entry := y.cut()
			kept := y.passedOn(l)
			assert.Equal(t, 3, kept.Part)
			require.Len(t, kept.Earlier, 2)
			assert.Equal(t, "w2", kept.Earlier[1].Worker)
			assert.Equal(t, recorder.FilePending, kept.Earlier[1].Files[0].State)
			assert.Empty(t, *asked, "whoever records on does it")
			assert.True(t, entry.End().Freed)
			b.Sent <- stopCommand()
			y.finished(b)
		})
	})
	t.Run("when it had ended", func(t *testing.T) {
		inYard(t, func(y *yard) {
			rec := theirs(recorder.StatusEnding)
			rec.EndReason = recorder.EndSignal
			l := y.adopts(rec)
			y.start()
			entry := y.cut()
			<-l.Ended
			synctest.Wait()
			assert.True(t, l.End().Abandoned, "they may come back to deliver it")
			assert.Empty(t, y.worker.Running())
			assert.True(t, entry.End().Given.Orphan)
			assert.True(t, entry.End().Freed)
		})
	})
}
