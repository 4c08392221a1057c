package recorder

import (
	"slices"
	"time"

	"go.uber.org/zap"
)

// pause leaves out what follows, or goes on, and gives what the recording's own
// goroutine is to note of it. Asking for what is already so changes nothing.
func (l *life) pause(on bool) (account func()) {
	p, ok := l.pipeline.(Pauser)
	if !ok {
		l.Log.Warn("this pipeline cannot be paused")
		return func() {}
	}
	p.Pause(on)
	at := l.Now().UnixNano()
	return func() {
		if on == l.rec.Paused() {
			return
		}
		l.Log.Info("pause", zap.Bool("paused", on))
		if on {
			l.rec.Pauses = append(l.rec.Pauses, Span{Start: at})
		} else {
			l.rec.Pauses[len(l.rec.Pauses)-1].End = at
		}
	}
}

// stayPaused begins a further part of a job paused when the part before it was.
func (l *life) stayPaused() {
	if l.rec.Paused() {
		l.pause(true)
	}
}

// endOf gives the time of the last of so much media, ns since the Unix epoch: there
// may be pauses in it.
func (r Recording) endOf(start time.Time, length time.Duration) int64 {
	at := start.Add(length).UnixNano()
	for _, p := range r.Pauses {
		if p.Start >= start.UnixNano() && p.Start <= at && p.End > p.Start {
			at += p.End - p.Start
		}
	}
	return at
}

// unpaused ends the pause that a job was over in.
func (r Recording) unpaused() Recording {
	if r.Paused() && r.EndedAt != 0 {
		r.Pauses = slices.Clone(r.Pauses)
		r.Pauses[len(r.Pauses)-1].End = r.EndedAt
	}
	return r
}

func both(a, b func()) func() {
	return func() {
		a()
		b()
	}
}
