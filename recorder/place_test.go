package recorder_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

func errUnavailable() error { return &recorder.Error{Code: recorder.CodeUnavailable} }

func TestWorkerPlaces(t *testing.T) {
	inYard(t, func(y *yard) {
		serving := map[string]int{}
		var mu sync.Mutex
		y.worker.Began = func(job recorder.Job) func() {
			mu.Lock()
			defer mu.Unlock()
			serving[job.ID]++
			return func() {
				mu.Lock()
				defer mu.Unlock()
				serving[job.ID]--
			}
		}
		uploaded := make(chan struct{})
		y.spool.OnDeliver = func(context.Context, recorder.Recording) recorder.FileState { <-uploaded; return "" }
		_, err := y.worker.Place(y.t.Context(), fileJob("early"))
		require.ErrorIs(t, err, errUnavailable(), "it does not run")
		assert.Equal(t, recorder.Load{Slots: 2, Unfit: true, Why: "it has not begun"}, y.worker.Load())
		y.start()
		assert.Equal(t, recorder.Load{Slots: 2}, y.worker.Load())

		// One slot is free, and the claim loop waits with the other.
		inRoom := fileJob("a")
		inRoom.Source = recorder.Source{RoomName: "studio", CustomBaseURL: "https://example.com"}
		rec, err := y.worker.Place(y.t.Context(), inRoom)
		require.NoError(t, err)
		assert.Equal(t, recorder.StatusStarting, rec.Status)
		assert.Equal(t, "a", rec.ID)
		assert.Equal(t, 1, serving["a"], "it can be told to stop as soon as it is known")
		_, err = y.worker.Place(y.t.Context(), fileJob("b"))
		require.NoError(t, err)
		synctest.Wait()
		assert.Equal(t, recorder.Load{Slots: 2, Running: 2, Rooms: []string{"studio"}}, y.worker.Load())
		assert.False(t, y.worker.Load().Takes())
		assert.ElementsMatch(t, []string{"a", "b"}, y.worker.Running())
		_, err = y.worker.Place(y.t.Context(), fileJob("c"))
		require.ErrorIs(t, err, errUnavailable())
		assert.Contains(t, err.Error(), "2 of 2 slots")
		c := y.put("c")
		assert.Equal(t, 1, y.queue.Waiting(), "nothing is claimed without a slot")

		// A delivery holds no slot, and its job is served until it ended.
		a := y.queue.Placed("a")
		a.Sent <- stopCommand()
		synctest.Wait()
		assert.Equal(t, map[string]int{"a": 1, "b": 1, "c": 1}, serving)
		assert.ElementsMatch(t, []string{"b", "c"}, y.worker.Running())
		close(uploaded)
		y.finished(a)
		assert.Equal(t, map[string]int{"a": 0, "b": 1, "c": 1}, serving)

		// What is another worker's is not served here.
		b := y.queue.Placed("b")
		b.Lose()
		synctest.Wait()
		assert.Equal(t, map[string]int{"a": 0, "b": 0, "c": 1}, serving)

		y.stop()
		synctest.Wait()
		assert.True(t, y.worker.Load().Draining)
		_, err = y.worker.Place(y.t.Context(), fileJob("late"))
		require.ErrorIs(t, err, errUnavailable())
		c.Sent <- stopCommand()
		y.finished(c)
		assert.False(t, y.running())
		assert.Equal(t, map[string]int{"a": 0, "b": 0, "c": 0}, serving)
	})
}

func TestWorkerFreesTheSlotOfARefusedPlace(t *testing.T) {
	inYard(t, func(y *yard) {
		y.worker.Slots = 1
		y.start()
		y.queue.OnPlace = func(recorder.Job) error { return recorder.Errorf(recorder.CodeConflict, "job x is alike") }
		_, err := y.worker.Place(y.t.Context(), fileJob("a"))
		require.ErrorIs(t, err, recorder.ErrConflict)
		y.queue.OnPlace = nil
		gone, cancel := context.WithCancel(y.t.Context())
		cancel()
		_, err = y.worker.Place(gone, fileJob("a"))
		require.Error(t, err)
		assert.Zero(t, y.worker.Load().Running)
		a := y.put("a") // the claim loop has its slot again
		a.Sent <- stopCommand()
		y.finished(a)
	})
}

func TestUnfitWorkerTakesNoPlace(t *testing.T) {
	inYard(t, func(y *yard) {
		y.start()
		y.spool.CreateErr = errors.New("no space left on device")
		_, err := y.worker.Place(y.t.Context(), fileJob("a"))
		require.NoError(t, err)
		synctest.Wait()
		assert.True(t, y.queue.Placed("a").End().Released, "another worker gets it")
		assert.True(t, y.worker.Load().Unfit)
		_, err = y.worker.Place(y.t.Context(), fileJob("b"))
		require.ErrorIs(t, err, errUnavailable())
		y.spool.CreateErr = nil
		time.Sleep(time.Second)
		assert.False(t, y.worker.Load().Unfit)
		_, err = y.worker.Place(y.t.Context(), fileJob("b"))
		require.NoError(t, err)
		y.queue.Placed("b").Sent <- stopCommand()
		y.finished(y.queue.Placed("b"))
	})
}

// However many jobs come by both ways at once, no more run than there are slots,
// no slot is forgotten, and every job that was taken is seen through once.
func TestSlotsAreNeverOvercommitted(t *testing.T) {
	for slots := 1; slots <= 4; slots++ {
		t.Run(fmt.Sprintf("%d slots", slots), func(t *testing.T) {
			inYard(t, func(y *yard) { overcommit(t, y, slots) })
		})
	}
}

func overcommit(t *testing.T, y *yard, slots int) {
	var mu sync.Mutex
	running, most, runs := 0, 0, map[string]int{}
	y.worker.Slots = slots
	y.runner.Started = nil
	y.runner.Play = func(ctx context.Context, task recorder.Task, commands <-chan recorder.Command, report func(recorder.Recording)) recorder.Recording {
		mu.Lock()
		running++
		most = max(most, running)
		runs[task.Job.ID]++
		mu.Unlock()
		time.Sleep(time.Duration(1+rand.IntN(20)) * time.Millisecond)
		defer func() {
			mu.Lock()
			defer mu.Unlock()
			running--
		}()
		stopped := make(chan recorder.Command, 1)
		stopped <- stopCommand()
		return y.runner.Record(ctx, task, stopped, report)
	}
	y.start()
	const jobs = 30
	var leases []*recordertest.FakeLease
	for i := range jobs {
		job := fileJob(fmt.Sprintf("claimed-%d", i))
		l := recordertest.NewFakeLease(job, recorder.NewRecording(job, time.Now()))
		leases = append(leases, l)
		time.AfterFunc(time.Duration(rand.IntN(300))*time.Millisecond, func() { y.queue.Put(l) })
	}
	var placing sync.WaitGroup
	placed := 0
	for i := range jobs {
		placing.Go(func() {
			time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
			for {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rand.IntN(3))*time.Millisecond)
				_, err := y.worker.Place(ctx, fileJob(fmt.Sprintf("placed-%d", i)))
				cancel()
				if err == nil {
					mu.Lock()
					defer mu.Unlock()
					placed++
					return
				}
				time.Sleep(time.Duration(1+rand.IntN(30)) * time.Millisecond)
			}
		})
	}
	placing.Wait()
	for _, l := range leases {
		y.finished(l)
	}
	for i := range jobs {
		y.finished(y.queue.Placed(fmt.Sprintf("placed-%d", i)))
	}
	assert.Equal(t, jobs, placed)
	assert.Equal(t, slots, most, "all slots were in use, and never more")
	assert.Len(t, runs, 2*jobs)
	for id, n := range runs {
		assert.Equal(t, 1, n, id)
	}
	assert.Zero(t, y.worker.Load().Running)
}

// A recording that was taken up from the spool is served until it is delivered, and
// what arrives for a job that ended without it is added, series included.
func TestWorkerServesWhatItTakesUp(t *testing.T) {
	inYard(t, func(y *yard) {
		var served, serving []string
		y.worker.Began = func(job recorder.Job) func() {
			served, serving = append(served, job.ID), append(serving, job.ID)
			return func() { serving = nil }
		}
		uploaded := make(chan struct{})
		y.spool.OnDeliver = func(context.Context, recorder.Recording) recorder.FileState { <-uploaded; return "" }
		y.left(func(*recorder.Recording) {}, true)
		lease := y.adoptable()
		y.start()
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Equal(t, []string{"a"}, serving)
		assert.Zero(t, y.worker.Load().Running, "a delivery holds no slot")
		close(uploaded)
		y.finished(lease)
		assert.Empty(t, serving)
		assert.Equal(t, []string{"a"}, served)
	})
	inYard(t, func(y *yard) {
		y.left(func(rec *recorder.Recording) {
			rec.Status, rec.EndedAt = recorder.StatusEnding, 1
			rec.Files = nil
			rec.Segments = []recorder.SegmentsResult{
				{PlaylistName: "a.m3u8", Series: recorder.Series{State: recorder.FileDelivered}},
				{PlaylistName: "nothing.m3u8", Series: recorder.Series{State: recorder.FileEmpty}},
			}
			rec.Images = []recorder.ImagesResult{{FilenamePrefix: "a", Series: recorder.Series{State: recorder.FileDelivered}}}
		}, false)
		y.queue.OnAdopt = func(string) (recorder.Lease, error) { return nil, recorder.ErrConflict }
		y.start()
		synctest.Wait()
		late := y.queue.AmendedTo("a")
		require.Len(t, late.Segments, 1)
		assert.Equal(t, "a.m3u8", late.Segments[0].PlaylistName)
		assert.Len(t, late.Images, 1)
	})
}
