package pipeline

import (
	"math"
	"time"
)

// never is the unit at which what lasts ends.
const never = math.MaxInt64

// pace is how many units of a track make how many seconds: pictures, or blocks of sound.
type pace struct{ units, seconds int64 }

// at gives the time of a unit. It is computed from its number, not added up.
func (p pace) at(n int64) time.Duration {
	n *= p.seconds
	return time.Duration(n/p.units)*time.Second + time.Duration(n%p.units*int64(time.Second)/p.units)
}

// nearest gives the unit that begins nearest to a time.
func (p pace) nearest(t time.Duration) int64 {
	n := int64(t/time.Second)*p.units + (int64(t%time.Second)*p.units+int64(time.Second)/2)/int64(time.Second)
	return (2*n + p.seconds) / (2 * p.seconds)
}

// convert gives how many whole units of another pace n units are, rounded to the nearest.
func (p pace) convert(n int64, to pace) int64 {
	from, scale := n*p.seconds*to.units, p.units*to.seconds
	return (2*from + scale) / (2 * scale)
}

// covering gives how many units of another pace it takes to cover n units.
func (p pace) covering(n int64, to pace) int64 {
	from, scale := n*p.seconds*to.units, p.units*to.seconds
	return (from + scale - 1) / scale
}

// cut is a pause on a track: the units from `from` to `to` are captured and not kept.
// From slate on the streams' encoders get a slate in their place; before it, nothing.
type cut struct {
	from, slate, to int64
	// Of the cuts before: units that are not kept, and units that no encoder got.
	gone, skipped int64
}

// lost gives what is not kept, and what no encoder got, up to the end of the cut.
func (c cut) lost() (gone, skipped int64) {
	return c.gone + c.to - c.from, c.skipped + min(c.slate, c.to) - c.from
}

// fate is what becomes of a captured unit.
type fate int

const (
	fateKept    fate = iota // every output gets it
	fateSlate               // streams get a slate in its place
	fateSkipped             // nobody gets anything
)

// place is where a unit goes.
type place struct {
	fate fate
	// kept is its number among what is kept, live among what the streams' encoders get.
	kept, live int64
	cuts       int // how many began before it
}

// track is the cuts of pictures or of sound, oldest first.
type track []cut

// place looks up a captured unit.
func (t track) place(n int64) place {
	for i := len(t) - 1; i >= 0; i-- {
		c := t[i]
		switch gone, skipped := c.lost(); {
		case n < c.from:
			continue
		case n >= c.to:
			return place{fateKept, n - gone, n - skipped, i + 1}
		case n >= c.slate:
			return place{fateSlate, c.from - c.gone, n - skipped, i + 1}
		default:
			return place{fateSkipped, c.from - c.gone, c.from - c.skipped, i + 1}
		}
	}
	return place{fateKept, n, n, 0}
}

// kept gives the number among what is kept of a unit that the streams' encoders had as
// number live; false for a slate. first says that a cut ended there.
func (t track) kept(live int64) (n int64, first, ok bool) {
	for i := len(t) - 1; i >= 0; i-- {
		c := t[i]
		if live < c.from-c.skipped {
			continue
		}
		gone, skipped := c.lost()
		if c.to == never || live < c.to-skipped {
			return 0, false, false
		}
		return live + skipped - gone, live == c.to-skipped, true
	}
	return live, false, true
}

// before gives how many units were cut out before unit n of what is kept.
func (t track) before(n int64) int64 {
	for i := len(t) - 1; i >= 0; i-- {
		if c := t[i]; c.to != never && n >= c.from-c.gone {
			gone, _ := c.lost()
			return gone
		}
	}
	return 0
}

// end gives the totals of all cuts.
func (t track) end() (gone, skipped int64) {
	if len(t) == 0 {
		return 0, 0
	}
	return t[len(t)-1].lost()
}
