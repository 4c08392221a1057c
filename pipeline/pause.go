package pipeline

import (
	"time"

	"github.com/go-gst/go-gst/gst"
)

// Pause implements recorder.Pauser. Within a tenth of a second, what is captured goes to
// no file, segment or image; not one picture that was captured after the call does. What
// is encoded while streams are shown a slate is left out of files by deliver, so that
// their time has no gap.
func (p *Pipeline) Pause(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.time.now()
	if on {
		p.pauses.begin(now, p.streaming())
		return
	}
	picture := int64(-1) // none was captured yet
	if !p.startedAt.IsZero() {
		picture = p.captured(now)
	}
	p.pauses.end(picture)
}

// captured gives the number of the picture that is captured at a time, as videoSource
// counts. p.mu is held.
func (p *Pipeline) captured(at time.Duration) int64 {
	if p.video == nil {
		return p.pauses.picture.nearest(at - p.base)
	}
	g := grid{fps: int64(p.spec.Options.Framerate)}
	return g.number(at) - g.number(p.base)
}

// streaming reports whether there are streams. p.mu is held.
func (p *Pipeline) streaming() bool {
	for _, s := range p.streams {
		if !s.over() {
			return true
		}
	}
	return false
}

// turns reports whether a pause begins or ends with a picture that is encoded. Both are
// key frames: nothing on one side refers to anything on the other.
func (p *Pipeline) turns(at place) bool {
	before := p.last
	p.last = at
	return at.cuts != before.cuts || at.fate != before.fate
}

// slate is the picture of pauses, drawn for the first one.
func (p *Pipeline) slate() *gst.Buffer {
	if p.still == nil {
		o := p.spec.Options
		p.still = gst.NewBufferFromBytes(padPlanes(drawSlate(o.Width, o.Height), o.Width, o.Height))
	}
	return p.still
}

// keep gives a packet as files and segments get it, false when it is a slate. After a
// slate it must be a key frame.
func (p *Pipeline) keep(e *encoder, pk packet) (packet, bool) {
	live := e.pace.nearest(pk.pts)
	n, first, ok := live, false, true
	if e.live {
		n, first, ok = p.pauses.kept(live, e.codec.video())
	}
	e.slated = !ok || (e.slated && e.codec.video() && !pk.key)
	pk.pts += e.pace.at(n) - e.pace.at(live)
	pk.resumes = first
	return pk, !e.slated
}

// keepsOnly reports whether nothing but what is kept goes through the encoder.
func (e *encoder) keepsOnly() bool { return !e.live }
