package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"time"

	"go.uber.org/zap"

	"tapedeck/pipeline"
	"tapedeck/recorder"
	"tapedeck/recorder/egress"
	"tapedeck/recorder/rehearsal"
)

// trial is one run of test-template. Everything in it belongs to the goroutine of
// prepare and direct, except what a comment says.
type trial struct {
	*testTemplateFlags
	app       *app
	log       *zap.Logger
	out       *trialPrinter
	task      recorder.Task
	keeper    rehearsal.Keeper
	made      bool // the room is ours
	cast      *rehearsal.Cast
	signals   chan os.Signal
	journal   *journal // written by the page's session
	screen    *screen  // set by it too
	cleanups  []func() // last first
	recording *recorder.Recording
	showErr   error // why the page could not be shown

	seen    rehearsal.Trial // Guest is the watcher's until it has ended
	began   time.Time       // when the page was asked for
	started bool
	ended   bool // END_RECORDING came
}

func newTrial(a *app, f *testTemplateFlags, job recorder.Job, outputDir string) *trial {
	if a.config.Log.Level == "info" {
		a.config.Log.Level = "warn" // what matters is told as it happens
	}
	if a.config.Log.Format == "" {
		a.config.Log.Format = "console"
	}
	task := newTask(job, time.Now())
	task.OutputDir = outputDir
	t := &trial{testTemplateFlags: f, app: a, task: task, signals: make(chan os.Signal, 2)}
	t.log = a.logger(a.err, recorder.NewScrubber(job, a.config.secrets()...))
	t.out = &trialPrinter{w: a.out, quiet: f.json}
	t.journal, t.screen = &journal{more: make(chan struct{}, 1)}, &screen{}
	notifyEnd(t.signals)
	t.cleanUp(func() { signal.Stop(t.signals) })
	return t
}

func (t *trial) cleanUp(f func()) { t.cleanups = append(t.cleanups, f) }

// close ends what prepare began.
func (t *trial) close() {
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		t.cleanups[i]()
	}
	t.cleanups = nil
}

// prepare makes the room and fills it. A signal ends it.
func (t *trial) prepare(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	prepared, listened := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(listened)
		select {
		case <-t.signals:
			cancel(errors.New("interrupted"))
		case <-prepared:
		}
	}()
	err := t.fillRoom(ctx)
	close(prepared)
	<-listened
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

func (t *trial) fillRoom(ctx context.Context) error {
	l := &t.app.config.LiveKit
	if t.dev {
		server, err := rehearsal.StartServer(ctx, rehearsal.ServerOptions{Log: t.log})
		if err != nil {
			return err
		}
		t.cleanUp(server.Close)
		l.URL, l.APIKey, l.APISecret = server.URL(), server.APIKey, server.APISecret
	}
	if onLoopback(l.URL) {
		c := &t.app.config.Chrome
		c.Flags = append(c.Flags[:len(c.Flags):len(c.Flags)], "--allow-loopback-in-peer-connection")
	}
	pass, err := t.app.admit(t.task.Job)
	if err != nil {
		return err
	}
	t.task.Pass = pass
	t.journal.scrub = t.task.Scrubber()
	t.keeper = rehearsal.Keeper{URL: l.URL, APIKey: l.APIKey, APISecret: l.APISecret, Room: t.task.Job.RoomName}
	if t.made, err = t.keeper.Make(ctx); err != nil {
		return err
	}
	if t.made {
		// Whatever happens, no room is left behind; one that is gone already is no matter.
		t.cleanUp(func() { _ = t.keeper.Delete(context.WithoutCancel(ctx)) })
	}
	t.out.say("room %s at %s, %d publishers are coming …", t.keeper.Room, recorder.RedactURL(l.URL), t.publishers)
	studio := rehearsal.NewStudio(pipeline.ClipEncoder{Log: t.log})
	t.cast, err = rehearsal.Assemble(ctx, studio, t.keeper, rehearsal.Casting{
		Size: t.publishers, Codec: t.codec, Screen: t.screenShare, Log: t.log,
	})
	if err != nil {
		return err
	}
	t.cleanUp(t.cast.Leave)
	return nil
}

// event is what direct waits for.
type event int

const (
	timeUp      event = iota
	happened          // what was waited for
	interrupted       // by a signal
	over              // the page is gone
)

// direct opens the page, leads the room through its acts, and gives what was seen.
func (t *trial) direct(ctx context.Context) rehearsal.Trial {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	shown, watched := make(chan struct{}), make(chan struct{})
	since := time.Now()
	go func() {
		defer close(watched)
		t.seen.Guest = t.keeper.Watch(ctx, t.task.Job.ID, t.invited(), since)
	}()
	go func() {
		defer close(shown)
		t.show(ctx)
	}()
	t.act(ctx, shown)
	if t.ended {
		t.wait(endWithin, new(bool), shown) // it ends by itself then, for the reason that it has
	}
	stop(recorder.Stop{Reason: recorder.EndStopped})
	<-shown
	<-watched
	t.read()
	if !t.began.IsZero() {
		t.seen.Guest.Rebase(t.began.Sub(since))
	}
	t.seen.Observations = t.journal.all()
	return t.seen
}

// invited gives who may be in the room; nil where anybody may.
func (t *trial) invited() []string {
	if !t.made {
		return nil
	}
	return append([]string{}, t.cast.Identities...)
}

// act is the play: the page starts, is told other layouts, and the room ends.
func (t *trial) act(ctx context.Context, shown <-chan struct{}) {
	t.seen.Identity, t.seen.Watched, t.seen.BuiltIn = t.task.Job.ID, t.record == "", t.baseURL == ""
	wait := func(limit time.Duration, until *bool) event { return t.wait(limit, until, shown) }
	if came := t.awaitStart(wait); came != happened {
		t.seen.GaveUpAt, t.seen.Interrupted = t.now(), came == interrupted
		return
	}
	for i := range max(1, len(t.layouts)) {
		if i > 0 {
			t.setLayout(ctx, t.layouts[i], wait)
		}
		switch wait(t.actLimit(i), &t.ended) {
		case happened:
			return
		case over:
			t.seen.EndUntested = "the window was closed before the room ended"
			return
		case interrupted:
			t.endRoom(ctx, wait)
			return
		case timeUp:
		}
	}
	t.endRoom(ctx, wait)
}

// impatient is when who looks on is told that nothing has happened.
const impatient = 10 * time.Second

func (t *trial) awaitStart(wait func(time.Duration, *bool) event) event {
	limit := t.startLimit()
	if limit != 0 && limit <= impatient {
		return wait(limit, &t.started)
	}
	came := wait(impatient, &t.started)
	if came != timeUp {
		return came
	}
	t.out.at(t.now(), "START_RECORDING has not come yet")
	if limit != 0 {
		limit -= impatient
	}
	return wait(limit, &t.started)
}

// wait reads the journal until what it is for came true.
func (t *trial) wait(limit time.Duration, until *bool, shown <-chan struct{}) event {
	var timer <-chan time.Time
	if limit > 0 {
		timer = time.After(limit)
	}
	for {
		t.read()
		if *until {
			return happened
		}
		select {
		case <-t.journal.more:
		case <-timer:
			return timeUp
		case <-t.signals:
			return interrupted
		case <-shown:
			t.read()
			if *until {
				return happened
			}
			return over
		}
	}
}

// startLimit is how long the page may take; the recorder knows by itself.
func (t *trial) startLimit() time.Duration {
	if t.record != "" || t.startTimeout == 0 && t.duration == 0 {
		return 0
	}
	return t.task.Job.Limits.Start()
}

// windowAct is how long a layout that is not the last is shown to who looks.
const windowAct = 10 * time.Second

// actLimit is how long layout i is shown; 0 is as long as somebody looks.
func (t *trial) actLimit(i int) time.Duration {
	switch {
	case t.duration > 0:
		return t.duration / time.Duration(max(1, len(t.layouts)))
	case i < len(t.layouts)-1:
		return windowAct
	default:
		return 0
	}
}

// now is how long the page has been there.
func (t *trial) now() time.Duration {
	if t.began.IsZero() {
		return 0
	}
	return time.Since(t.began)
}

// read takes what the journal has.
func (t *trial) read() {
	for _, o := range t.journal.take() {
		switch {
		case o.Kind == recorder.ObservedNavigate:
			t.began = time.Now().Add(-o.After)
			t.seen.Given, t.seen.Own = parameterNames(o.Text), parameterNames(t.baseURL)
		case o.Kind == recorder.ObservedMarker && o.Text == string(recorder.MarkerStart):
			t.started = true
		case o.Kind == recorder.ObservedMarker && o.Text == string(recorder.MarkerEnd):
			t.ended = true
		}
		t.out.observed(o)
	}
}

// How long a page may take to show a layout, and the metadata to get there.
const (
	layoutSettles = 2 * time.Second
	layoutLimit   = 5 * time.Second
)

// setLayout tells the page a layout and looks whether it shows.
func (t *trial) setLayout(ctx context.Context, layout string, wait func(time.Duration, *bool) event) {
	change := rehearsal.LayoutChange{Layout: layout, Change: -1}
	before := t.screen.picture(ctx, t.log)
	change.At = t.now()
	t.out.at(change.At, "layout "+layout)
	telling, cancel := context.WithTimeout(ctx, layoutLimit)
	err := egress.Enter(t.task).SetLayout(telling, layout)
	cancel()
	if err != nil {
		change.Err = recorder.ScrubText(err.Error())
	} else if wait(layoutSettles, &t.ended) == timeUp {
		if after := t.screen.picture(ctx, t.log); before != nil && after != nil {
			change.Change = rehearsal.Difference(before, after)
		}
	}
	t.seen.Layouts = append(t.seen.Layouts, change)
}

// endRoom deletes the room, or leaves one that is not ours, and waits for the page
// to notice.
func (t *trial) endRoom(ctx context.Context, wait func(time.Duration, *bool) event) {
	within, how := endWithin, "the room was deleted"
	if !t.made {
		within, how = endWithinLeft, "everybody left the room"
		if others, err := t.keeper.Others(ctx, t.cast.Identities); err != nil || len(others) > 0 {
			t.seen.EndUntested = "others are in the room, which was there before"
			return
		}
	}
	at := t.now()
	t.out.at(at, how)
	if t.made {
		if err := t.keeper.Delete(ctx); err != nil {
			t.seen.EndUntested = recorder.ScrubText(err.Error())
			return
		}
	} else {
		t.cast.Leave()
	}
	t.seen.EndedAt, t.seen.EndAwaited, t.seen.How = at, within, how
	wait(within, &t.ended)
}
