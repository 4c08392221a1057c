package recorder

import (
	"cmp"
	"errors"
	"slices"

	"go.uber.org/zap"
)

// report tells the queue of the part that records. For any goroutine.
func (t *tenure) report(rec Recording) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.current = rec.Clone() // whose slices go on changing where it came from
	t.tell()
}

// tell reports the job as it is. The caller holds mu, so that reports stay in order.
func (t *tenure) tell() {
	if t.current.ID == "" {
		return // nothing records yet: the first report has it all
	}
	rec := t.compose(t.current)
	if rec.Status == StatusEnding {
		rec = rec.unlessBegun()
	}
	if err := t.lease.Report(t.ctx, rec); err != nil && !errors.Is(err, ErrLeaseLost) {
		t.log.Warn("a report was refused", zap.Error(err))
	}
}

// compose gives the job's recording: its current part with what became of the others. The
// caller holds mu.
func (t *tenure) compose(rec Recording) Recording {
	rec = rec.Clone()
	rec.Earlier = cloneParts(t.earlier)
	if rec.StartedAt == 0 && rec.EndReason != "" && len(rec.Earlier) > 0 {
		rec.endWith(t.streams) // none of the current part's ever began
	} else {
		rec.Streams = goingOn(t.streams, rec.Streams)
	}
	for _, g := range t.gaps {
		i := slices.IndexFunc(rec.Incidents, func(i Incident) bool { return i.Reason == g.reason && i.At == g.at })
		if i >= 0 {
			rec.Incidents[i].Lost = g.length(rec)
		}
	}
	return rec
}

// endWith ends a recording whose last part never began with the streams of those before.
func (r *Recording) endWith(streams []StreamResult) {
	last := r.Earlier[len(r.Earlier)-1]
	cause := last.Error
	if cause == nil {
		cause = Errorf(CodeStream, "the recording was cut off")
	}
	r.Streams = slices.Clone(streams)
	r.failStreams(cause, last.EndedAt)
	r.EndedAt = cmp.Or(r.EndedAt, last.EndedAt)
}

// length is from the end of a gap's part to the first frame after it, without what was paused
// anyhow; 0 for not yet.
func (g gap) length(rec Recording) int64 {
	var from, to int64
	for _, p := range rec.Earlier {
		switch {
		case p.Part == g.part:
			from = p.EndedAt
		case p.Part > g.part && to == 0:
			to = p.StartedAt
		}
	}
	if to == 0 {
		to = rec.StartedAt
	}
	if from == 0 || to == 0 {
		return 0
	}
	return max(1, to-from-rec.pausedIn(from, to))
}

// whole gives rec with what is known of the other parts.
func (t *tenure) whole(rec Recording) Recording {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.compose(rec)
}

// learn notes what became of an earlier part, and tells of it.
func (t *tenure) learn(rec Recording) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.earlier {
		if t.earlier[i].Part == rec.Part {
			t.earlier[i].take(rec.Clone())
		}
	}
	if t.current.ID != "" {
		t.current.UpdatedAt = t.Now().UnixNano()
	}
	t.tell()
}

// tallied tells a Tally of each incident once. Safe for concurrent use is the Tally.
type tallied struct {
	tally Tally
	last  int64 // when the newest that was told was
}

// see takes a recording's incidents, oldest first.
func (c *tallied) see(rec Recording) {
	for _, i := range rec.Incidents {
		if i.At <= c.last {
			continue
		}
		c.last = i.At
		if c.tally != nil {
			c.tally.Incident(i.Reason)
		}
	}
}

// ended tells of the end of a job.
func (c *tallied) ended(rec Recording) {
	if c.tally == nil {
		return
	}
	if rec.EndReason.ofFault() {
		c.tally.Incident(rec.EndReason)
	}
	c.tally.Ended(rec)
}
