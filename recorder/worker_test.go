package recorder_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

func fileJob(id string) recorder.Job {
	return recorder.Job{
		ID: id, Source: recorder.Source{URL: "https://example.com"},
		Files: []recorder.FileOutput{{Filepath: "{id}.mp4"}},
	}
}

// yard is one Worker on fakes, within a synctest bubble.
type yard struct {
	t      *testing.T
	worker *recorder.Worker
	queue  *recordertest.FakeQueue
	spool  *recordertest.FakeSpool
	runner *recordertest.FakeRunner
	stop   context.CancelFunc
	hurry  chan struct{}
	ended  chan error
}

func inYard(t *testing.T, scene func(y *yard)) {
	t.Helper()
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		y := &yard{
			t: t, queue: &recordertest.FakeQueue{}, spool: &recordertest.FakeSpool{Root: root},
			runner: &recordertest.FakeRunner{Started: make(chan recorder.Task, 64)},
			hurry:  make(chan struct{}), ended: make(chan error, 1),
		}
		y.worker = &recorder.Worker{
			ID: "w1", Queue: y.queue, Runner: y.runner, Spool: y.spool, Slots: 2,
			DrainTimeout: time.Hour, DeliverGrace: time.Minute, Now: time.Now, Log: zap.NewNop(),
		}
		scene(y)
		y.stop()
		synctest.Wait()
	})
}

func (y *yard) start() {
	ctx, cancel := context.WithCancel(context.Background())
	y.stop = cancel
	go func() { y.ended <- y.worker.Run(ctx, y.hurry) }()
	synctest.Wait()
}

func (y *yard) put(id string) *recordertest.FakeLease {
	job := fileJob(id)
	return y.putAs(job, recorder.NewRecording(job, time.Now()))
}

func (y *yard) putAs(job recorder.Job, rec recorder.Recording) *recordertest.FakeLease {
	l := y.queue.Put(recordertest.NewFakeLease(job, rec))
	synctest.Wait()
	return l
}

func (y *yard) running() bool {
	select {
	case err := <-y.ended:
		require.NoError(y.t, err)
		return false
	default:
		return true
	}
}

// finished gives the one result of a lease.
func (y *yard) finished(l *recordertest.FakeLease) recorder.Recording {
	y.t.Helper()
	<-l.Ended
	synctest.Wait()
	end := l.End()
	require.Len(y.t, end.Finished, 1)
	assert.False(y.t, end.Released)
	assert.False(y.t, end.Abandoned)
	return end.Finished[0]
}

func stopCommand() recorder.Command { return recorder.Command{Kind: recorder.CommandStop} }

func TestWorkerClaimsOnlyWithAFreeSlot(t *testing.T) {
	inYard(t, func(y *yard) {
		y.start()
		a, b := y.put("a"), y.put("b")
		c := y.put("c")
		assert.Equal(t, 2, y.queue.Claims())
		assert.Equal(t, 1, y.queue.Waiting())
		assert.ElementsMatch(t, []string{"a", "b"}, y.worker.Running())

		a.Sent <- stopCommand()
		rec := y.finished(a)
		assert.Equal(t, recorder.StatusComplete, rec.Status)
		assert.False(t, y.spool.Entries()[0].End().Given.Orphan)
		assert.Equal(t, recorder.EndStopped, rec.EndReason)
		assert.Equal(t, "w1", rec.Worker)
		assert.Equal(t, "a.mp4", rec.Files[0].Filename)
		assert.Equal(t, recorder.FileDelivered, rec.Files[0].State)
		assert.ElementsMatch(t, []string{"b", "c"}, y.worker.Running())

		at := recorder.StatusQueued
		for _, r := range append(a.End().Reports, rec) {
			assert.True(t, r.Status == at || at.Follows(r.Status), "%s after %s", r.Status, at)
			at = r.Status
		}
		for _, l := range []*recordertest.FakeLease{b, c} {
			l.Sent <- stopCommand()
			y.finished(l)
		}
		for _, e := range y.spool.Entries() {
			assert.True(t, e.End().Freed)
		}
	})
}

func TestWorkerFreesItsSlotForTheDelivery(t *testing.T) {
	inYard(t, func(y *yard) {
		y.worker.Slots = 0 // at least one
		uploaded := make(chan struct{})
		y.spool.OnDeliver = func(context.Context, recorder.Recording) recorder.FileState { <-uploaded; return "" }
		y.start()
		a, b := y.put("a"), y.put("b")
		assert.Equal(t, []string{"a"}, y.worker.Running())
		a.Sent <- stopCommand()
		synctest.Wait()
		assert.Equal(t, []string{"b"}, y.worker.Running())
		assert.Empty(t, a.End().Finished)
		assert.Equal(t, recorder.StatusEnding, a.End().Reports[len(a.End().Reports)-1].Status)
		close(uploaded)
		y.finished(a)
		b.Sent <- stopCommand()
		y.finished(b)
	})
}

func TestWorkerClaimsAgainAfterAnError(t *testing.T) {
	inYard(t, func(y *yard) {
		y.queue.ClaimErrs = []error{errors.New("NOAUTH"), recorder.ErrNoWork, errors.New("timeout")}
		y.runner.Length = time.Second
		y.start()
		y.finished(y.put("a"))
		assert.GreaterOrEqual(t, y.queue.Claims(), 4)
	})
}

func TestDrainLetsRecordingsGoOn(t *testing.T) {
	inYard(t, func(y *yard) {
		y.start()
		a := y.put("a")
		y.stop()
		synctest.Wait()
		claims := y.queue.Claims()
		y.put("late")
		time.Sleep(30 * time.Minute)
		assert.Equal(t, claims, y.queue.Claims(), "nothing more is claimed")
		assert.Equal(t, []string{"a"}, y.worker.Running())
		a.Sent <- stopCommand() // commands reach a draining worker
		assert.Equal(t, recorder.EndStopped, y.finished(a).EndReason)
		assert.False(t, y.running())
	})
}

func TestDrainTimeoutEndsRecordings(t *testing.T) {
	inYard(t, func(y *yard) {
		y.start()
		a, b := y.put("a"), y.put("b")
		y.stop()
		began := time.Now()
		for _, l := range []*recordertest.FakeLease{a, b} {
			rec := y.finished(l)
			assert.Equal(t, recorder.EndDrained, rec.EndReason)
			assert.Equal(t, recorder.StatusComplete, rec.Status)
			ending := 0
			for _, r := range l.End().Reports {
				if r.Status == recorder.StatusEnding {
					ending++
				}
			}
			assert.GreaterOrEqual(t, ending, 2, "how a stopped recording ends is reported")
		}
		assert.Equal(t, time.Hour, time.Since(began))
		assert.False(t, y.running())
	})
}

// The drain timeout finalises; only a second signal hurries.
func TestDrainTimeoutSendsNoSecondStop(t *testing.T) {
	inYard(t, func(y *yard) {
		y.runner.Play = func(ctx context.Context, task recorder.Task, commands <-chan recorder.Command, report func(recorder.Recording)) recorder.Recording {
			rec := y.runner.Record(ctx, task, nil, report)
			assert.Equal(t, recorder.Stop{Reason: recorder.EndDrained}, context.Cause(ctx))
			assert.Empty(t, commands, "a command beside the context counts as a second stop")
			return rec
		}
		y.start()
		a := y.put("a")
		y.stop()
		y.finished(a)
		require.False(t, y.running())
	})
}

func TestHurryEndsRecordingsNow(t *testing.T) {
	inYard(t, func(y *yard) {
		var got []recorder.Command
		y.runner.Play = func(ctx context.Context, task recorder.Task, commands <-chan recorder.Command, report func(recorder.Recording)) recorder.Recording {
			rec := y.runner.Record(ctx, task, nil, report)
			got = append(got, <-commands)
			return rec
		}
		y.start()
		a := y.put("a")
		y.stop()
		synctest.Wait()
		began := time.Now()
		close(y.hurry)
		assert.Equal(t, recorder.EndDrained, y.finished(a).EndReason)
		assert.Zero(t, time.Since(began))
		assert.Equal(t, []recorder.Command{{Kind: recorder.CommandStop, Reason: recorder.EndDrained, Now: true}}, got)
		assert.False(t, y.running())
	})
}

// A drain's stop must reach a recording that takes no commands, and one whose
// command queue somebody filled.
func TestDrainEndsARecordingThatTakesNoCommands(t *testing.T) {
	inYard(t, func(y *yard) {
		y.runner.Play = func(ctx context.Context, task recorder.Task, _ <-chan recorder.Command, report func(recorder.Recording)) recorder.Recording {
			return y.runner.Record(ctx, task, nil, report)
		}
		y.start()
		a := y.put("a")
		for range 60 {
			a.Sent <- recorder.Command{Kind: recorder.CommandUpdate}
		}
		synctest.Wait()
		y.stop()
		assert.Equal(t, recorder.EndDrained, y.finished(a).EndReason)
		assert.False(t, y.running())
	})
}

// The job is claimed, but its recording has not begun, when the drain ends all others.
func TestDrainReachesAJobThatIsJustClaimed(t *testing.T) {
	inYard(t, func(y *yard) {
		y.worker.DrainTimeout = 0
		created := make(chan struct{})
		y.worker.Spool = slowSpool{y.spool, created}
		y.start()
		a := y.put("a")
		y.stop()
		time.Sleep(time.Minute)
		close(created)
		assert.Equal(t, recorder.EndDrained, y.finished(a).EndReason)
		assert.False(t, y.running())
	})
}

type slowSpool struct {
	*recordertest.FakeSpool
	created chan struct{}
}

func (s slowSpool) Create(task recorder.Task) (recorder.SpoolEntry, error) {
	<-s.created
	return s.FakeSpool.Create(task)
}

func TestDeliverGrace(t *testing.T) {
	stuck := func(ctx context.Context, _ recorder.Recording) recorder.FileState {
		<-ctx.Done()
		return recorder.FilePending
	}
	for name, c := range map[string]struct {
		hurry func(y *yard)
		waits time.Duration
	}{
		"patient":                      {func(*yard) {}, time.Minute},
		"hurried in the delivery":      {func(y *yard) { close(y.hurry) }, 10 * time.Second},
		"hurried late in the delivery": {func(y *yard) { time.Sleep(55 * time.Second); y.hurry <- struct{}{} }, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			inYard(t, func(y *yard) {
				y.spool.OnDeliver = stuck
				y.start()
				a := y.put("a")
				a.Sent <- stopCommand()
				synctest.Wait()
				y.stop()
				synctest.Wait()
				began := time.Now()
				c.hurry(y)
				require.NoError(t, <-y.ended)
				assert.Equal(t, c.waits, time.Since(began))
				end := a.End()
				assert.True(t, end.Abandoned, "the lease is left to whoever has the spool")
				assert.Empty(t, end.Finished)
				entry := y.spool.Entries()[0].End()
				assert.True(t, entry.Closed)
				assert.False(t, entry.Freed)
				assert.NotZero(t, entry.Saves[len(entry.Saves)-1].EndedAt)
			})
		})
	}
}

func TestHurriedWhileRecordingShortensTheGrace(t *testing.T) {
	inYard(t, func(y *yard) {
		y.spool.OnDeliver = func(ctx context.Context, _ recorder.Recording) recorder.FileState {
			<-ctx.Done()
			return recorder.FilePending
		}
		y.start()
		y.put("a")
		y.stop()
		synctest.Wait()
		began := time.Now()
		y.hurry <- struct{}{}
		require.NoError(t, <-y.ended)
		assert.Equal(t, 10*time.Second, time.Since(began))
	})
}

func TestLeaseLostWhileRecording(t *testing.T) {
	inYard(t, func(y *yard) {
		var cause error
		y.runner.Play = func(ctx context.Context, task recorder.Task, commands <-chan recorder.Command, report func(recorder.Recording)) recorder.Recording {
			rec := y.runner.Record(ctx, task, commands, report)
			if task.Job.ID == "a" {
				cause = context.Cause(ctx)
			}
			return rec
		}
		tries := 0
		y.queue.OnAmend = func(string) error { // its owner records still
			if tries++; tries < 3 {
				return recorder.ErrConflict
			}
			return nil
		}
		y.start()
		a := y.put("a")
		a.Lose()
		synctest.Wait()
		assert.Equal(t, recorder.Stop{Reason: recorder.EndLeaseLost, Now: true}, cause)
		assert.Empty(t, y.worker.Running(), "the slot is free")
		b := y.put("b")
		assert.Equal(t, []string{"b"}, y.worker.Running())
		time.Sleep(time.Minute)
		end := a.End()
		assert.Empty(t, end.Finished)
		assert.False(t, end.Released)
		files := y.queue.Amended("a")
		require.Len(t, files, 1)
		assert.Equal(t, recorder.FileDelivered, files[0].State)
		assert.True(t, y.spool.Entries()[0].End().Given.Orphan)
		assert.True(t, y.spool.Entries()[0].End().Freed)
		b.Sent <- stopCommand()
		y.finished(b)
	})
}

func TestLeaseLostThatIsNeverAmended(t *testing.T) {
	inYard(t, func(y *yard) {
		y.queue.OnAmend = func(string) error { return recorder.ErrConflict }
		y.start()
		y.put("a").Lose()
		time.Sleep(time.Minute)
		y.stop()
		began := time.Now()
		require.NoError(t, <-y.ended)
		assert.Zero(t, time.Since(began), "a shutdown does not wait for the job's owner")
		entry := y.spool.Entries()[0].End()
		assert.True(t, entry.Closed, "a later life tries again")
		assert.False(t, entry.Freed)
	})
}

// The same worker claims a job again whose lease it lost: the end of the first
// recording must not hide the second from a drain.
func TestJobClaimedTwiceByOneWorker(t *testing.T) {
	inYard(t, func(y *yard) {
		y.start()
		first, second := y.put("a"), y.put("a")
		assert.Equal(t, []string{"a", "a"}, y.worker.Running())
		first.Lose()
		synctest.Wait()
		assert.Equal(t, []string{"a"}, y.worker.Running())
		y.stop()
		assert.Equal(t, recorder.EndDrained, y.finished(second).EndReason)
		assert.False(t, y.running())
	})
}

func TestLeaseLostWhileDelivering(t *testing.T) {
	inYard(t, func(y *yard) {
		uploaded := make(chan struct{})
		y.spool.OnDeliver = func(context.Context, recorder.Recording) recorder.FileState { <-uploaded; return "" }
		y.start()
		a := y.put("a")
		a.Sent <- stopCommand()
		synctest.Wait()
		a.Lose()
		close(uploaded)
		synctest.Wait()
		assert.Empty(t, a.End().Finished)
		assert.Len(t, y.queue.Amended("a"), 1)
		assert.True(t, y.spool.Entries()[0].End().Freed)
	})
}

func TestWhatIsGivenBack(t *testing.T) {
	for name, c := range map[string]struct {
		code     recorder.Code
		reason   recorder.EndReason
		started  int64
		released bool
		status   recorder.Status
	}{
		"session died at the start":     {recorder.CodeSessionDied, recorder.EndSessionDied, 0, true, ""},
		"no session to be had":          {recorder.CodeUnavailable, recorder.EndSessionDied, 0, true, ""},
		"child died at the start":       {recorder.CodeChildDied, recorder.EndChildDied, 0, true, ""},
		"drained before the start":      {recorder.CodeAborted, recorder.EndDrained, 0, true, ""},
		"page did not load":             {recorder.CodePageLoad, recorder.EndStartFailed, 0, false, recorder.StatusFailed},
		"page crashed at every load":    {recorder.CodePageCrashed, recorder.EndStartFailed, 0, false, recorder.StatusFailed},
		"no start signal":               {recorder.CodeStartTimeout, recorder.EndStartFailed, 0, false, recorder.StatusFailed},
		"stopped before the start":      {recorder.CodeAborted, recorder.EndStopped, 0, false, recorder.StatusAborted},
		"pipeline failed at the start":  {recorder.CodePipeline, recorder.EndPipeline, 0, false, recorder.StatusFailed},
		"session died in the recording": {recorder.CodeSessionDied, recorder.EndSessionDied, 1, false, recorder.StatusFailed},
		"child died in the recording":   {recorder.CodeChildDied, recorder.EndChildDied, 1, false, recorder.StatusFailed},
	} {
		t.Run(name, func(t *testing.T) {
			inYard(t, func(y *yard) {
				y.runner.Play = func(_ context.Context, task recorder.Task, _ <-chan recorder.Command, report func(recorder.Recording)) recorder.Recording {
					rec := task.Recording.Clone()
					report(rec)
					rec.Status, rec.StartedAt, rec.EndedAt = recorder.StatusEnding, c.started, 2
					rec.Files[0].State = recorder.FileEmpty
					if c.started != 0 {
						rec.Files[0].State = recorder.FilePending
					}
					rec.Fail(recorder.Errorf(c.code, "it failed"), c.code, c.reason)
					report(rec)
					return rec
				}
				y.start()
				a := y.put("a")
				<-a.Ended
				synctest.Wait()
				assert.True(t, y.spool.Entries()[0].End().Freed)
				end := a.End()
				if c.released {
					assert.True(t, end.Released)
					assert.Equal(t, c.reason == recorder.EndDrained, end.Cause == nil, "our own shutdown is no cause to wait")
					ours := c.reason == recorder.EndDrained || c.code == recorder.CodeUnavailable
					assert.Equal(t, !ours, end.Counted, "what is this worker's fault is no try of the job's")
					for _, r := range end.Reports {
						assert.Equal(t, recorder.StatusStarting, r.Status, "what is given back never was ending")
					}
					assert.False(t, end.Abandoned)
					assert.Empty(t, end.Finished)
					return
				}
				assert.False(t, end.Released)
				require.Len(t, end.Finished, 1)
				assert.Equal(t, c.status, end.Finished[0].Status)
			})
		})
	}
}

func TestSpoolThatRefuses(t *testing.T) {
	inYard(t, func(y *yard) {
		y.spool.CreateErr = errors.New("no space left on device")
		y.start()
		a := y.put("a")
		<-a.Ended
		assert.ErrorContains(t, a.End().Cause, "no space left")
		assert.Equal(t, recorder.CodeUnavailable, recorder.CodeOf(a.End().Cause))
		assert.False(t, a.End().Counted)
		assert.Empty(t, y.worker.Running())
	})
}

// unfit makes the session of every job but good ones fail.
func (y *yard) unfit(good ...string) {
	y.runner.Play = func(ctx context.Context, task recorder.Task, commands <-chan recorder.Command, report func(recorder.Recording)) recorder.Recording {
		if slices.Contains(good, task.Job.ID) {
			return y.runner.Record(ctx, task, commands, report)
		}
		rec := task.Recording.Clone()
		rec.Status, rec.EndedAt = recorder.StatusEnding, 2
		rec.Files[0].State = recorder.FileEmpty
		rec.Fail(recorder.Errorf(recorder.CodeUnavailable, "no Chrome"), "", recorder.EndSessionDied)
		return rec
	}
}

// A worker that can record nothing leaves the queue to others, and says so once.
func TestUnfitWorkerHoldsBack(t *testing.T) {
	inYard(t, func(y *yard) {
		core, logs := observer.New(zap.InfoLevel)
		y.worker.Log, y.worker.Slots = zap.New(core), 1
		y.runner.Length = time.Second
		y.unfit("good")
		y.start()
		var leases []*recordertest.FakeLease
		for i := range 30 {
			leases = append(leases, y.put(fmt.Sprintf("job%d", i)))
		}
		time.Sleep(5 * time.Minute)
		claims := y.queue.Claims()
		assert.Less(t, claims, 15)
		assert.Greater(t, claims, 8)
		for _, l := range leases[:claims] {
			assert.True(t, l.End().Released)
			assert.False(t, l.End().Counted, "no job is to suffer for it")
		}
		assert.Equal(t, 1, logs.FilterMessageSnippet("cannot record").Len())
		y.unfit("good", "job29")
		for y.queue.Waiting() > 1 { // the others
			_, err := y.queue.Claim(context.Background())
			require.NoError(t, err)
		}
		y.finished(leases[29])
		assert.Equal(t, 1, logs.FilterMessageSnippet("can record again").Len())
		began := time.Now()
		y.finished(y.put("good"))
		assert.Equal(t, time.Second, time.Since(began), "no rest any more")
	})
}

// A job that no machine can show ends one day.
func TestJobThatNoWorkerCanOpen(t *testing.T) {
	counted := func(y *yard, n int) (counted []bool) {
		for range n {
			l := y.put("huge")
			<-l.Ended
			counted = append(counted, l.End().Counted)
		}
		return counted
	}
	t.Run("among others", func(t *testing.T) {
		inYard(t, func(y *yard) {
			y.runner.Length = time.Second
			y.unfit("good")
			y.start()
			for range 3 {
				y.finished(y.put("good"))
				assert.Equal(t, []bool{true}, counted(y, 1), "this worker was fit a moment ago")
			}
		})
	})
	t.Run("alone", func(t *testing.T) {
		inYard(t, func(y *yard) {
			y.unfit()
			y.start()
			assert.Equal(t, []bool{false, false, false, false, false, false, false, true, true, true}, counted(y, 10), "one try a minute")
		})
	})
}

func TestTakeoverRecordsAFurtherPart(t *testing.T) {
	inYard(t, func(y *yard) {
		y.worker.MaxDuration = time.Hour
		job := fileJob("a")
		job.Files[0].Filepath = "{id}-{utc}.mp4"
		job.Limits.MaxDuration = recorder.Duration(2 * time.Hour)
		rec := recorder.NewRecording(job, time.Now())
		rec.Status, rec.StartedAt, rec.Part, rec.Attempt, rec.Worker = recorder.StatusActive, time.Now().UnixNano(), 2, 3, "w0"
		rec.EndReason, rec.Error = recorder.EndPageCrashed, recorder.Errorf(recorder.CodePageCrashed, "earlier")
		rec.Files[0].Filename, rec.Files[0].Size = "a.part2.mp4", 4711
		time.Sleep(9 * time.Minute)
		y.start()
		l := y.putAs(job, rec)
		task := <-y.runner.Started
		l.Sent <- stopCommand()
		assert.Equal(t, 3, task.Recording.Part)
		assert.Equal(t, 3, task.Recording.Attempt)
		assert.Equal(t, "w1", task.Recording.Worker)
		announced := time.Unix(0, rec.CreatedAt).UTC().Format("20060102150405000")
		assert.Equal(t, "a-"+announced+".part3.mp4", task.Recording.Files[0].Filename)
		assert.Equal(t, []string{"h264", "aac"}, task.Recording.Files[0].Codecs)
		assert.Equal(t, 1280, task.Recording.Files[0].Width)
		assert.Zero(t, task.Recording.Files[0].Size)
		assert.Zero(t, task.Recording.StartedAt)
		assert.Empty(t, task.Recording.EndReason)
		assert.Nil(t, task.Recording.Error)
		assert.Equal(t, recorder.Duration(time.Hour), task.Job.Limits.MaxDuration, "the worker's bound is the smaller one")
	})
}

func TestTakeoverOfAJobThatHadNotBegun(t *testing.T) {
	inYard(t, func(y *yard) {
		job := fileJob("a")
		rec := recorder.NewRecording(job, time.Now())
		rec.Status, rec.Attempt = recorder.StatusStarting, 2
		y.start()
		y.putAs(job, rec).Sent <- stopCommand()
		task := <-y.runner.Started
		assert.Equal(t, "a.mp4", task.Recording.Files[0].Filename)
		assert.Equal(t, 1, task.Recording.Part)
	})
}

// The job was being delivered by a worker that has not come back.
func TestEndingJobOfAnotherWorkerIsConcluded(t *testing.T) {
	ending := func() (recorder.Job, recorder.Recording) {
		job := fileJob("a")
		job.Files = append(job.Files, recorder.FileOutput{Filepath: "b.mp4"})
		rec := recorder.NewRecording(job, time.Unix(9, 0))
		rec.Status, rec.StartedAt, rec.EndReason, rec.Worker = recorder.StatusEnding, 77, recorder.EndSignal, "w0"
		rec.Files[0].State, rec.Files[1].State = recorder.FileDelivered, recorder.FileUploading
		return job, rec
	}
	t.Run("ended", func(t *testing.T) {
		inYard(t, func(y *yard) {
			y.start()
			rec := y.finished(y.putAs(ending()))
			assert.Equal(t, recorder.StatusFailed, rec.Status)
			assert.Equal(t, recorder.CodeWorkerLost, rec.Error.Code)
			assert.Equal(t, recorder.EndSignal, rec.EndReason)
			assert.NotZero(t, rec.EndedAt)
			assert.Empty(t, rec.Files[0].Error)
			assert.Contains(t, rec.Files[1].Error, "has not come back")
			assert.Empty(t, y.spool.Entries(), "nothing is recorded")
		})
	})
	t.Run("it came back", func(t *testing.T) {
		inYard(t, func(y *yard) {
			job, rec := ending()
			l := recordertest.NewFakeLease(job, rec)
			l.Lose()
			y.queue.Put(l)
			y.start()
			assert.Empty(t, y.queue.Amended("a"), "what its owner amends is newer")
			assert.Empty(t, l.End().Finished)
		})
	})
}

func TestFinishThatFails(t *testing.T) {
	inYard(t, func(y *yard) {
		y.start()
		job := fileJob("a")
		l := recordertest.NewFakeLease(job, recorder.NewRecording(job, time.Now()))
		l.OnFinish = func() error { return errors.New("redis is away") }
		y.queue.Put(l).Sent <- stopCommand()
		<-l.Ended
		synctest.Wait()
		assert.True(t, l.End().Abandoned)
		entry := y.spool.Entries()[0].End()
		assert.False(t, entry.Freed, "a later life must find it")
		assert.True(t, entry.Closed)
	})
}

// left is what an earlier life of the worker has in the spool, of a job that nobody goes
// on with.
func (y *yard) left(change func(*recorder.Recording), media bool) *recordertest.FakeEntry {
	job := fileJob("a")
	job.OnWorkerLoss = recorder.LossEnd
	rec := recorder.NewRecording(job, time.Now())
	rec.Status, rec.Worker, rec.Attempt = recorder.StatusActive, "w1", 1
	rec.StartedAt = time.Now().UnixNano()
	rec.Files[0].Filename = "a.mp4"
	change(&rec)
	task := recorder.Task{Job: job, Recording: rec, Dir: y.t.TempDir()}
	if media {
		require.NoError(y.t, recordertest.WriteMedia(task, 0))
	}
	e := y.spool.Entry(task)
	y.spool.Leave(e)
	return e
}

func (y *yard) adoptable() *recordertest.FakeLease {
	l := recordertest.NewFakeLease(fileJob("a"), recorder.Recording{})
	tries := 0
	y.queue.OnAdopt = func(string) (recorder.Lease, error) {
		if tries++; tries < 3 {
			return nil, errors.New("redis is away")
		}
		return l, nil
	}
	return l
}

func TestRecoveryOfACutRecording(t *testing.T) {
	for name, change := range map[string]func(*recorder.Recording){
		"while active": func(*recorder.Recording) {},
		"while it was finalised": func(rec *recorder.Recording) {
			rec.Status, rec.EndReason = recorder.StatusEnding, recorder.EndWorkerLost
		},
	} {
		t.Run(name, func(t *testing.T) {
			inYard(t, func(y *yard) {
				entry, lease := y.left(change, true), y.adoptable()
				y.start()
				rec := y.finished(lease)
				assert.Equal(t, recorder.StatusFailed, rec.Status)
				assert.Equal(t, recorder.CodeWorkerLost, rec.Error.Code)
				assert.Equal(t, recorder.EndWorkerLost, rec.EndReason)
				assert.NotZero(t, rec.EndedAt)
				assert.True(t, rec.Files[0].Partial)
				assert.Equal(t, recorder.FileDelivered, rec.Files[0].State)
				assert.EqualValues(t, 5, rec.Files[0].Size)
				end := entry.End()
				assert.Equal(t, recorder.StatusEnding, end.Saves[0].Status, "saved before anything else")
				assert.True(t, end.Freed)
			})
		})
	}
}

func TestRecoveryOfAnInterruptedDelivery(t *testing.T) {
	inYard(t, func(y *yard) {
		entry := y.left(func(rec *recorder.Recording) {
			rec.Status, rec.EndReason, rec.EndedAt = recorder.StatusEnding, recorder.EndSignal, 5
			rec.Files[0].State = recorder.FileUploading
		}, true)
		lease := y.adoptable()
		y.start()
		rec := y.finished(lease)
		assert.Equal(t, recorder.StatusComplete, rec.Status)
		assert.Equal(t, recorder.EndSignal, rec.EndReason)
		assert.False(t, rec.Files[0].Partial)
		assert.True(t, entry.End().Freed)
	})
}

func TestRecoveryHoldsNoSlot(t *testing.T) {
	inYard(t, func(y *yard) {
		uploaded := make(chan struct{})
		y.spool.OnDeliver = func(context.Context, recorder.Recording) recorder.FileState { <-uploaded; return "" }
		y.left(func(*recorder.Recording) {}, true)
		lease := y.adoptable()
		y.worker.Slots = 1
		y.start()
		b := y.put("b")
		assert.Equal(t, []string{"b"}, y.worker.Running())
		b.Sent <- stopCommand()
		close(uploaded)
		y.finished(b)
		y.finished(lease)
	})
}

func TestRecoveryOfAJobThatIsSomebodyElses(t *testing.T) {
	for _, refusal := range []error{recorder.ErrConflict, recorder.ErrNotFound} {
		t.Run(fmt.Sprint(refusal), func(t *testing.T) {
			inYard(t, func(y *yard) {
				entry := y.left(func(*recorder.Recording) {}, true)
				y.queue.OnAdopt = func(string) (recorder.Lease, error) { return nil, refusal }
				y.start()
				synctest.Wait()
				files := y.queue.Amended("a")
				require.Len(t, files, 1)
				assert.True(t, files[0].Partial)
				assert.True(t, entry.End().Given.Orphan)
				assert.True(t, entry.End().Freed)
			})
		})
	}
}

func TestRecoveryOfNothing(t *testing.T) {
	nothing := func(rec *recorder.Recording) { rec.Status, rec.StartedAt = recorder.StatusStarting, 0 }
	t.Run("given back", func(t *testing.T) {
		inYard(t, func(y *yard) {
			entry, lease := y.left(nothing, false), y.adoptable()
			y.start()
			<-lease.Ended
			synctest.Wait()
			assert.Equal(t, recorder.CodeWorkerLost, recorder.CodeOf(lease.End().Cause))
			assert.Empty(t, lease.End().Finished)
			assert.True(t, entry.End().Freed)
			assert.Zero(t, entry.End().Deliveries)
		})
	})
	t.Run("a page that had failed", func(t *testing.T) {
		inYard(t, func(y *yard) {
			y.left(func(rec *recorder.Recording) {
				nothing(rec)
				rec.Status, rec.EndedAt = recorder.StatusEnding, 5
				rec.Files[0].State = recorder.FileEmpty
				rec.Fail(recorder.Errorf(recorder.CodePageLoad, "HTTP 502"), recorder.CodePageLoad, recorder.EndStartFailed)
			}, false)
			lease := y.adoptable()
			y.start()
			rec := y.finished(lease)
			assert.Equal(t, recorder.StatusFailed, rec.Status)
			assert.Equal(t, recorder.CodePageLoad, rec.Error.Code)
		})
	})
	t.Run("a session that had died", func(t *testing.T) {
		inYard(t, func(y *yard) {
			y.left(func(rec *recorder.Recording) {
				nothing(rec)
				rec.Status, rec.EndedAt = recorder.StatusEnding, 5
				rec.Files[0].State = recorder.FileEmpty
				rec.Fail(recorder.ErrSessionDied, "", recorder.EndSessionDied)
			}, false)
			lease := y.adoptable()
			y.start()
			<-lease.Ended
			assert.ErrorIs(t, lease.End().Cause, recorder.ErrSessionDied)
		})
	})
}

// The worker died between the first frame and the note of it.
func TestRecoveryOfMediaNobodyNoted(t *testing.T) {
	inYard(t, func(y *yard) {
		y.left(func(rec *recorder.Recording) { rec.Status, rec.StartedAt = recorder.StatusStarting, 0 }, true)
		lease := y.adoptable()
		y.start()
		rec := y.finished(lease)
		assert.Equal(t, recorder.StatusFailed, rec.Status)
		assert.Equal(t, recorder.FileDelivered, rec.Files[0].State)
	})
}

func TestRecoveryDuringAShutdown(t *testing.T) {
	inYard(t, func(y *yard) {
		entry := y.left(func(*recorder.Recording) {}, true)
		lease := recordertest.NewFakeLease(fileJob("a"), recorder.Recording{})
		adopted := make(chan struct{})
		y.queue.OnAdopt = func(string) (recorder.Lease, error) { <-adopted; return lease, nil }
		y.start()
		y.stop()
		time.Sleep(2 * time.Minute)
		close(adopted)
		require.NoError(t, <-y.ended)
		assert.True(t, lease.End().Abandoned)
		assert.True(t, entry.End().Closed)
		assert.False(t, entry.End().Freed)
	})
}

func TestSpoolThatCannotBeRead(t *testing.T) {
	inYard(t, func(y *yard) {
		y.worker.Spool = brokenSpool{y.spool}
		y.start()
		assert.ErrorContains(t, <-y.ended, "input/output error")
		assert.Zero(t, y.queue.Claims())
	})
}

type brokenSpool struct{ *recordertest.FakeSpool }

func (brokenSpool) Left() ([]recorder.SpoolEntry, error) {
	return nil, errors.New("input/output error")
}

// Many jobs for few slots: each ends once, and no slot is ever idle.
func TestManyJobs(t *testing.T) {
	inYard(t, func(y *yard) {
		y.worker.Slots = 5
		y.runner.Length = 3 * time.Second
		y.start()
		var leases []*recordertest.FakeLease
		for i := range 60 {
			job := fileJob(fmt.Sprintf("job%d", i))
			leases = append(leases, y.queue.Put(recordertest.NewFakeLease(job, recorder.NewRecording(job, time.Now()))))
		}
		began := time.Now()
		for _, l := range leases {
			<-l.Ended
			synctest.Wait()
			require.Len(t, l.End().Finished, 1)
		}
		assert.Equal(t, 36*time.Second, time.Since(began), "12 rounds of 5")
	})
}

func TestEntryThatComesFreeWhileTheWorkerRuns(t *testing.T) {
	inYard(t, func(y *yard) {
		lease := y.adoptable()
		y.start()
		// A child that outlived the worker's earlier life has finalised its file.
		entry := y.left(func(*recorder.Recording) {}, true)
		assert.Equal(t, recorder.StatusFailed, y.finished(lease).Status)
		assert.True(t, entry.End().Freed)
		deliveries := len(entry.End().Saves)
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Len(t, entry.End().Saves, deliveries, "once a life")
	})
}
