package pipeline

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/go-gst/go-gst/gst"
	"github.com/go-gst/go-gst/gst/app"
	"go.uber.org/zap"

	"tapedeck/recorder"
)

// How long the sources may be silent.
const (
	pollEvery = 100 * time.Millisecond
	// A display that gives no frame for frameGap repeats its last picture, at
	// frameLost it is given up.
	frameGap  = time.Second
	frameLost = 15 * time.Second
	// Encoders that are behind get the picture repeated in every slot that was
	// missed, if it is no more than this: a repeated picture costs them less than a new one, but
	// not nothing.
	maxRepeats = time.Second
	// A sound server that gives no samples for soundGap is replaced by silence.
	soundGap = time.Second
	// What was captured before an end arrives this much later at most.
	endGrace = 500 * time.Millisecond
	// A display has so long to close the connection that its paints are heard on.
	followedWithin = time.Second
)

// timeline is the clock of one recording: the monotonic system clock, from 0.
type timeline struct {
	clock *gst.SystemClock
	base  gst.ClockTime
}

func newTimeline() timeline {
	clock := gst.ObtainSystemClock()
	return timeline{clock: clock, base: clock.GetTime()}
}

func (t timeline) now() time.Duration { return time.Duration(t.clock.GetTime() - t.base) }

// drive makes a unit's running time this timeline.
func (t timeline) drive(u *unit) {
	u.pipe.ForceClock(t.clock.Clock)
	u.pipe.SetStartTime(gst.ClockTimeNone) // or going to PLAYING would choose another base
	u.pipe.SetBaseTime(t.base)
}

// videoSource captures the display and puts frames on the grid. Everything but
// the atomics belongs to the goroutine of run.
type videoSource struct {
	unit    *unit
	sink    *app.Sink
	time    timeline
	display string
	width   int
	height  int
	grid    grid
	last    *gst.Buffer // the picture that is repeated

	// push hands a picture to the encoders; false when they are too far behind, unless
	// it insists. What is paused needs none.
	push      func(b *gst.Buffer, at place, insist bool) bool
	insisting bool
	pauses    *pauses
	// began is called with the capture time of slot 0, once.
	began func(base time.Duration)

	paints   atomic.Pointer[paints]
	closed   atomic.Bool
	followed chan struct{} // closed when follow returned
	open     atomic.Bool   // frames pass: Begin was called
	held     atomic.Bool   // Hold
	running  chan struct{}
	stopAt   atomic.Int64 // capture time of the end, 0 while there is none

	captured, frames, dropped, repeated atomic.Int64
	slots                               atomic.Int64 // of media time that is kept, filled or not
}

// newVideoSource opens nothing yet. The cookie file reaches Xlib through the
// environment only, hence Setenv: one process records one display.
func newVideoSource(spec recorder.PipelineSpec, t timeline, log *zap.Logger) (*videoSource, error) {
	o := spec.Options
	if spec.Inputs.XAuthority != "" {
		if err := os.Setenv("XAUTHORITY", spec.Inputs.XAuthority); err != nil {
			return nil, recorder.Errorf(recorder.CodeInternal, "XAUTHORITY: %w", err)
		}
	}
	// use-damage=false: with damage ximagesrc copies the last frame and fetches
	// damaged rectangles through the socket, which costs more than one copy
	// through shared memory on any page that moves (measured at 720p30: 190 against 5 ms of
	// CPU a second). videoconvert only serves displays of uncommon depth: it passes BGRx on.
	// Nothing here leaks: a stall makes ximagesrc skip frame times, and the grid repeats.
	u, err := newUnit("display "+spec.Inputs.Display, fmt.Sprintf(
		"ximagesrc name=src show-pointer=false use-damage=false endx=%d endy=%d"+
			" ! video/x-raw,framerate=%d/1,width=%d,height=%d ! videoconvert ! video/x-raw,format=BGRx"+
			" ! appsink name=sink sync=false enable-last-sample=false max-buffers=3",
		o.Width-1, o.Height-1, o.Framerate, o.Width, o.Height), log)
	if err != nil {
		return nil, err
	}
	if err := u.set("src", "display-name", spec.Inputs.Display); err != nil {
		return nil, err
	}
	v := &videoSource{
		unit: u, sink: u.sink("sink"), time: t, display: spec.Inputs.Display,
		width: o.Width, height: o.Height,
		grid: grid{fps: int64(o.Framerate)}, running: make(chan struct{}), followed: make(chan struct{}),
	}
	t.drive(u)
	u.element("src").GetStaticPad("src").AddProbe(gst.PadProbeTypeBuffer, func(*gst.Pad, *gst.PadProbeInfo) gst.PadProbeReturn {
		if v.captured.Add(1) == 1 {
			close(v.running)
		}
		if !v.open.Load() {
			return gst.PadProbeDrop // not even converted: waiting costs next to nothing
		}
		return gst.PadProbeOK
	})
	return v, nil
}

// follow looks at the display between its paints, until close. Without it, or at
// rates that are no part of 60, pictures are taken whenever it happens to be.
func (v *videoSource) follow(log *zap.Logger) {
	defer close(v.followed)
	if time.Second/vsync%time.Duration(v.grid.fps) != 0 {
		return
	}
	p, err := openPaints(v.display)
	if err != nil {
		log.Warn("paints of the display are not followed: some frames of a video may be recorded twice", zap.Error(err))
		return
	}
	v.paints.Store(p)
	if v.closed.Load() {
		p.conn.Close()
	}
	// The running time of ximagesrc is its own affair: a picture is stamped by up to
	// three quarters of a vsync wrong, which nobody hears.
	src := v.unit.element("src")
	a := aim{move: func(by time.Duration) { src.SetBaseTime(v.time.base + gst.ClockTime(by)) }}
	p.run(func() { a.painted(v.time.now()) })
}

// run takes frames until the end that stop sets. The error is why there are no
// more frames; slots are filled up to the end all the same.
func (v *videoSource) run() error {
	var failure error
	seen, captured := v.time.now(), int64(0)
	for failure == nil {
		sample := v.sink.TryPullSample(clockTime(pollEvery))
		now := v.time.now()
		if c := v.captured.Load(); c != captured {
			seen, captured = now, c
		}
		if sample != nil {
			b := takeBuffer(sample)
			past := v.offer(b, *b.PresentationTimestamp().AsDuration())
			freeBuffer(b)
			if past {
				break
			}
		} else if v.grid.begun {
			v.cover(now - frameGap)
		}
		if stop := v.stopAt.Load(); stop != 0 && (!v.open.Load() || now > time.Duration(stop)+endGrace) {
			break
		}
		failure = v.health(now - seen)
	}
	if v.grid.begun {
		end := v.stopAt.Load()
		if failure != nil || end == 0 {
			end = int64(v.time.now())
		}
		v.conclude(time.Duration(end))
	}
	if v.last != nil {
		freeBuffer(v.last)
	}
	return failure
}

// offer gives a captured frame its slot; true when it is past the end.
func (v *videoSource) offer(b *gst.Buffer, pts time.Duration) (past bool) {
	if stop := v.stopAt.Load(); stop != 0 && pts > time.Duration(stop) && v.grid.begun {
		return true
	}
	starts := !v.grid.begun
	missing, ok := v.grid.place(v.grid.number(pts))
	if starts {
		v.began(pts)
	}
	if !ok {
		v.dropped.Add(1)
		return false
	}
	if missing > v.grid.fps*int64(maxRepeats/time.Second) {
		v.grid.next += missing
	} else if !v.repeat(missing) {
		v.dropped.Add(1)
		return false
	}
	switch {
	case v.pauses.takePicture(v.grid.next).fate != fateKept:
		if !v.emit(nil) {
			v.dropped.Add(1)
		}
		return false
	case v.last != nil && (v.held.Load() || v.pauses.hides(pts)):
		v.repeat(1)
		return false
	}
	picture := toI420(b, v.width, v.height)
	if picture == nil {
		v.dropped.Add(1)
		return false
	}
	if !v.emit(picture) {
		v.dropped.Add(1)
	}
	if v.last != nil {
		freeBuffer(v.last)
	}
	v.last = picture
	return false
}

// cover repeats the last picture in every slot that began before the given time.
func (v *videoSource) cover(until time.Duration) (whole bool) {
	missing, ok := v.grid.place(v.grid.number(until))
	return !ok || v.repeat(missing+1)
}

// conclude covers up to the end. When the encoders are too far behind for that,
// the last slot alone gets a picture: it is what makes the track as long as the sound.
func (v *videoSource) conclude(end time.Duration) {
	if v.cover(end) {
		return
	}
	v.grid.next = v.grid.number(end) - v.grid.first
	v.insisting = true
	v.emit(v.last)
}

func (v *videoSource) repeat(n int64) bool {
	for range n {
		kept := v.frames.Load()
		if !v.emit(v.last) {
			return false
		}
		v.repeated.Add(v.frames.Load() - kept)
	}
	return true
}

// emit fills the next slot. When the encoders are behind, the slot stays open
// and is filled later; only when they are behind by more than maxRepeats do slots stay empty.
// So does a slot that is kept when there was no picture yet.
func (v *videoSource) emit(b *gst.Buffer) bool {
	at := v.pauses.takePicture(v.grid.next)
	shown := at.fate == fateKept && b != nil
	if (shown || at.fate == fateSlate) && !v.push(b, at, v.insisting) {
		return false
	}
	v.grid.next++
	if shown {
		v.slots.Store(at.kept + 1)
		v.frames.Add(1)
	}
	return true
}

// health tells why no frame will come any more.
func (v *videoSource) health(silent time.Duration) error {
	if err := v.unit.err(); err != nil {
		return err
	}
	gone, code := displayState(v.display)
	switch {
	case gone:
		return recorder.Errorf(recorder.CodePipeline, "display %s is gone: the X server closed the connection", v.display)
	case code != 0:
		return recorder.Errorf(recorder.CodePipeline, "display %s: X protocol error %d while capturing %dx%d", v.display, code, v.width, v.height)
	case silent > frameLost:
		return recorder.Errorf(recorder.CodePipeline, "display %s gave no picture for %v", v.display, frameLost)
	}
	return nil
}

// stop ends run once it has the frames captured before the given time.
func (v *videoSource) stop(at time.Duration) { v.stopAt.CompareAndSwap(0, int64(at)) }

// duration is the media time of the picture, valid when run returned.
func (v *videoSource) duration() time.Duration { return v.grid.at(v.grid.next) }

// close lets go of the display. A thread of ximagesrc that Xlib's error handler
// parked never comes back: such a unit is left alone (see xlib.go).
func (v *videoSource) close() {
	v.closed.Store(true)
	if p := v.paints.Load(); p != nil {
		p.conn.Close()
		select {
		case <-v.followed:
		case <-time.After(followedWithin): // a display that hangs does not even say goodbye
		}
	}
	if gone, _ := displayState(v.display); gone {
		keepForever(v.unit.pipe)
		return
	}
	v.unit.stop()
}
