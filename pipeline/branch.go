package pipeline

import (
	"context"
	"slices"
	"time"

	"github.com/go-gst/go-gst/gst"

	"tapedeck/recorder"
)

// This file is the hub: which encoders there are, who uses them, and how packets
// get from one to the other.

// streamCodecs are what FLV and MPEG-TS carry everywhere.
func (p *Pipeline) streamCodecs() []codec {
	switch {
	case p.spec.AudioOnly:
		return []codec{codecAAC}
	case p.spec.VideoOnly:
		return []codec{codecH264}
	default:
		return []codec{codecH264, codecAAC}
	}
}

// startEncoders makes the encoders of the outputs that the spec names.
func (p *Pipeline) startEncoders() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.files {
		if err := p.use(f.codecs); err != nil {
			return err
		}
	}
	for range len(p.streams) + len(p.segments) {
		if err := p.use(p.streamCodecs()); err != nil {
			return err
		}
	}
	return nil
}

// use counts a user of each codec and makes encoders that do not exist yet.
// p.mu is held.
func (p *Pipeline) use(codecs []codec) error {
	for _, c := range codecs {
		if p.encoders[c] == nil {
			e, err := p.newEncoder(c)
			if err != nil {
				return err
			}
			e.live = slices.Contains(p.streamCodecs(), c)
			p.encoders[c] = e
			go e.run(p.deliver)
			go p.watchEncoder(e)
		}
		p.users[c]++
	}
	return nil
}

// newEncoder makes an encoder. The one that segments use makes key frames where they
// begin, and between them where the job asked for more.
func (p *Pipeline) newEncoder(c codec) (*encoder, error) {
	o := p.spec.Options
	if c != codecH264 || len(p.segments) == 0 {
		return newEncoder(c, o, p.log)
	}
	var aims []time.Duration
	for _, s := range p.segments {
		aims = append(aims, s.spec.Aim())
	}
	o.KeyFrameInterval = keyInterval(o.KeyFrameInterval, aims)
	e, err := newEncoder(c, o, p.log)
	if err == nil {
		e.rhythm = newRhythm(o.Framerate, aims)
	}
	return e, err
}

// keyInterval gives the seconds from key frame to key frame of a job that asked for
// some, or for none (0), and has segments of such lengths.
func keyInterval(asked float64, aims []time.Duration) float64 {
	shortest := slices.Min(aims).Seconds()
	if asked <= 0 {
		return shortest
	}
	return min(asked, shortest)
}

func (p *Pipeline) watchEncoder(e *encoder) {
	select {
	case <-e.unit.failed:
		p.fail(e.unit.err())
	case <-e.done:
	}
}

// deliver hands a packet to every output; none of them waits.
func (p *Pipeline) deliver(e *encoder, pk packet) {
	if kept, ok := p.keep(e, pk); ok {
		for _, f := range p.files {
			f.accept(kept)
		}
		for _, s := range p.segments {
			s.accept(kept)
		}
	}
	p.mu.Lock()
	streams := p.streams
	p.mu.Unlock()
	for _, s := range streams {
		s.accept(pk)
	}
}

// used gives the encoders that have users: without one, nothing is encoded.
func (p *Pipeline) used(video bool) []*encoder {
	p.mu.Lock()
	defer p.mu.Unlock()
	var used []*encoder
	for c, e := range p.encoders {
		if c.video() == video && p.users[c] > 0 {
			used = append(used, e)
		}
	}
	return used
}

func (p *Pipeline) pushPicture(b *gst.Buffer, at place, insist bool) bool {
	encoders := p.used(true)
	if at.fate == fateSlate {
		encoders, b = slices.DeleteFunc(encoders, (*encoder).keepsOnly), p.slate()
	}
	if !insist && slices.ContainsFunc(encoders, (*encoder).behind) {
		return false
	}
	turns := p.turns(at)
	for _, e := range encoders {
		e.pushPicture(b, at, turns)
	}
	if at.fate != fateKept {
		return true
	}
	pace := p.pauses.picture
	from := pace.at(at.kept)
	for _, i := range p.images {
		i.offer(b, from, pace.at(at.kept+1)-from)
	}
	return true
}

// pushSound encodes captured block n, or the silence of streams in its place.
func (p *Pipeline) pushSound(block []float32, n int64) {
	at := p.pauses.takeBlock(n, block)
	if at.fate == fateSkipped {
		return
	}
	encoders := p.used(false)
	if at.fate == fateSlate {
		encoders = slices.DeleteFunc(encoders, (*encoder).keepsOnly)
	} else {
		p.audio.emitted.Store((at.kept + 1) * blockFrames)
	}
	for _, e := range encoders {
		e.pushSound(block, at)
	}
}

// endEncoders asks every encoder for what it holds and waits for it.
func (p *Pipeline) endEncoders(deadline time.Time) {
	p.mu.Lock()
	encoders := make([]*encoder, 0, len(p.encoders))
	for _, e := range p.encoders {
		encoders = append(encoders, e)
	}
	p.mu.Unlock()
	for _, e := range encoders {
		e.end()
	}
	lapsed := time.After(time.Until(deadline) / 2) // the files need the rest
	for _, e := range encoders {
		select {
		case <-e.done:
		case <-e.unit.failed:
		case <-lapsed:
			p.fail(recorder.Errorf(recorder.CodePipeline, "the %s encoder did not end in time", e.codec))
			return
		}
	}
}

func (p *Pipeline) closeEncoders() {
	p.mu.Lock()
	encoders := p.encoders
	p.encoders = map[codec]*encoder{}
	p.mu.Unlock()
	for _, e := range encoders {
		e.close()
	}
}

// Add starts a stream while recording; its picture begins at the next key
// frame, which is asked for. It does not wait for the connection. Errors: CodeInvalid
// for what is no stream, ErrConflict for an id that is in use or a pipeline that ended.
func (p *Pipeline) Add(_ context.Context, o recorder.Output) error {
	if o.Kind != recorder.KindStream {
		return recorder.Errorf(recorder.CodeInvalid, "output %s: only streams can be added to a recording", o.ID)
	}
	if _, err := parseIngest(o.URL); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.finishing || p.err != nil {
		return recorder.Errorf(recorder.CodeConflict, "the recording has ended")
	}
	i := slices.IndexFunc(p.streams, func(s *stream) bool { return s.id == o.ID })
	if i >= 0 && !p.streams[i].over() {
		return recorder.Errorf(recorder.CodeConflict, "stream %s exists already", o.ID)
	}
	s := p.newStream(o)
	select {
	case <-p.capturing:
		if err := p.use(p.streamCodecs()); err != nil {
			return err
		}
		s.start(p.begun)
	default: // Run starts it
	}
	// deliver reads the slice without the lock: it is replaced, never changed.
	streams := slices.Clone(p.streams)
	if i >= 0 {
		streams[i] = s
	} else {
		streams = append(streams, s)
	}
	p.streams = streams
	p.pauses.stream()
	return nil
}

// Remove ends a stream and returns when its connection is closed, flushed if its
// server takes it. ErrNotFound for an id that no stream has; nil for one that ended.
func (p *Pipeline) Remove(ctx context.Context, id string) error {
	p.mu.Lock()
	i := slices.IndexFunc(p.streams, func(s *stream) bool { return s.id == id })
	if i < 0 {
		p.mu.Unlock()
		return recorder.Errorf(recorder.CodeNotFound, "no stream %s", id)
	}
	s := p.streams[i]
	p.mu.Unlock()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		s.end(p.hurry)
	}()
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// release forgets a user of the streams' codecs.
func (p *Pipeline) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.streamCodecs() {
		p.users[c]--
	}
}

// requestKey asks the streams' encoder for a key frame within about a second.
func (p *Pipeline) requestKey() {
	p.mu.Lock()
	e := p.encoders[codecH264]
	p.mu.Unlock()
	if e != nil {
		e.keys.want()
	}
}

func (p *Pipeline) newStream(o recorder.Output) *stream {
	return newStream(o, p.streamCodecs(), p.opts.Stream, p.requestKey, p.release, p.log)
}
