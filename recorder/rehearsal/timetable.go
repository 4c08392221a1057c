package rehearsal

import (
	"time"

	"tapedeck/recorder"
)

// The clocks of RTP timestamps, a second.
const (
	videoClock = 90000
	soundClock = recorder.ClipRate
)

// timetable says when samples are due: sample n at n/perSecond seconds of Unix
// time. The wall clock is read once, so that its being set does not disturb what
// is under way.
type timetable struct {
	anchor time.Time
}

func newTimetable(now time.Time) timetable { return timetable{anchor: now} }

// due gives the time of sample n. It is exact: no error adds up over days.
func (t timetable) due(n, perSecond int64) time.Time {
	seconds, rest := n/perSecond, n%perSecond
	return t.anchor.Add(time.Duration(seconds*int64(time.Second)+rest*int64(time.Second)/perSecond) - time.Duration(t.anchor.UnixNano()))
}

// next gives the first sample that is due at now or later.
func (t timetable) next(now time.Time, perSecond int64) int64 {
	n := t.ticks(now, perSecond)
	for t.due(n, perSecond).Before(now) {
		n++
	}
	return n
}

// ticks gives how often a clock of so many ticks a second has ticked since the epoch.
func (t timetable) ticks(now time.Time, perSecond int64) int64 {
	unix := t.anchor.UnixNano() + int64(now.Sub(t.anchor))
	seconds, rest := unix/int64(time.Second), unix%int64(time.Second)
	return seconds*perSecond + rest*perSecond/int64(time.Second)
}

// timestamp gives the RTP timestamp of sample n. It wraps, as those do.
func timestamp(base uint32, n, perSecond, clock int64) uint32 {
	return base + uint32(n*(clock/perSecond))
}
