package pipeline

import (
	"fmt"
	"sync"
	"time"

	"github.com/go-gst/go-gst/gst"
	"github.com/go-gst/go-gst/gst/app"
	"go.uber.org/zap"

	"tapedeck/recorder"
)

// unit is one small GStreamer pipeline and what its bus says.
type unit struct {
	name string
	pipe *gst.Pipeline
	log  *zap.Logger
	// ended is closed at end of stream, failed with the first error.
	ended  chan struct{}
	failed chan struct{}

	mu    sync.Mutex
	cause *recorder.Error
}

// newUnit parses a gst-launch description. Text from outside never belongs in
// it: set it as a property.
func newUnit(name, launch string, log *zap.Logger) (*unit, error) {
	pipe, err := gst.NewPipelineFromString(launch)
	if err != nil {
		return nil, recorder.Errorf(recorder.CodePipeline, "%s: %w", name, err)
	}
	u := &unit{name: name, pipe: pipe, log: log, ended: make(chan struct{}), failed: make(chan struct{})}
	var once sync.Once
	// A sync handler runs in the thread that posts: nobody needs to poll the bus.
	pipe.GetPipelineBus().SetSyncHandler(func(msg *gst.Message) gst.BusSyncReply {
		switch msg.Type() {
		case gst.MessageEOS:
			once.Do(func() { close(u.ended) })
		case gst.MessageError:
			u.fail(msg.ParseError())
		case gst.MessageWarning:
			w := msg.ParseWarning()
			u.log.Warn("gstreamer", zap.String("unit", name), zap.String("warning", recorder.ScrubText(w.Error())))
		}
		return gst.BusDrop
	})
	return u, nil
}

// fail keeps the first error. The debug text is for the log: it names elements
// and source lines, and often the only telling detail.
func (u *unit) fail(e *gst.GError) {
	if e == nil {
		return
	}
	err := recorder.Errorf(recorder.CodePipeline, "%s: %s", u.name, recorder.ScrubText(e.Error()))
	err.Err = fmt.Errorf("%s", recorder.ScrubText(e.DebugString()))
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.cause == nil {
		u.cause = err
		close(u.failed)
		u.log.Debug("gstreamer", zap.String("unit", u.name), zap.Error(err), zap.NamedError("debug", err.Err))
	}
}

// err gives the first error, nil while there is none.
func (u *unit) err() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.cause == nil {
		return nil
	}
	return u.cause
}

func (u *unit) element(name string) *gst.Element {
	e, err := u.pipe.GetElementByName(name)
	if err != nil {
		panic(fmt.Sprintf("pipeline: %s has no element %q: %v", u.name, name, err)) // a bug in a description of ours
	}
	return e
}

func (u *unit) source(name string) *app.Source { return app.SrcFromElement(u.element(name)) }
func (u *unit) sink(name string) *app.Sink     { return app.SinkFromElement(u.element(name)) }

// set sets a string property: paths and addresses, which newUnit must not parse.
func (u *unit) set(element, property, value string) error {
	if err := u.element(element).SetProperty(property, value); err != nil {
		return recorder.Errorf(recorder.CodePipeline, "%s: %s of %s: %w", u.name, property, element, err)
	}
	return nil
}

// play starts the unit; the error is what its elements said.
func (u *unit) play() error {
	err := u.pipe.SetState(gst.StatePlaying)
	if err == nil {
		return nil
	}
	if said := u.err(); said != nil {
		return said
	}
	return recorder.Errorf(recorder.CodePipeline, "%s: %w", u.name, err)
}

// stopPatience bounds how long a GStreamer pipeline may take to stop.
const stopPatience = 3 * time.Second

// stop brings the unit to NULL. If that takes longer than stopPatience it goes on
// without: the goroutine stays until GStreamer comes back.
func (u *unit) stop() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = u.pipe.SetState(gst.StateNull) // to NULL never fails but for a bug of an element
	}()
	select {
	case <-done:
	case <-time.After(stopPatience):
		u.log.Warn("gstreamer does not stop", zap.String("unit", u.name))
		keepForever(u.pipe)
	}
}
