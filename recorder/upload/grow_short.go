package upload

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"
)

// short is the part that is not full yet. Where it takes long to fill, what there is of it is
// sent, again and again under its number: an upload may be completed with a last part of any
// size, so a node that vanishes takes no more with it than was recorded since (ADR 0020).
type short struct {
	since  time.Time // when something was sent last
	end    int64     // of what was sent of it
	off    bool      // until a full part was sent: the storage does not take it
	warned bool
	stop   context.CancelFunc
}

func newShort() short { return short{stop: func() {}} }

// advanceShort sends the part that is not full when its media wait for too long, and
// nothing else is to be sent.
func (g *growth) advanceShort() {
	if g.scan == nil || g.short.off || len(g.busy) > 0 || len(g.again) > 0 {
		return
	}
	if g.short.since.IsZero() {
		g.short.since = time.Now() // with the upload's beginning
	}
	p := g.full(g.next)
	end := min(g.scan.fixed(), p.at+p.size)
	if end <= max(p.at, g.short.end) || time.Since(g.short.since) < g.shortEvery(p) {
		return
	}
	p.size, g.short.end = end-p.at, end
	g.short.stop() // the one before, which has ended
	var ctx context.Context
	ctx, g.short.stop = context.WithCancel(g.life)
	g.send(ctx, p)
}

// shortEvery is how long media wait: what is sent of a part in vain is the same share of a line,
// however large the parts are.
func (g *growth) shortEvery(full piece) time.Duration {
	return time.Duration(float64(g.entry.spool.opts.SendWithin) * float64(full.size) / float64(partLeast))
}

// isShort reports whether a part is less than a full one. The last part of a file that is
// whole may be.
func (g *growth) isShort(p piece) bool { return p.size < g.full(p.n).size }

// failShort sets the upload back when its storage is away. A storage that refuses is heard when it refuses
// a full part, for there may be some that take no short one.
func (g *growth) failShort(err error) {
	switch c := classOf(err); {
	case errors.Is(err, context.Canceled): // the full part follows
	case c == passing, c == corrupt:
		g.short.end = 0
		g.fail(err)
	default:
		g.short.end, g.short.off = 0, true
		if !g.short.warned {
			g.log.Warn("the storage does not take a part that is not full; it is sent when it is", zap.String("error", g.scrub.Text(err.Error())))
		}
		g.short.warned = true
	}
}

// leaveShort ends what is under way of the part that is not full, unless it ends at once: all of the
// part follows, and the upload waits for it.
func (g *growth) leaveShort() (done func() bool) {
	return time.AfterFunc(lastAnswer, g.short.stop).Stop
}
