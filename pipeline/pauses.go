package pipeline

import (
	"sync"
	"time"
)

// pauses decides which pictures and which blocks of sound are kept.
//
// Picture and sound are cut by different goroutines, the sound some 50 ms ahead of the
// picture. A pause therefore begins and ends at the first picture that neither of them
// has come to; what that is in blocks of sound is rounded so that the error of all cuts
// together is never more than half a block: sound does not drift from the picture,
// however often a recording is paused.
type pauses struct {
	picture, block pace // pictures are blocks where there is no picture
	hasPicture     bool
	hasSound       bool

	mu       sync.Mutex
	pictures track
	blocks   track
	// What each goroutine has come to: nothing before it can be changed any more.
	pictureNext, blockNext int64
	// hidden is since when the display is not shown, although its pictures may have a
	// place before the cut; 0 while it is.
	hidden time.Duration
}

// blockMargin is how many blocks the cuts of sound may be off those of the picture.
const blockMargin = 2

// edgeFrames is how long sound takes to fade before a cut and to come back after it.
const edgeFrames = 240

func newPauses(fps, rate int, hasPicture, hasSound bool) *pauses {
	p := &pauses{
		picture: pace{int64(fps), 1}, block: pace{int64(rate), blockFrames}, hasPicture: hasPicture, hasSound: hasSound,
	}
	if !hasPicture {
		p.picture = p.block
	}
	return p
}

// open is the first picture that nothing is decided about.
func (p *pauses) open() int64 {
	switch {
	case !p.hasPicture && p.blockNext > 0:
		return p.blockNext + 1 // room to fade
	case !p.hasPicture:
		return 0
	case p.hasSound && p.blockNext > 0:
		return max(p.pictureNext, p.block.covering(p.blockNext+blockMargin, p.picture))
	default:
		return p.pictureNext
	}
}

// begin leaves out what follows; what is captured after now, in any case. live says
// that there are streams to see a slate.
func (p *pauses) begin(now time.Duration, live bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.pictures) - 1
	switch open := p.open(); {
	case n >= 0 && p.pictures[n].to == never:
		return
	case n >= 0 && p.pictures[n].to >= open: // it has not come to the end of the last one
		p.pictures[n].to = never
	default:
		c := cut{from: open, slate: never, to: never}
		c.gone, c.skipped = p.pictures.end()
		p.pictures = append(p.pictures, c)
	}
	p.hidden = now
	if live {
		p.slate()
	}
	p.follow()
}

// stream says that there is a stream now: from the next picture on it sees a slate.
func (p *pauses) stream() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slate()
	p.follow()
}

func (p *pauses) slate() {
	n := len(p.pictures) - 1
	if n < 0 || p.pictures[n].to != never || p.pictures[n].slate != never {
		return
	}
	p.pictures[n].slate = max(p.pictures[n].from, p.open())
}

// end goes on with the next picture that is captured after picture now.
func (p *pauses) end(now int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.pictures) - 1
	if n < 0 || p.pictures[n].to != never {
		return
	}
	p.hidden = 0
	to := max(p.open(), now+1)
	if to <= p.pictures[n].from { // nobody has come to its beginning
		p.pictures = p.pictures[:n]
		p.blocks = p.blocks[:n]
		return
	}
	p.pictures[n].to = to
	p.follow()
}

// follow cuts the sound where the last cut of the picture is. Numbers are rounded from
// totals, so that errors do not add up.
func (p *pauses) follow() {
	n := len(p.pictures) - 1
	if n < 0 {
		return
	}
	c := p.pictures[n]
	if len(p.blocks) == n {
		b := cut{slate: never, to: never}
		b.gone, b.skipped = p.blocks.end()
		b.from = p.picture.convert(c.from-c.gone, p.block) + b.gone
		p.blocks = append(p.blocks, b)
	}
	b := &p.blocks[n]
	gone, skipped := c.lost()
	b.to = never
	if c.to != never {
		b.to = b.from - b.gone + p.picture.convert(gone, p.block)
	}
	switch {
	case c.slate == never && c.to == never:
		b.slate = never
	case c.slate == never: // the last block may be one for the streams' encoders, for the totals' sake
		b.slate = min(b.to, max(b.from, p.blockNext, b.from+p.picture.convert(skipped, p.block)-b.skipped))
	case b.slate == never:
		b.slate = max(b.from, p.blockNext, b.from+p.picture.convert(skipped, p.block)-b.skipped)
	}
}

// takePicture gives the place of picture n, which is decided with that.
func (p *pauses) takePicture(n int64) place {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pictureNext = max(p.pictureNext, n+1)
	return p.pictures.place(n)
}

// hides reports whether a picture captured at a time must not be shown even where the
// cut has not begun.
func (p *pauses) hides(captured time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hidden != 0 && captured >= p.hidden
}

// takeBlock gives the place of block n, which is decided with that, and silences what
// is in it of cuts.
func (p *pauses) takeBlock(n int64, block []float32) place {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blockNext = max(p.blockNext, n+1)
	first := n * blockFrames
	for i := len(p.pictures) - 1; i >= 0; i-- {
		from, to := p.frames(p.pictures[i].from), p.frames(p.pictures[i].to)
		if to != never && to+edgeFrames <= first {
			break
		}
		silence(block, from-first, to-first)
	}
	return p.blocks.place(n)
}

// frames gives the sample frame that belongs to a picture.
func (p *pauses) frames(picture int64) int64 {
	if picture == never {
		return never
	}
	return picture * p.picture.seconds * p.block.units / p.picture.units
}

// silence fades a block out until frame from and in after frame to.
func silence(block []float32, from, to int64) {
	for i := range int64(len(block) / channels) {
		loud := float32(min(1, max(0, float64(from-i), float64(i-to))/edgeFrames))
		for c := range int64(channels) {
			block[i*channels+c] *= loud
		}
	}
}

// kept translates the number of a picture or block of the streams' encoders; see track.kept.
func (p *pauses) kept(live int64, picture bool) (n int64, first, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if picture {
		return p.pictures.kept(live)
	}
	return p.blocks.kept(live)
}

// before gives how long the pauses before a time of what is kept were, together.
func (p *pauses) before(kept time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.picture.at(p.pictures.before(p.picture.nearest(kept)))
}
