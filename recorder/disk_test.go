package recorder_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

const mib = 1 << 20

// room sets what is free on the spool's disk.
func (y *yard) room(free int64) *atomic.Int64 {
	room := &atomic.Int64{}
	room.Store(free)
	y.spool.OnRoom = func() (int64, error) { return room.Load(), nil }
	return room
}

func TestNearlyFullDiskRefusesNewJobs(t *testing.T) {
	inYard(t, func(y *yard) {
		core, logs := observer.New(zap.InfoLevel)
		y.worker.Log, y.worker.MinFree = zap.New(core), 100*mib
		room := y.room(99 * mib)
		y.start()
		y.put("a")
		time.Sleep(time.Minute)
		assert.Zero(t, y.queue.Claims())
		load := y.worker.Load()
		assert.True(t, load.Unfit)
		assert.Contains(t, load.Why, "room for 99 MiB, and 100 MiB must be free")
		_, err := y.worker.Place(y.t.Context(), fileJob("placed"))
		require.ErrorContains(t, err, "100 MiB must be free")
		assert.Equal(t, 1, logs.FilterMessageSnippet("takes no job").Len(), "said once")

		room.Store(100 * mib)
		time.Sleep(2 * time.Second)
		assert.Equal(t, []string{"a"}, y.worker.Running())
		assert.False(t, y.worker.Load().Unfit)

		// The claim loop waits with a free slot when the room goes.
		room.Store(1)
		time.Sleep(2 * time.Second)
		b := y.put("b")
		time.Sleep(time.Minute)
		assert.Equal(t, []string{"a"}, y.worker.Running(), "what runs goes on")
		y.stop()
		time.Sleep(time.Hour + time.Minute)
		assert.False(t, y.running(), "a shutdown waits for no room")
		assert.Empty(t, b.End().Reports)
	})
}

func TestFullDiskEndsTheLargestRecordings(t *testing.T) {
	inYard(t, func(y *yard) {
		tally := y.tally()
		y.worker.Slots, y.worker.Reserve = 4, 50*mib
		room := y.room(100 * mib)
		sizes := map[string]int64{"a": 10, "b": 30, "c": 20}
		y.runner.Play = func(ctx context.Context, task recorder.Task, commands <-chan recorder.Command, report func(recorder.Recording)) recorder.Recording {
			return y.runner.Record(ctx, task, commands, func(rec recorder.Recording) {
				rec.Stats.Bytes = sizes[rec.ID]
				report(rec)
			})
		}
		y.start()
		a, b, c := y.put("a"), y.put("b"), y.put("c")
		time.Sleep(time.Minute + 500*time.Millisecond) // it is looked at every second
		assert.Len(t, y.worker.Running(), 3)

		room.Store(50*mib - 1)
		time.Sleep(time.Second)
		rec := y.finished(b)
		assert.Equal(t, recorder.StatusLimitReached, rec.Status)
		assert.Equal(t, recorder.EndDiskFull, rec.EndReason)
		assert.Nil(t, rec.Error)
		assert.Empty(t, rec.Earlier, "it is no part")
		assert.Len(t, y.worker.Running(), 2, "one after the other")
		assert.True(t, y.worker.Load().Unfit, "what is freed is not for new jobs")
		time.Sleep(time.Second)
		assert.Equal(t, recorder.EndDiskFull, y.finished(c).EndReason)
		room.Store(50 * mib)
		time.Sleep(time.Minute)
		assert.Equal(t, []string{"a"}, y.worker.Running(), "there is room again")
		assert.Equal(t, []recorder.EndReason{recorder.EndDiskFull, recorder.EndDiskFull}, tally.incidents)
		a.Sent <- stopCommand()
		assert.Equal(t, recorder.StatusComplete, y.finished(a).Status)
	})
}

// What is slow to end is waited for.
func TestFullDiskEndsOneRecordingAtATime(t *testing.T) {
	inYard(t, func(y *yard) {
		y.worker.Reserve = 50 * mib
		room := y.room(100 * mib)
		finalised := make(chan struct{})
		y.runner.Play = func(ctx context.Context, task recorder.Task, commands <-chan recorder.Command, report func(recorder.Recording)) recorder.Recording {
			rec := y.runner.Record(ctx, task, commands, report)
			<-finalised
			return rec
		}
		y.start()
		y.put("a")
		y.put("b")
		room.Store(0)
		time.Sleep(time.Minute)
		ending := 0
		for _, e := range y.spool.Entries() {
			if e.Task().Recording.EndReason == recorder.EndDiskFull {
				ending++
			}
		}
		assert.Equal(t, 1, ending)
		close(finalised)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		assert.Empty(t, y.worker.Running())
	})
}

func TestRoomThatIsNotKnown(t *testing.T) {
	inYard(t, func(y *yard) {
		core, logs := observer.New(zap.ErrorLevel)
		y.worker.Log, y.worker.MinFree, y.worker.Reserve = zap.New(core), 1, 1
		y.spool.OnRoom = func() (int64, error) { return 0, errors.New("input/output error") }
		y.runner.Length = time.Minute
		y.start()
		assert.Equal(t, recorder.StatusComplete, y.finished(y.put("a")).Status)
		assert.Equal(t, 1, logs.FilterMessageSnippet("is not known").Len())
	})
}

// What the delivery of an ended recording frees is waited for, while there is room to wait.
func TestFullDiskWaitsForTheDelivery(t *testing.T) {
	inYard(t, func(y *yard) {
		y.worker.Slots, y.worker.Reserve = 4, 50*mib
		room := y.room(100 * mib)
		delivered := make(chan struct{})
		y.spool.OnDeliver = func(context.Context, recorder.Recording) recorder.FileState { <-delivered; return "" }
		y.start()
		for _, id := range []string{"a", "b", "c"} {
			y.put(id)
		}
		room.Store(40 * mib)
		time.Sleep(time.Minute)
		assert.Len(t, y.worker.Running(), 2, "its file is on its way")
		room.Store(20 * mib) // the storage is slow, or away
		time.Sleep(time.Minute)
		assert.Len(t, y.worker.Running(), 1)
		close(delivered)
		time.Sleep(time.Minute)
		assert.Empty(t, y.worker.Running(), "nothing came of it")
	})
}

// A recording whose job is somebody else's by now frees its room once it is delivered, however
// long it waits to be told of.
func TestFullDiskDoesNotWaitForAnOrphansJob(t *testing.T) {
	inYard(t, func(y *yard) {
		y.worker.Reserve = 50 * mib
		room := y.room(100 * mib)
		y.queue.OnAmend = func(string) error { return recorder.ErrConflict } // its owner goes on for hours
		delivered := make(chan struct{})
		y.spool.OnDeliver = func(context.Context, recorder.Recording) recorder.FileState { <-delivered; return "" }
		y.runner.Play = func(ctx context.Context, task recorder.Task, commands <-chan recorder.Command, report func(recorder.Recording)) recorder.Recording {
			rec := y.runner.Record(ctx, task, commands, report)
			time.Sleep(2 * time.Second) // finalises
			return rec
		}
		y.start()
		leases := map[string]*recordertest.FakeLease{"a": y.put("a"), "b": y.put("b")}
		room.Store(40 * mib)
		time.Sleep(2 * time.Second)
		for _, e := range y.spool.Entries() {
			if rec := e.Task().Recording; rec.EndReason == recorder.EndDiskFull {
				leases[rec.ID].Lose()
			}
		}
		time.Sleep(time.Minute)
		assert.Len(t, y.worker.Running(), 1, "what the first one frees is waited for")
		close(delivered)
		time.Sleep(time.Minute)
		assert.Empty(t, y.worker.Running(), "it was not enough")
		y.stop()
	})
}
