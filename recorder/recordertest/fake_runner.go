package recordertest

import (
	"cmp"
	"context"
	"errors"
	"time"

	"tapedeck/recorder"
)

// FakeRunner is a recorder.Runner that records a few bytes until it is stopped.
type FakeRunner struct {
	// Play, when set, decides instead. It may call Record.
	Play func(ctx context.Context, task recorder.Task, commands <-chan recorder.Command, report func(recorder.Recording)) recorder.Recording
	// Started gets every task that became active, when not nil.
	Started chan recorder.Task
	// Length ends a recording by itself; 0 is never.
	Length time.Duration
}

// Run implements recorder.Runner.
func (r *FakeRunner) Run(ctx context.Context, task recorder.Task, commands <-chan recorder.Command, report func(recorder.Recording)) recorder.Recording {
	if r.Play != nil {
		return r.Play(ctx, task, commands, report)
	}
	return r.Record(ctx, task, commands, report)
}

// Record becomes active at once and ends by a stop, ctx or Length.
func (r *FakeRunner) Record(ctx context.Context, task recorder.Task, commands <-chan recorder.Command, report func(recorder.Recording)) recorder.Recording {
	rec := task.Recording.Clone()
	for i := range rec.Files {
		if err := WriteMedia(task, i); err != nil {
			rec.Fail(err, recorder.CodeInternal, recorder.EndPipeline)
			return rec
		}
	}
	report(rec.Clone())
	rec.Status, rec.StartedAt = recorder.StatusActive, time.Now().UnixNano()
	report(rec.Clone())
	if r.Started != nil {
		r.Started <- task
	}
	rec.EndReason = r.wait(ctx, commands)
	rec.Status = recorder.StatusEnding
	report(rec.Clone())
	rec.EndedAt = time.Now().UnixNano()
	for i := range rec.Files {
		rec.Files[i].State, rec.Files[i].Size = recorder.FilePending, int64(len("media"))
	}
	report(rec.Clone())
	return rec
}

func (r *FakeRunner) wait(ctx context.Context, commands <-chan recorder.Command) recorder.EndReason {
	var over <-chan time.Time
	if r.Length > 0 {
		over = time.After(r.Length)
	}
	for {
		select {
		case <-over:
			return recorder.EndSignal
		case <-ctx.Done():
			var stop recorder.Stop
			errors.As(context.Cause(ctx), &stop)
			return cmp.Or(stop.Reason, recorder.EndStopped)
		case c, ok := <-commands:
			if !ok {
				commands = nil
			} else if c.Kind == recorder.CommandStop {
				return cmp.Or(c.Reason, recorder.EndStopped)
			}
		}
	}
}
