package pipeline

import "time"

// grid places captured frames in slots of exactly one frame interval. Frames
// are numbered on the capture clock; slot 0 is the first frame after Begin.
// It belongs to one goroutine.
type grid struct {
	fps   int64
	first int64 // number of the frame in slot 0
	next  int64 // slot that is filled next
	begun bool
}

// rounding absorbs that ximagesrc rounds its timestamps down to a nanosecond.
const rounding = time.Microsecond

// number gives the frame interval that a capture time falls into. ximagesrc
// stamps a frame with the start of its interval when it waited for it, and with
// the time of capture when it was late; both give the same number.
func (g *grid) number(pts time.Duration) int64 {
	return int64(pts+rounding) * g.fps / int64(time.Second)
}

// place finds the slot of a frame. missing is how many slots before it were
// never captured and must repeat the last picture; ok is false when the slot is
// taken already.
func (g *grid) place(number int64) (missing int64, ok bool) {
	if !g.begun {
		g.begun, g.first = true, number
	}
	slot := number - g.first
	if slot < g.next {
		return 0, false
	}
	return slot - g.next, true
}

// at gives the media time of a slot. It is computed from the slot's number, not
// added up, so that hours of frames carry no rounding error.
func (g *grid) at(slot int64) time.Duration {
	return pace{g.fps, 1}.at(slot)
}
