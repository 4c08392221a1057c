package recorder

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"
)

// Recorder makes the media of one job in this process. It is a Runner.
type Recorder struct {
	// OpenSession starts a display, a sound server and a browser.
	OpenSession func(ctx context.Context, spec SessionSpec) (Session, error)
	// NewPipeline prepares capture and outputs without starting them.
	NewPipeline func(spec PipelineSpec) (Pipeline, error)
	// LiveKitURL is handed to template pages of jobs that name no server.
	LiveKitURL string
	// Progress is how often a running recording is reported; 1 s when zero.
	Progress time.Duration
	Now      func() time.Time
	Log      *zap.Logger
}

// Stop is a cancel cause that ends a recording as asked, not as a failure.
type Stop struct {
	Reason EndReason
	Now    bool
}

func (s Stop) Error() string { return "stopped: " + string(s.Reason) }

// Hurrier is a Pipeline that can skip what a whole file does not need, such as
// flushing streams.
type Hurrier interface {
	Hurry()
}

// Run records task from the page's load to its end. It always answers with a
// Recording whose EndReason is set; a failure is in its Error. What could be
// recorded until then is in task.Dir.
func (r *Recorder) Run(ctx context.Context, task Task, commands <-chan Command, report func(Recording)) Recording {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l := &life{
		Recorder: r, task: task, job: task.Job, rec: task.Recording.Clone(),
		scrub: NewScrubber(task.Job), cancel: cancel, report: report,
		updates: make(chan Update, 16), hurry: make(chan struct{}),
	}
	done := make(chan struct{})
	commanderEnded := make(chan struct{})
	go func() {
		defer close(commanderEnded)
		l.command(ctx, commands, done)
	}()
	l.run(ctx)
	close(done)
	<-commanderEnded
	return l.rec
}

// life is one run of a Recorder. Everything in it belongs to the goroutine of
// run, except what a comment says.
type life struct {
	*Recorder
	task    Task
	job     Job
	rec     Recording
	scrub   Scrubber
	cancel  context.CancelCauseFunc
	report  func(Recording)
	added   []string      // stream URLs that updates brought
	updates chan Update   // from command to active
	hurry   chan struct{} // closed by command

	session  Session
	pipeline Pipeline
	piped    chan error // the end of pipeline.Run, once
}

// command turns commands into a cancel or an update, so that a stop reaches a
// recording in every phase.
func (l *life) command(ctx context.Context, commands <-chan Command, done <-chan struct{}) {
	stopped, hurried := false, false
	for {
		select {
		case <-done:
			return
		case c, ok := <-commands:
			if !ok {
				commands = nil
				continue
			}
			if c.Kind == CommandUpdate {
				select {
				case l.updates <- c.Update:
				case <-ctx.Done():
				}
				continue
			}
			if (c.Now || stopped) && !hurried {
				hurried = true
				close(l.hurry)
			}
			stopped = true
			reason := c.Reason
			if reason == "" {
				reason = EndStopped
			}
			l.cancel(Stop{Reason: reason, Now: c.Now})
		}
	}
}

func (l *life) run(ctx context.Context) {
	l.rec.Status = StatusStarting
	l.tell()
	err := l.open(ctx)
	if err == nil {
		err = l.start(ctx)
	}
	if err == nil {
		l.active(ctx)
	} else {
		l.failStart(ctx, err)
	}
	l.finish()
}

// open starts the session and, on its display, the pipeline: capture is
// running before the page loads, so that the first frame after the marker counts.
func (l *life) open(ctx context.Context) error {
	opts := l.job.Options()
	session, err := l.OpenSession(ctx, SessionSpec{
		Width: opts.Width, Height: opts.Height, Silent: l.job.VideoOnly, Dir: l.task.Dir,
	})
	if err != nil {
		return err
	}
	l.session = session
	p, err := l.NewPipeline(PipelineSpec{
		Inputs: session.Inputs(), Options: opts,
		AudioOnly: l.job.AudioOnly, VideoOnly: l.job.VideoOnly, Outputs: l.outputs(),
	})
	if err != nil {
		return err
	}
	l.pipeline, l.piped = p, make(chan error, 1)
	pipeCtx := context.WithoutCancel(ctx)
	pipeCtx, end := context.WithCancel(pipeCtx)
	go func() {
		l.piped <- p.Run(pipeCtx)
		end()
	}()
	go func() { // the pipeline ends with the recording, not with the session
		select {
		case <-ctx.Done():
		case <-pipeCtx.Done():
		}
		end()
	}()
	return nil
}

func (l *life) outputs() []Output {
	var outs []Output
	for i, f := range l.rec.Files {
		name := MediaName(i, f)
		outs = append(outs, Output{ID: name, Kind: KindFile, Path: filepath.Join(l.task.Dir, name)})
	}
	for _, u := range l.job.StreamURLs() {
		outs = append(outs, l.stream(u))
	}
	return outs
}

func (l *life) stream(url string) Output {
	return Output{ID: StreamID(url), Kind: KindStream, URL: url, GiveUp: l.job.Limits.StreamTimeout.Std()}
}

// start loads the page until it is ready, then lets the pipeline begin.
func (l *life) start(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	loaded := make(chan error, 1)
	go func() { loaded <- l.load(ctx) }()
	select {
	case err := <-loaded:
		if err != nil {
			return err
		}
	case err := <-l.piped:
		l.piped <- err
		stop(err)
		<-loaded
		if err == nil {
			err = context.Cause(ctx)
		}
		return AsError(err, CodePipeline)
	}
	if err := l.pipeline.Begin(ctx); err != nil {
		return err
	}
	l.rec.Status, l.rec.StartedAt = StatusActive, l.Now().UnixNano()
	l.tell()
	return nil
}

// load opens the page and waits for its marker, again as often as the job allows.
func (l *life) load(ctx context.Context) error {
	url, err := PageURL(l.job, l.LiveKitURL)
	if err != nil {
		return err
	}
	for try := 0; ; try++ {
		err := l.loadOnce(ctx, url)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, ErrSessionDied), try >= l.job.Limits.Reloads():
			return err
		}
		l.Log.Warn("the page did not start, loading it again",
			zap.Int("try", try+1), zap.String("error", l.scrub.Text(err.Error())))
	}
}

func (l *life) loadOnce(ctx context.Context, url string) error {
	timeout := l.job.Limits.Start()
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, Errorf(CodeStartTimeout,
		"Start signal not received: the page did not log %s within %s", l.marker(), timeout))
	defer cancel()
	if err := l.session.Navigate(ctx, url); err != nil {
		return causeOf(ctx, err)
	}
	return causeOf(ctx, l.session.Wait(ctx, l.marker()))
}

// causeOf prefers the reason of a context's end over "context canceled".
func causeOf(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return context.Cause(ctx)
	}
	return err
}

func (l *life) marker() Marker {
	if l.job.AwaitsStart() {
		return MarkerStart
	}
	return MarkerLoaded
}

// failStart says why there is no recording: stopped, or failed with a diagnosis.
func (l *life) failStart(ctx context.Context, err error) {
	var stop Stop
	if errors.As(err, &stop) || errors.As(context.Cause(ctx), &stop) {
		l.rec.Fail(Errorf(CodeAborted, "Stop called before pipeline could start"), CodeAborted, stop.Reason)
		return
	}
	if l.session != nil && !errors.Is(err, ErrSessionDied) {
		l.diagnose(ctx)
	}
	reason := EndStartFailed
	switch {
	case errors.Is(err, ErrSessionDied):
		reason = EndSessionDied
	case CodeOf(err) == CodePipeline:
		reason = EndPipeline
	}
	l.rec.Fail(l.scrub.Error(AsError(err, CodeInternal)), CodeInternal, reason)
}

const diagnoseTimeout = 5 * time.Second

func (l *life) diagnose(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), diagnoseTimeout)
	defer cancel()
	d := l.session.Diagnose(ctx)
	for i, line := range d.Console {
		d.Console[i] = l.scrub.Text(line)
	}
	d.PageError, d.NetError = l.scrub.Text(d.PageError), l.scrub.Text(d.NetError)
	l.rec.Diagnosis = &d
}

// finish ends the pipeline and the session, in this order, and accounts for
// what there is.
func (l *life) finish() {
	l.rec.Status = StatusEnding
	if l.piped != nil {
		l.endPipeline()
	}
	l.rec.EndedAt = l.Now().UnixNano()
	l.account()
	l.tell()
	if l.session != nil {
		if err := l.session.Close(); err != nil {
			l.Log.Warn("the session did not close cleanly", zap.String("error", l.scrub.Text(err.Error())))
		}
	}
}

func (l *life) endPipeline() {
	ended := make(chan struct{})
	go func() {
		select {
		case <-l.hurry:
			if h, ok := l.pipeline.(Hurrier); ok {
				h.Hurry()
			}
		case <-ended:
		}
	}()
	l.cancel(Stop{Reason: l.rec.EndReason})
	l.tell()
	err := <-l.piped
	close(ended)
	if err != nil && l.rec.Error == nil {
		l.rec.Error = l.scrub.Error(AsError(err, CodePipeline))
		if l.rec.EndReason != EndPipeline {
			l.Log.Warn("the pipeline did not end cleanly", zap.String("error", l.rec.Error.Message))
		}
	}
}

// account fills the results from the pipeline's last snapshot and the disk.
func (l *life) account() {
	if l.pipeline == nil || l.rec.StartedAt == 0 {
		for i := range l.rec.Files {
			l.rec.Files[i].State = FileEmpty
		}
		return
	}
	opts := l.job.Options()
	snap := l.pipeline.Snapshot()
	l.apply(snap)
	for i := range l.rec.Files {
		f := &l.rec.Files[i]
		name := MediaName(i, *f)
		info, err := os.Stat(filepath.Join(l.task.Dir, name))
		if err != nil || info.Size() == 0 {
			f.State, f.Error = FileEmpty, "nothing was recorded"
			continue
		}
		f.State, f.Size = FilePending, info.Size()
		for _, out := range snap.Files {
			if out.ID == name {
				f.Partial, f.Codecs = !out.Final, out.Codecs
			}
		}
		if !l.job.AudioOnly && extension(f.Filename) != ExtOGG && extension(f.Filename) != ExtMP3 {
			f.Width, f.Height = opts.Width, opts.Height
		}
	}
}

// apply copies a snapshot into the recording.
func (l *life) apply(snap Snapshot) {
	l.rec.Stats = snap.Stats
	if len(snap.Streams) > 0 {
		l.rec.Streams = snap.Streams
		for i := range l.rec.Streams {
			l.rec.Streams[i].Error = l.scrub.Text(l.rec.Streams[i].Error)
		}
	}
	for i := range l.rec.Files {
		f := &l.rec.Files[i]
		for _, out := range snap.Files {
			if out.ID != MediaName(i, *f) {
				continue
			}
			f.Size, f.Duration = out.Bytes, int64(out.Duration)
			if !out.StartedAt.IsZero() {
				f.StartedAt = out.StartedAt.UnixNano()
				f.EndedAt = out.StartedAt.Add(out.Duration).UnixNano()
				l.rec.StartedAt = f.StartedAt
			}
		}
	}
}

func (l *life) tell() {
	l.rec.UpdatedAt = l.Now().UnixNano()
	if l.report != nil {
		l.report(l.rec.Clone())
	}
}
