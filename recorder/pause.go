package recorder

import (
	"cmp"
	"slices"
	"time"

	"go.uber.org/zap"
)

// pause leaves out what follows, or goes on. Asking for what is already so changes nothing.
func (l *life) pause(on bool) {
	p, ok := l.pipeline.(Pauser)
	if !ok {
		l.Log.Warn("this pipeline cannot be paused")
		return
	}
	p.Pause(on)
	if on == l.rec.Paused() {
		return
	}
	l.Log.Info("pause", zap.Bool("paused", on))
	if at := l.Now().UnixNano(); on {
		l.rec.Pauses = append(l.rec.Pauses, Span{Start: at})
	} else {
		l.rec.Pauses[len(l.rec.Pauses)-1].End = at
	}
}

// stayPaused begins a further part of a job paused when the part before it was.
func (l *life) stayPaused() {
	if l.rec.Paused() {
		l.pause(true)
	}
}

// Measured notes how long a file really is that was cut off.
func (r Recording) Measured(f FileResult, length time.Duration) FileResult {
	f.StartedAt, f.Duration = cmp.Or(f.StartedAt, r.StartedAt), int64(length)
	if f.StartedAt != 0 {
		f.EndedAt = r.endOf(time.Unix(0, f.StartedAt), length)
	}
	return f
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

// Until gives the pauses and the incidents of a recording that ended at a time, ns since the Unix
// epoch, the one that ended it included: what came later is of further parts. A pause that
// it ended in ends with it.
func (r Recording) Until(at int64) (pauses []Span, incidents []Incident) {
	for _, p := range r.Pauses {
		if p.Start >= at {
			break
		}
		if p.End == 0 || p.End > at {
			p.End = at
		}
		pauses = append(pauses, p)
	}
	for _, i := range r.Incidents {
		if i.At > at {
			if i.Reason.breaks() || i.Reason == EndWorkerLost {
				incidents = append(incidents, i)
			}
			break
		}
		incidents = append(incidents, i)
	}
	return pauses, incidents
}

// pausedIn is how much of a span was left out by clients.
func (r Recording) pausedIn(from, to int64) (sum int64) {
	for _, p := range r.Pauses {
		end := p.End
		if end == 0 {
			end = to
		}
		sum += max(0, min(end, to)-max(p.Start, from))
	}
	return sum
}
