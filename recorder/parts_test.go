package recorder_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// act is what one part does after its task came.
type act func(ctx context.Context, task recorder.Task, commands <-chan recorder.Command, report func(recorder.Recording)) recorder.Recording

// acts has the parts of a job go as said, one after the other; what follows them is recorded until
// it is stopped.
func (y *yard) acts(acts ...act) {
	var mu sync.Mutex
	y.runner.Play = func(ctx context.Context, task recorder.Task, commands <-chan recorder.Command, report func(recorder.Recording)) recorder.Recording {
		mu.Lock()
		next := act(y.runner.Record)
		if len(acts) > 0 {
			next, acts = acts[0], acts[1:]
		}
		mu.Unlock()
		return next(ctx, task, commands, report)
	}
}

// dies records for so long, and then something dies of it.
func dies(after time.Duration, reason recorder.EndReason) act {
	return func(ctx context.Context, task recorder.Task, _ <-chan recorder.Command, report func(recorder.Recording)) recorder.Recording {
		rec := task.Recording.Clone()
		report(rec.Clone())
		rec.Status, rec.StartedAt = recorder.StatusActive, time.Now().UnixNano()
		report(rec.Clone())
		pauseFor(ctx, after)
		rec.Fail(recorder.Errorf(recorder.CodeSessionDied, "it died"), "", reason)
		rec.Status, rec.EndedAt = recorder.StatusEnding, time.Now().UnixNano()
		for i := range rec.Files {
			rec.Files[i].State, rec.Files[i].Size = recorder.FilePending, 7
			rec.Files[i].StartedAt, rec.Files[i].EndedAt = rec.StartedAt, rec.EndedAt
		}
		for i := range rec.Streams {
			rec.Streams[i].State, rec.Streams[i].StartedAt, rec.Streams[i].Duration = recorder.StreamFinished, rec.StartedAt, int64(after)
		}
		report(rec.Clone())
		return rec
	}
}

// fails does not begin.
func fails(code recorder.Code, reason recorder.EndReason) act {
	return func(_ context.Context, task recorder.Task, _ <-chan recorder.Command, report func(recorder.Recording)) recorder.Recording {
		rec := task.Recording.Clone()
		report(rec.Clone())
		rec.Status, rec.EndedAt = recorder.StatusEnding, time.Now().UnixNano()
		rec.Fail(recorder.Errorf(code, "it did not begin"), code, reason)
		for i := range rec.Files {
			rec.Files[i].State = recorder.FileEmpty
		}
		report(rec.Clone())
		return rec
	}
}

// after starts late.
func after(d time.Duration, then act) act {
	return func(ctx context.Context, task recorder.Task, commands <-chan recorder.Command, report func(recorder.Recording)) recorder.Recording {
		report(task.Recording.Clone())
		late := time.NewTimer(d)
		defer late.Stop()
		for {
			select {
			case <-late.C:
				return then(ctx, task, commands, report)
			case c := <-commands:
				if c.Kind == recorder.CommandStop {
					return fails(recorder.CodeAborted, recorder.EndStopped)(ctx, task, commands, report)
				}
			case <-ctx.Done():
				var stop recorder.Stop
				errors.As(context.Cause(ctx), &stop)
				return fails(recorder.CodeAborted, stop.Reason)(ctx, task, commands, report)
			}
		}
	}
}

func pauseFor(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// tally counts what a worker tells.
type tally struct {
	mu        sync.Mutex
	incidents []recorder.EndReason
	ended     []recorder.Recording
}

func (t *tally) Incident(reason recorder.EndReason) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.incidents = append(t.incidents, reason)
}

func (t *tally) Ended(rec recorder.Recording) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = append(t.ended, rec)
}

func (y *yard) tally() *tally {
	t := &tally{}
	y.worker.Tally = t
	return t
}

// requireLegal checks that what was reported, and the end, follow from each other.
func requireLegal(t *testing.T, l *recordertest.FakeLease) {
	t.Helper()
	at, ending := recorder.StatusQueued, 0
	for _, r := range append(l.End().Reports, l.End().Finished...) {
		require.True(t, r.Status == at || at.Follows(r.Status), "%s after %s", r.Status, at)
		if at = r.Status; at == recorder.StatusEnding {
			ending++
		}
		require.True(t, ending == 0 || at == recorder.StatusEnding || at.Ended(), "%s after ending", at)
	}
}

// allFreed checks that nothing stays in the spool.
func (y *yard) allFreed() {
	y.t.Helper()
	for _, e := range y.spool.Entries() {
		assert.True(y.t, e.End().Freed, e.Task().Recording.Part)
	}
}

func TestFaultBeginsAFurtherPart(t *testing.T) {
	for _, reason := range []recorder.EndReason{
		recorder.EndDisplayDied, recorder.EndSoundDied, recorder.EndBrowserDied, recorder.EndSessionDied, recorder.EndPipeline, recorder.EndChildDied,
	} {
		t.Run(string(reason), func(t *testing.T) {
			inYard(t, func(y *yard) {
				tally := y.tally()
				y.acts(dies(time.Minute, reason), after(3*time.Second, y.runner.Record))
				y.start()
				a := y.put("a")
				time.Sleep(62 * time.Second)
				assert.Equal(t, []string{"a"}, y.worker.Running())
				time.Sleep(time.Hour)
				reports := a.End().Reports
				now := reports[len(reports)-1]
				require.Len(t, now.Earlier, 1)
				assert.Equal(t, recorder.FileDelivered, now.Earlier[0].Files[0].State, "while the next part records")
				assert.Equal(t, recorder.StatusActive, now.Status)
				require.False(t, y.spool.Entries()[0].End().Freed, "until the job's end is stored")
				a.Sent <- stopCommand()
				rec := y.finished(a)
				assert.Equal(t, recorder.StatusComplete, rec.Status)
				assert.Equal(t, recorder.EndStopped, rec.EndReason)
				assert.Nil(t, rec.Error)
				assert.Equal(t, 2, rec.Part)
				assert.Equal(t, "a.part2.mp4", rec.Files[0].Filename)
				require.Len(t, rec.Earlier, 1)
				first := rec.Earlier[0]
				assert.Equal(t, []any{1, "w1", reason, "a.mp4"}, []any{first.Part, first.Worker, first.EndReason, first.Files[0].Filename})
				assert.Equal(t, time.Minute, time.Duration(first.EndedAt-first.StartedAt))
				require.Len(t, rec.Incidents, 1)
				assert.Equal(t, reason, rec.Incidents[0].Reason)
				assert.Equal(t, 3*time.Second, time.Duration(rec.Incidents[0].Lost))
				assert.Equal(t, "it died", rec.Incidents[0].Text)
				assert.Equal(t, []recorder.EndReason{reason}, tally.incidents)
				assert.Len(t, tally.ended, 1)
				requireLegal(t, a)
				y.allFreed()
			})
		})
	}
}

func TestFaultEndsTheJob(t *testing.T) {
	for name, c := range map[string]struct {
		reason  recorder.EndReason
		prepare func(y *yard, job *recorder.Job)
	}{
		"as the job says":       {recorder.EndDisplayDied, func(_ *yard, job *recorder.Job) { job.OnWorkerLoss = recorder.LossEnd }},
		"while it is drained":   {recorder.EndDisplayDied, func(y *yard, _ *recorder.Job) { time.AfterFunc(time.Second, y.stop) }},
		"of what does not heal": {recorder.EndPageCrashed, func(*yard, *recorder.Job) {}},
	} {
		t.Run(name, func(t *testing.T) {
			inYard(t, func(y *yard) {
				tally := y.tally()
				y.acts(dies(time.Minute, c.reason))
				y.start()
				job := fileJob("a")
				c.prepare(y, &job)
				l := y.putAs(job, recorder.NewRecording(job, time.Now()))
				rec := y.finished(l)
				assert.Equal(t, recorder.StatusFailed, rec.Status)
				assert.Equal(t, c.reason, rec.EndReason)
				assert.Equal(t, recorder.FileDelivered, rec.Files[0].State)
				assert.Empty(t, rec.Earlier)
				assert.Empty(t, rec.Incidents)
				assert.Equal(t, []recorder.EndReason{c.reason}, tally.incidents)
				requireLegal(t, l)
				y.allFreed()
			})
		})
	}
}

// Parts that break at once do not break for ever.
func TestShortParts(t *testing.T) {
	short := dies(9*time.Second, recorder.EndSoundDied)
	t.Run("in a row", func(t *testing.T) {
		inYard(t, func(y *yard) {
			y.acts(short, short, short)
			y.start()
			rec := y.finished(y.put("a"))
			assert.Equal(t, recorder.StatusFailed, rec.Status)
			assert.Equal(t, recorder.EndSoundDied, rec.EndReason)
			assert.Equal(t, 3, rec.Part)
			assert.Len(t, rec.Earlier, 2)
			y.allFreed()
		})
	})
	t.Run("between long ones", func(t *testing.T) {
		inYard(t, func(y *yard) {
			long := dies(time.Minute, recorder.EndSoundDied)
			y.acts(short, short, long, short, short, long, short, short, long, long)
			y.start()
			rec := y.finished(y.put("a"))
			assert.Equal(t, recorder.StatusFailed, rec.Status)
			assert.Equal(t, recorder.MostParts, rec.Part)
			for i, p := range rec.Earlier {
				assert.Equal(t, i+1, p.Part)
				assert.Equal(t, recorder.FileDelivered, p.Files[0].State)
			}
			y.allFreed()
		})
	})
}

func TestPartThatDoesNotBegin(t *testing.T) {
	died := dies(time.Minute, recorder.EndDisplayDied)
	for name, c := range map[string]struct {
		acts   []act
		stop   bool
		status recorder.Status
		reason recorder.EndReason
		code   recorder.Code
		parts  int
	}{
		"stopped": {[]act{died, after(time.Hour, nil)}, true, recorder.StatusComplete, recorder.EndStopped, "", 1},
		"its room is over": {
			[]act{died, fails(recorder.CodeNotFound, recorder.EndRoomClosed)}, false, recorder.StatusComplete, recorder.EndRoomClosed, "", 1,
		},
		"its page fails": {
			[]act{died, fails(recorder.CodePageLoad, recorder.EndStartFailed)},
			false,
			recorder.StatusFailed, recorder.EndStartFailed, recorder.CodePageLoad, 1,
		},
		"no session": {
			[]act{
				died, fails(recorder.CodeUnavailable, recorder.EndSessionDied), fails(recorder.CodeUnavailable, recorder.EndSessionDied),
				fails(recorder.CodeUnavailable, recorder.EndSessionDied),
			}, false, recorder.StatusFailed, recorder.EndSessionDied, recorder.CodeUnavailable, 1,
		},
		"at first": {
			[]act{
				died, fails(recorder.CodeUnavailable, recorder.EndSessionDied), fails(recorder.CodeSessionDied, recorder.EndSessionDied),
			}, true, recorder.StatusComplete, recorder.EndStopped, "", 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			inYard(t, func(y *yard) {
				y.acts(c.acts...)
				y.start()
				a := y.put("a")
				time.Sleep(65 * time.Second)
				if c.stop {
					a.Sent <- stopCommand()
				}
				rec := y.finished(a)
				assert.Equal(t, c.status, rec.Status)
				assert.Equal(t, c.reason, rec.EndReason)
				if c.code == "" {
					assert.Nil(t, rec.Error)
				} else {
					assert.Equal(t, c.code, rec.Error.Code)
				}
				assert.Equal(t, c.parts, rec.Part)
				assert.Len(t, rec.Earlier, c.parts-1)
				require.Len(t, rec.Files, 1)
				assert.Equal(t, recorder.FileDelivered, rec.Files[0].State, "no file that never began")
				assert.NotZero(t, rec.StartedAt)
				requireLegal(t, a)
				y.allFreed()
			})
		})
	}
}

// A stop that comes while a part is dying, or just after, is obeyed: nothing begins any more.
func TestStopBetweenParts(t *testing.T) {
	inYard(t, func(y *yard) {
		y.acts(func(ctx context.Context, task recorder.Task, commands <-chan recorder.Command, report func(recorder.Recording)) recorder.Recording {
			rec := dies(time.Minute, recorder.EndDisplayDied)(ctx, task, commands, report)
			<-commands
			return rec
		})
		y.start()
		a := y.put("a")
		time.Sleep(2 * time.Minute)
		a.Sent <- recorder.Command{Kind: recorder.CommandStop, Reason: recorder.EndSignal}
		rec := y.finished(a)
		assert.Equal(t, recorder.StatusComplete, rec.Status)
		assert.Equal(t, recorder.EndSignal, rec.EndReason)
		assert.Equal(t, 1, rec.Part)
		assert.Len(t, y.spool.Entries(), 1)
		y.allFreed()
	})
}

func TestFinishWaitsForEveryPart(t *testing.T) {
	inYard(t, func(y *yard) {
		uploaded := make(chan struct{})
		y.spool.OnDeliver = func(_ context.Context, rec recorder.Recording) recorder.FileState {
			if rec.Part == 1 {
				<-uploaded
			}
			return ""
		}
		y.acts(dies(time.Minute, recorder.EndDisplayDied))
		y.start()
		a := y.put("a")
		time.Sleep(2 * time.Minute)
		a.Sent <- stopCommand()
		time.Sleep(time.Minute)
		assert.Empty(t, a.End().Finished)
		assert.Empty(t, y.worker.Running(), "a delivery holds no slot")
		close(uploaded)
		assert.Equal(t, recorder.StatusComplete, y.finished(a).Status)
		y.allFreed()
	})
}

// What is not delivered at a shutdown is found by the next life: no part is freed.
func TestShutdownBetweenParts(t *testing.T) {
	inYard(t, func(y *yard) {
		y.spool.OnDeliver = func(ctx context.Context, rec recorder.Recording) recorder.FileState {
			if rec.Part == 1 {
				<-ctx.Done()
				return recorder.FilePending
			}
			return ""
		}
		y.acts(dies(time.Minute, recorder.EndDisplayDied))
		y.start()
		a := y.put("a")
		time.Sleep(2 * time.Minute)
		a.Sent <- stopCommand()
		y.stop()
		require.NoError(t, <-y.ended)
		assert.True(t, a.End().Abandoned)
		for _, e := range y.spool.Entries() {
			assert.True(t, e.End().Closed)
			assert.False(t, e.End().Freed)
		}
	})
}

func TestLeaseLostWithSeveralParts(t *testing.T) {
	inYard(t, func(y *yard) {
		amended := map[int]recorder.FileState{}
		y.queue.OnAmendOf = func(late recorder.Recording) { amended[late.Part] = late.Files[0].State }
		y.acts(dies(time.Minute, recorder.EndDisplayDied))
		y.start()
		a := y.put("a")
		time.Sleep(2 * time.Minute)
		a.Lose()
		synctest.Wait()
		assert.Equal(t, map[int]recorder.FileState{1: recorder.FileDelivered, 2: recorder.FileDelivered}, amended)
		assert.Empty(t, a.End().Finished)
		y.allFreed()
	})
}

// The streams of a further part are those of now, and who watches them sees one stream.
func TestStreamsGoOnInAFurtherPart(t *testing.T) {
	inYard(t, func(y *yard) {
		urls := []string{"rtmp://a/live/kkkkkkkk1", "rtmp://b/live/kkkkkkkk2", "rtmp://c/live/kkkkkkkk3"}
		job := fileJob("a")
		job.Streams = []recorder.StreamOutput{{URLs: urls[:2]}}
		pause := true
		var tasks []recorder.Task
		y.acts(func(ctx context.Context, task recorder.Task, commands <-chan recorder.Command, report func(recorder.Recording)) recorder.Recording {
			<-commands // one is obeyed, the others come when nobody listens any more
			return dies(time.Minute, recorder.EndDisplayDied)(ctx, task, commands, report)
		}, func(ctx context.Context, task recorder.Task, commands <-chan recorder.Command, report func(recorder.Recording)) recorder.Recording {
			tasks = append(tasks, task)
			assert.Empty(t, commands, "what the part begins with is not asked for again")
			return dies(time.Minute, recorder.EndDisplayDied)(ctx, task, commands, report)
		})
		y.start()
		a := y.putAs(job, recorder.NewRecording(job, time.Now()))
		a.Sent <- recorder.Command{Kind: recorder.CommandUpdate, Update: recorder.Update{AddStreamURLs: urls[2:]}}
		a.Sent <- recorder.Command{Kind: recorder.CommandUpdate, Update: recorder.Update{AddStreamURLs: []string{"file:///etc/passwd"}, Pause: &pause}}
		a.Sent <- recorder.Command{Kind: recorder.CommandUpdate, Update: recorder.Update{RemoveStreamURLs: []string{recorder.StreamID(urls[0])}}}
		time.Sleep(3 * time.Minute)
		a.Sent <- stopCommand()
		rec := y.finished(a)
		require.Len(t, tasks, 1)
		assert.Equal(t, urls[1:], tasks[0].Job.StreamURLs())
		assert.True(t, tasks[0].Recording.Paused())
		require.Len(t, rec.Streams, 3)
		assert.Equal(t, recorder.StreamID(urls[1]), rec.Streams[1].ID)
		assert.Equal(t, 2*time.Minute, time.Duration(rec.Streams[1].Duration), "of both parts")
		assert.Equal(t, time.Minute, time.Duration(rec.Streams[0].Duration))
	})
}

func TestMaxDurationBetweenParts(t *testing.T) {
	inYard(t, func(y *yard) {
		job := fileJob("a")
		job.Limits.MaxDuration = recorder.Duration(time.Minute)
		y.acts(dies(time.Minute, recorder.EndDisplayDied))
		y.start()
		rec := y.finished(y.putAs(job, recorder.NewRecording(job, time.Now())))
		assert.Equal(t, recorder.StatusLimitReached, rec.Status)
		assert.Equal(t, recorder.EndMaxDuration, rec.EndReason)
		assert.Len(t, y.spool.Entries(), 1)
	})
}
