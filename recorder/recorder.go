package recorder

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Recorder makes the media of one job in this process. It is a Runner.
type Recorder struct {
	// OpenSession starts a display, a sound server and a browser.
	OpenSession func(ctx context.Context, spec SessionSpec) (Session, error)
	// NewPipeline prepares capture and outputs without starting them.
	NewPipeline func(spec PipelineSpec) (Pipeline, error)
	// ServeTemplate serves the built-in template on loopback and gives its URL.
	ServeTemplate func() (url string, stop func(), err error)
	// EnterRoom gives the server's side of a task's room. Not asked without Pass.AdminToken.
	EnterRoom func(task Task) Room
	// Progress is how often a running recording is reported; 1 s when zero.
	Progress time.Duration
	Now      func() time.Time
	Log      *zap.Logger
}

// Stop is a cancel cause that ends a recording as asked, not as a failure.
type Stop struct {
	Reason EndReason `json:"reason,omitempty"`
	Now    bool      `json:"now,omitempty"`
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
		Recorder: r, began: r.Now(), met: make(chan Incident, MostIncidents), task: task, job: task.Job, rec: task.Recording.Clone(),
		cancel: cancel, report: report,
		removed: map[string]bool{}, updates: make(chan Update), pauses: make(chan bool), hurry: make(chan struct{}),
	}
	scrub := task.Scrubber()
	l.scrubber.Store(&scrub)
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
	began    time.Time
	task     Task
	job      Job
	rec      Recording
	cancel   context.CancelCauseFunc
	report   func(Recording)
	lookedAt time.Time       // when its length was last looked at
	stood    time.Duration   // how long it has not got longer
	met      chan Incident   // from mend to active
	updating bool            // an update is under way
	added    []string        // stream URLs that updates brought
	removed  map[string]bool // ids of the streams that updates took away
	updates  chan Update     // from command to active
	pauses   chan bool       // from command to start and active
	hurry    chan struct{}   // closed by command

	scrubber  atomic.Pointer[Scrubber]
	answered  atomic.Int64           // when the room's server last answered, ns since began
	room      Room                   // nil without rights on the server
	roomID    atomic.Pointer[string] // what the room's server said
	layout    atomic.Pointer[string] // what an update set; read when the page is loaded again
	templates string                 // URL of the built-in template

	session  Session
	pipeline Pipeline
	piped    chan error // the end of pipeline.Run, once
}

// Now is the time on one clock for the whole recording: it goes on evenly where the
// machine's is set, so that its times are in order and as far apart as they were.
func (l *life) Now() time.Time { return l.began.Add(l.elapsed()) }

// elapsed is the time since Run began, of the monotonic clock.
func (l *life) elapsed() time.Duration { return l.Recorder.Now().Sub(l.began) }

// command turns commands into a cancel or an update, so that a stop reaches a
// recording in every phase. Updates wait until the recording is active, and for each other; a
// pause does not, but for the pipeline.
func (l *life) command(ctx context.Context, commands <-chan Command, done <-chan struct{}) {
	var waiting []Update
	var pausing *bool
	stopped, hurried := false, false
	stop := func(s Stop) {
		if (s.Now || stopped) && !hurried {
			hurried = true
			close(l.hurry)
		}
		stopped = true
		l.cancel(s)
	}
	take := func(c Command, ok bool) {
		switch {
		case !ok:
			commands = nil
		case c.Kind == CommandUpdate:
			if c.Update.Pause != nil {
				pausing = c.Update.Pause
			}
			waiting = append(withoutTakenBack(waiting, c.Update), c.Update)
		case c.Kind == CommandStop:
			stop(Stop{Reason: cmp.Or(c.Reason, EndStopped), Now: c.Now})
		default:
			l.Log.Warn("an unknown command is ignored", zap.String("command", string(c.Kind)))
		}
	}
	ctxDone := ctx.Done()
	for {
		select { // all there are first: what one takes back is not done for a moment
		case c, ok := <-commands:
			take(c, ok)
			continue
		default:
		}
		var updates chan<- Update
		var next Update
		if len(waiting) > 0 {
			updates, next = l.updates, waiting[0]
		}
		var pauses chan<- bool
		on := false
		if pausing != nil {
			pauses, on = l.pauses, *pausing
		}
		select {
		case <-done:
			return
		case <-ctxDone:
			ctxDone = nil
			if !stopped && stopOf(ctx).Now {
				stop(stopOf(ctx))
			}
		case updates <- next:
			waiting = waiting[1:]
		case pauses <- on:
			pausing = nil
		case c, ok := <-commands:
			take(c, ok)
		}
	}
}

// scrub knows the job's secrets, and those that updates brought. For any goroutine.
func (l *life) scrub() Scrubber { return *l.scrubber.Load() }

// stopOf gives why ctx was cancelled; without a Stop somebody just wanted an end.
func stopOf(ctx context.Context) Stop {
	var stop Stop
	errors.As(context.Cause(ctx), &stop)
	stop.Reason = cmp.Or(stop.Reason, EndStopped)
	return stop
}

func (l *life) run(ctx context.Context) {
	l.rec.Status = StatusStarting
	l.tell()
	closeRoom, err := l.openRoom()
	defer closeRoom()
	if err == nil {
		err = l.open(ctx)
	}
	if err == nil {
		err = l.start(ctx)
	}
	if err == nil {
		l.active(ctx)
	} else {
		l.failStart(ctx, err)
	}
	l.finish(ctx)
}

// openRoom prepares what the template page of a room needs. A web page needs nothing.
func (l *life) openRoom() (stop func(), err error) {
	if l.task.Pass.AdminToken != "" && l.EnterRoom != nil {
		l.room = l.EnterRoom(l.task)
	}
	if !l.job.UsesBuiltIn() || l.ServeTemplate == nil {
		return func() {}, nil // PageURL says what is missing
	}
	l.templates, stop, err = l.ServeTemplate()
	if err != nil {
		return func() {}, AsError(err, CodeUnavailable)
	}
	return stop, nil
}

// open starts the session and, on its display, the pipeline: capture is
// running before the page loads, so that the first frame after the marker counts.
func (l *life) open(ctx context.Context) error {
	opts := l.job.Options()
	session, err := l.openSession(ctx, SessionSpec{
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
	l.stayPaused()
	go func() { l.piped <- p.Run(ctx) }()
	return nil
}

func (l *life) openSession(ctx context.Context, spec SessionSpec) (Session, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, openTimeout,
		Errorf(CodeUnavailable, "display, sound server and browser did not come up within %s", openTimeout))
	defer cancel()
	session, err := l.OpenSession(ctx, spec)
	return session, causeOf(ctx, err)
}

func (l *life) outputs() []Output {
	var outs []Output
	for i, f := range l.rec.Files {
		name := MediaName(i, f)
		outs = append(outs, Output{ID: name, Kind: KindFile, Path: filepath.Join(l.task.Dir, name)})
	}
	outs = append(outs, l.series()...)
	for _, u := range l.job.StreamURLs() {
		outs = append(outs, l.stream(u))
	}
	return outs
}

func (l *life) stream(url string) Output {
	return Output{ID: StreamID(url), Kind: KindStream, URL: ResolveStreamURL(url), GiveUp: l.job.streamTimeout()}
}

// start loads the page until it is ready, then lets the pipeline begin: paused, where that was asked
// for meanwhile.
func (l *life) start(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	err := l.whilePiped(stop, func() error {
		if err := l.awaitRoom(ctx); err != nil {
			return err
		}
		return l.load(ctx)
	})
	if err != nil {
		return err
	}
	select {
	case on := <-l.pauses:
		l.pause(on)
	default:
	}
	if err := l.whilePiped(stop, func() error { return l.begin(ctx) }); err != nil {
		return err
	}
	l.rec.Status, l.rec.StartedAt = StatusActive, l.Now().UnixNano()
	l.tell()
	return nil
}

// whilePiped does something of which nothing comes when the pipeline ends: stop ends it then.
func (l *life) whilePiped(stop context.CancelCauseFunc, do func() error) error {
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		return err
	case err := <-l.piped:
		l.piped <- err
		if err == nil {
			err = errEndedByItself()
		}
		stop(err)
		<-done //nolint:errcheck // stop's error is why
		return AsError(err, CodePipeline)
	}
}

func errEndedByItself() error {
	return Errorf(CodePipeline, "the pipeline ended by itself")
}

// begin lets the pipeline write. Capture runs since before the page loaded, so
// that one which is not there by now is stuck.
func (l *life) begin(ctx context.Context) error {
	timeout := l.job.Limits.Start()
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, Errorf(CodePipeline, "capture did not begin within %s", timeout))
	defer cancel()
	if err := causeOf(ctx, l.pipeline.Begin(ctx)); err != nil {
		return AsError(err, CodePipeline)
	}
	return nil
}

// load opens the page and waits for its marker, again as often as the job allows.
func (l *life) load(ctx context.Context) error {
	url, err := l.firstURL()
	if err != nil {
		return err
	}
	for try := 0; ; try++ {
		err := l.loadOnce(ctx, url)
		over, absent := l.overBefore(), l.absent()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case absent != nil:
			return absent
		case over != "":
			return endedFor{reason: over, err: err}
		case errors.Is(err, ErrSessionDied) && !l.mendable(err), try >= l.job.Limits.Reloads():
			return err
		}
		l.Log.Warn("the page did not start, loading it again",
			zap.Int("try", try+1), zap.String("error", l.scrub().Text(err.Error())))
		if err := l.awaitRoom(ctx); err != nil {
			return err // a page that joins a room which is no more makes it anew
		}
		if errors.Is(err, ErrSessionDied) {
			if err := l.revive(ctx); err != nil {
				return err
			}
		}
	}
}

// endedFor is an error with the reason that the recording ends for.
type endedFor struct {
	reason EndReason
	err    error
}

func (e endedFor) Error() string { return e.err.Error() }
func (e endedFor) Unwrap() error { return e.err }

func (l *life) loadOnce(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, l.job.Limits.Start(), l.lateStart())
	defer cancel()
	if err := l.session.Navigate(ctx, url); err != nil {
		return causeOf(ctx, err)
	}
	return causeOf(ctx, l.session.Wait(ctx, l.marker()))
}

func (l *life) lateStart() error {
	if l.marker() == MarkerLoaded {
		return Errorf(CodeStartTimeout, "the page did not load within %s", l.job.Limits.Start())
	}
	return Errorf(CodeStartTimeout, "Start signal not received: the page did not log %s within %s", l.marker(), l.job.Limits.Start())
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
	if ctx.Err() != nil {
		l.rec.Fail(Errorf(CodeAborted, "Stop called before pipeline could start"), CodeAborted, stopOf(ctx).Reason)
		return
	}
	reason := EndStartFailed
	var early endedFor
	switch {
	case errors.As(err, &early):
		reason = early.reason
	case l.session == nil: // no page was asked yet: whatever it was, it is the machine's matter
		err, reason = &Error{Code: CodeUnavailable, Message: AsError(err, CodeUnavailable).Message, Err: err}, EndSessionDied
	case errors.Is(err, ErrSessionDied):
		reason = lossOf(err)
	case l.pipeline == nil, CodeOf(err) == CodePipeline:
		err, reason = AsError(err, CodePipeline), EndPipeline
	}
	if l.session != nil && !errors.Is(err, ErrSessionDied) {
		l.diagnose(ctx)
	}
	l.rec.Fail(l.scrub().Error(AsError(err, CodeInternal)), CodeInternal, reason)
}

const diagnoseTimeout = 5 * time.Second

func (l *life) diagnose(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), diagnoseTimeout)
	defer cancel()
	d := l.session.Diagnose(ctx)
	d.Console = slices.Clone(d.Console) // the session may go on writing to its own
	for i, line := range d.Console {
		d.Console[i] = l.scrub().Text(line)
	}
	d.PageError, d.NetError, d.URL = l.scrub().Text(d.PageError), l.scrub().Text(d.NetError), l.scrub().Text(d.URL)
	l.rec.Diagnosis = &d
}
