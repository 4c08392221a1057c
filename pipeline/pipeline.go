package pipeline

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-gst/go-gst/gst"
	"go.uber.org/zap"

	"tapedeck/recorder"
)

// Options are what a Pipeline needs besides its spec. The zero value works.
type Options struct {
	// Log gets what only an operator wants to know. None when nil.
	Log *zap.Logger
	// FinaliseWithin bounds the end of Run. Default 10 s.
	FinaliseWithin time.Duration
	// StartWithin bounds how long display and sound server may take to open. Default 10 s.
	StartWithin time.Duration
	// Stream bounds the life of connections to ingest servers.
	Stream StreamTiming
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	setDefault(&o.FinaliseWithin, 10*time.Second)
	setDefault(&o.StartWithin, 10*time.Second)
	o.Stream = o.Stream.withDefaults()
	return o
}

func setDefault(d *time.Duration, v time.Duration) {
	if *d <= 0 {
		*d = v
	}
}

// Pipeline records one display and one sound server. It implements
// recorder.Pipeline, recorder.Holder and recorder.Pauser. Run may be called once.
type Pipeline struct {
	spec recorder.PipelineSpec
	opts Options
	log  *zap.Logger
	time timeline

	video *videoSource // nil for audio only
	audio *audioSource // nil for video only
	files []*fileOutput

	segments []*segmentOutput
	images   []*imageOutput

	ran, beginCalled atomic.Bool
	capturing        chan struct{} // closed when Run has started the sources
	begun            chan struct{} // closed with the first frame
	fatal            chan struct{} // closed with the error that ends Run
	hurry            chan struct{} // closed by Hurry
	ended            chan struct{} // closed when Run returns
	hurryOnce        sync.Once

	mu        sync.Mutex
	err       error
	base      time.Duration
	startedAt time.Time
	encoders  map[codec]*encoder
	users     map[codec]int
	streams   []*stream
	finishing bool

	pauses *pauses
	last   place       // of the goroutine that pushes pictures: of the last one
	still  *gst.Buffer // of the same: the slate, once there was one

	rate rateMeter
}

var (
	_ recorder.Pipeline = (*Pipeline)(nil)
	_ recorder.Holder   = (*Pipeline)(nil)
	_ recorder.Pauser   = (*Pipeline)(nil)
)

// New checks the spec and builds what it needs, but opens neither display nor
// sound server nor file. The error has CodeInvalid for an output that cannot be,
// CodePipeline when an element of Elements is missing.
func New(spec recorder.PipelineSpec, opts Options) (*Pipeline, error) {
	gstInit()
	opts = opts.withDefaults()
	p := &Pipeline{
		spec: spec, opts: opts, log: opts.Log, time: newTimeline(),
		capturing: make(chan struct{}), begun: make(chan struct{}), fatal: make(chan struct{}),
		hurry: make(chan struct{}), ended: make(chan struct{}),
		encoders: map[codec]*encoder{}, users: map[codec]int{},
	}
	if spec.AudioOnly && spec.VideoOnly {
		return nil, recorder.Errorf(recorder.CodeInvalid, "audio only and video only exclude each other")
	}
	p.pauses = newPauses(spec.Options.Framerate, spec.Options.AudioFrequency, !spec.AudioOnly, !spec.VideoOnly)
	if err := p.newSources(); err != nil {
		return nil, err
	}
	for _, o := range spec.Outputs {
		if err := p.newOutput(o); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *Pipeline) newSources() (err error) {
	if !p.spec.AudioOnly {
		if p.video, err = newVideoSource(p.spec, p.time, p.log); err != nil {
			return err
		}
		p.video.push, p.video.began, p.video.pauses = p.pushPicture, p.began, p.pauses
	}
	if !p.spec.VideoOnly {
		if p.audio, err = newAudioSource(p.spec, p.time, p.log); err != nil {
			return err
		}
		p.audio.push = p.pushSound
	}
	return nil
}

func (p *Pipeline) newOutput(o recorder.Output) error {
	switch o.Kind {
	case recorder.KindFile:
		f, err := newFileOutput(o, p.spec.Options.Framerate, p.spec.AudioOnly, p.spec.VideoOnly, p.log)
		if err != nil {
			return err
		}
		p.files = append(p.files, f)
		return nil
	case recorder.KindStream:
		if _, err := parseIngest(o.URL); err != nil {
			return err
		}
		p.streams = append(p.streams, p.newStream(o))
		return nil
	case recorder.KindSegments:
		s, err := p.newSegmentOutput(o)
		if err != nil {
			return err
		}
		p.segments = append(p.segments, s)
		return nil
	case recorder.KindImages:
		i, err := p.newImageOutput(o)
		if err != nil {
			return err
		}
		p.images = append(p.images, i)
		return nil
	default:
		return recorder.Errorf(recorder.CodeInvalid, "output %s: no such kind %q", o.ID, o.Kind)
	}
}

// Run captures from the call on but writes nothing before Begin. It returns when
// every output is finalised: nil after ctx is done, otherwise the error that
// ended the recording (CodePipeline); files are finalised in both cases as far as
// that is possible. See finish for the order of the end.
func (p *Pipeline) Run(ctx context.Context) error {
	if !p.ran.CompareAndSwap(false, true) {
		return recorder.Errorf(recorder.CodeConflict, "a pipeline runs once")
	}
	defer close(p.ended)
	if err := p.check(); err != nil {
		return err
	}
	if err := p.open(ctx); err != nil {
		p.abandon()
		return err
	}
	video, audio := p.runSources()
	p.watchOutputs()
	p.mu.Lock()
	for _, s := range p.streams {
		s.start(p.begun)
	}
	p.mu.Unlock()
	close(p.capturing)
	select {
	case <-ctx.Done():
	case <-p.fatal:
	}
	p.finish(video, audio)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *Pipeline) open(ctx context.Context) error {
	if err := p.startEncoders(); err != nil {
		return err
	}
	return p.startSources(ctx)
}

// abandon lets go of everything when Run never got to record.
func (p *Pipeline) abandon() {
	p.mu.Lock()
	p.finishing = true
	streams := p.streams
	p.mu.Unlock()
	for _, s := range streams {
		s.end(p.hurry)
	}
	for _, f := range p.files {
		f.unit.stop()
	}
	for _, i := range p.images {
		i.unit.stop()
	}
	p.closeSources()
	p.closeEncoders()
}

// check finds out before anything runs whether the outputs can be written.
func (p *Pipeline) check() error {
	for _, f := range p.files {
		if err := f.check(); err != nil {
			return err
		}
	}
	for _, s := range p.segments {
		if err := s.check(); err != nil {
			return err
		}
	}
	for _, i := range p.images {
		if err := i.check(); err != nil {
			return err
		}
	}
	return nil
}

// startSources opens display and sound server. Opening can hang, in Xlib or
// libpulse, for as long as the other side says nothing.
func (p *Pipeline) startSources(ctx context.Context) error {
	started := make(chan error, 1)
	go func() {
		var err error
		if p.video != nil {
			watchDisplay(p.video.display)
			err = p.video.unit.play()
		}
		if p.audio != nil && err == nil {
			err = p.audio.unit.play()
		}
		started <- err
	}()
	select {
	case err := <-started:
		return err
	case <-ctx.Done():
		return nil // the end that was asked for; finish cleans up
	case <-time.After(p.opts.StartWithin):
		return recorder.Errorf(recorder.CodePipeline, "display %s and sound server did not open within %v",
			p.spec.Inputs.Display, p.opts.StartWithin)
	}
}

// runSources starts a goroutine for each source; each channel is closed when its
// source has nothing more to give.
func (p *Pipeline) runSources() (video, audio chan struct{}) {
	video, audio = make(chan struct{}), make(chan struct{})
	run := func(done chan struct{}, run func() error) {
		defer close(done)
		if err := run(); err != nil {
			p.fail(err)
		}
	}
	if p.video != nil {
		go p.video.follow(p.log)
		go run(video, p.video.run)
	} else {
		close(video)
	}
	if p.audio != nil {
		go run(audio, p.audio.run)
	} else {
		close(audio)
	}
	return video, audio
}

// fail keeps the first error and ends Run.
func (p *Pipeline) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil && err != nil {
		p.err = err
		close(p.fatal)
	}
}

// Begin lets picture and sound through: the next captured frame is the first of
// every output, and its capture time is time zero. It waits until both sources
// deliver and returns when the first frame is on its way.
func (p *Pipeline) Begin(ctx context.Context) error {
	if !p.beginCalled.CompareAndSwap(false, true) {
		return recorder.Errorf(recorder.CodeConflict, "the recording began already")
	}
	waits := []<-chan struct{}{p.capturing}
	if p.video != nil {
		waits = append(waits, p.video.running)
	}
	if p.audio != nil {
		waits = append(waits, p.audio.running)
	}
	for _, c := range waits {
		if err := p.await(ctx, c); err != nil {
			return err
		}
	}
	if err := p.startOutputs(); err != nil {
		if recorder.CodeOf(err) != recorder.CodeAborted {
			p.fail(err)
		}
		return err
	}
	if p.video != nil {
		p.video.open.Store(true)
	} else {
		p.began(p.time.now())
	}
	return p.await(ctx, p.begun)
}

func (p *Pipeline) startOutputs() error {
	for _, f := range p.files {
		if err := f.start(); err != nil {
			return err
		}
	}
	for _, s := range p.segments {
		s.start(p.begun)
	}
	for _, i := range p.images {
		if err := i.start(); err != nil {
			return err
		}
	}
	return nil
}

func (p *Pipeline) await(ctx context.Context, c <-chan struct{}) error {
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-p.ended:
	case <-p.fatal:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	return errEnded()
}

func errEnded() error {
	return recorder.Errorf(recorder.CodeAborted, "the recording ended before it began")
}

// began is called once, with the capture time of the first frame.
func (p *Pipeline) began(base time.Duration) {
	p.mu.Lock()
	p.base = base
	p.startedAt = time.Now().Add(base - p.time.now())
	p.mu.Unlock()
	if p.audio != nil {
		p.audio.base <- base
	}
	close(p.begun)
}

// wall is the wall clock's time of what is kept at a media time.
func (p *Pipeline) wall(at time.Duration) time.Time {
	p.mu.Lock()
	startedAt := p.startedAt
	p.mu.Unlock()
	return startedAt.Add(at + p.pauses.before(at))
}

// Hold keeps the last picture in the outputs until Hold(false); sound goes on.
func (p *Pipeline) Hold(on bool) {
	if p.video != nil {
		p.video.held.Store(on)
	}
}

// Hurry makes the end of Run skip the streams' flush: what their servers have
// not taken yet is lost, files are whole all the same. It may be called at any time.
func (p *Pipeline) Hurry() { p.hurryOnce.Do(func() { close(p.hurry) }) }

// finish ends a recording, in this order:
//  1. the sources stop at one time; picture and sound end there, on a frame;
//  2. the encoders give what they hold;
//  3. files are finalised and streams flushed, side by side;
//  4. everything goes to NULL.
//
// Each wait is bounded; what lapses makes the error of Run, if there is none yet.
func (p *Pipeline) finish(video, audio <-chan struct{}) {
	p.mu.Lock()
	p.finishing = true
	streams := append([]*stream(nil), p.streams...)
	p.mu.Unlock()
	deadline := time.Now().Add(p.opts.FinaliseWithin)

	p.endSources(video, audio)
	var sources sync.WaitGroup
	sources.Go(p.closeSources)
	p.endEncoders(deadline)

	var outputs sync.WaitGroup
	end := func(finish func(deadline <-chan time.Time) error) {
		outputs.Go(func() { p.fail(finish(time.After(time.Until(deadline)))) })
	}
	for _, f := range p.files {
		end(f.finish)
	}
	for _, s := range p.segments {
		end(s.finish)
	}
	for _, i := range p.images {
		end(i.finish)
	}
	for _, s := range streams {
		outputs.Go(func() { s.end(p.hurry) })
	}
	outputs.Wait()
	p.closeEncoders()
	sources.Wait()
}

func (p *Pipeline) endSources(video, audio <-chan struct{}) {
	if p.audio != nil {
		p.audio.halt()
	}
	at := p.time.now()
	if p.video != nil {
		p.video.stop(at)
	}
	if p.audio != nil {
		p.audio.stop(at)
	}
	<-video
	<-audio
	if p.audio == nil {
		return
	}
	length := at - p.base
	if p.video != nil {
		length = p.video.duration()
	}
	p.audio.finish(length)
}

func (p *Pipeline) closeSources() {
	var g sync.WaitGroup
	if p.video != nil {
		g.Go(p.video.close)
	}
	if p.audio != nil {
		g.Go(p.audio.close)
	}
	g.Wait()
}
