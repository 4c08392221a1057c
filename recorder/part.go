package recorder

import (
	"cmp"
	"slices"
	"time"
)

// Part is what an earlier recording of the same job left. Its outputs are named in the
// order of the job's.
type Part struct {
	Part    int    `json:"part"`
	Worker  string `json:"worker,omitempty"`
	Attempt int    `json:"attempt,omitempty"`
	// StartedAt and EndedAt span the media, ns since the Unix epoch. EndedAt is the last
	// that is known of a part whose worker was lost.
	StartedAt int64     `json:"started_at,omitempty"`
	EndedAt   int64     `json:"ended_at,omitempty"`
	EndReason EndReason `json:"end_reason,omitempty"` // why it is not the last part
	Error     *Error    `json:"error,omitempty"`

	Files    []FileResult     `json:"file_results,omitempty"`
	Segments []SegmentsResult `json:"segment_results,omitempty"`
	Images   []ImagesResult   `json:"image_results,omitempty"`
}

func (p Part) clone() Part {
	p.Files = slices.Clone(p.Files)
	p.Segments = slices.Clone(p.Segments)
	p.Images = slices.Clone(p.Images)
	return p
}

func cloneParts(parts []Part) []Part {
	parts = slices.Clone(parts)
	for i := range parts {
		parts[i] = parts[i].clone()
	}
	return parts
}

// results is Recording.results of an earlier part.
func (p *Part) results() []result { return resultsOf(p.Files, p.Segments, p.Images) }

// settled reports whether all of it is where it ends up.
func (p Part) settled() bool { return settled(p.results()) }

// whole reports whether all of it arrived, and nothing is cut off as far as anybody can tell.
func (p Part) whole() bool { return len(p.Files) > 0 && !p.cut() && !p.missing() }

func (p Part) cut() bool {
	return slices.ContainsFunc(p.Files, func(f FileResult) bool { return f.Partial })
}

// missing reports whether something of it did not arrive.
func (p Part) missing() bool {
	return slices.ContainsFunc(p.results(), func(r result) bool { return *r.state != FileDelivered && *r.state != FileEmpty })
}

// span is how long the part is.
func (p Part) span() time.Duration {
	if p.StartedAt == 0 {
		return 0
	}
	return time.Duration(p.EndedAt - p.StartedAt)
}

// size is that of its largest file or series, as Stats.Bytes.
func (p Part) size() (most int64) {
	for _, f := range p.Files {
		most = max(most, f.Size)
	}
	for _, s := range p.Segments {
		most = max(most, s.Size)
	}
	for _, s := range p.Images {
		most = max(most, s.Size)
	}
	return most
}

// take puts what became of a part's outputs in their place.
func (p *Part) take(rec Recording) {
	for i := range min(len(p.Segments), len(rec.Segments)) { // which is ours to say
		rec.Segments[i].Continued = rec.Segments[i].Continued || p.Segments[i].Continued
	}
	p.Files, p.Segments, p.Images = rec.Files, rec.Segments, rec.Images
	p.EndedAt = cmp.Or(rec.lastMedia(), p.EndedAt)
}

// Late gives what of this part alone Queue.Amend is told of, and whether that is anything.
func (r Recording) Late() (late Recording, some bool) {
	r = r.Clone()
	r.Earlier = nil // each part is told of by itself
	r.EndedAt = cmp.Or(r.lastMedia(), r.EndedAt)
	r.Files = slices.DeleteFunc(r.Files, func(f FileResult) bool { return f.State == FileEmpty })
	r.Segments = slices.DeleteFunc(r.Segments, func(s SegmentsResult) bool { return s.State == FileEmpty })
	r.Images = slices.DeleteFunc(r.Images, func(s ImagesResult) bool { return s.State == FileEmpty })
	return r, len(r.results()) > 0
}

// part is the recording as an earlier part of what follows it.
func (r Recording) part() Part {
	r = r.Clone()
	return Part{
		Part: max(r.Part, 1), Worker: r.Worker, Attempt: r.Attempt,
		StartedAt: r.StartedAt, EndedAt: cmp.Or(r.lastMedia(), r.EndedAt, r.UpdatedAt), EndReason: r.EndReason, Error: r.Error,
		Files: r.Files, Segments: r.Segments, Images: r.Images,
	}
}

// lastMedia is when the last of the media was captured, as far as results say.
func (r Recording) lastMedia() (at int64) {
	for _, f := range r.Files {
		at = max(at, f.EndedAt)
	}
	for _, s := range r.Segments {
		at = max(at, s.EndedAt)
	}
	for _, s := range r.Images {
		at = max(at, s.EndedAt)
	}
	return at
}

// as gives the recording as it was when p was its current part.
func (r Recording) as(p Part) Recording {
	r = r.Clone()
	p = p.clone()
	r.Part, r.Worker, r.Attempt, r.StartedAt, r.EndedAt = p.Part, p.Worker, p.Attempt, p.StartedAt, p.EndedAt
	r.EndReason, r.Error = p.EndReason, p.Error
	r.Files, r.Segments, r.Images = p.Files, p.Segments, p.Images
	r.Earlier = slices.DeleteFunc(r.Earlier, func(e Part) bool { return e.Part >= p.Part })
	return r
}

// next gives the recording with nothing of a further part yet.
func (r Recording) next() Recording {
	r = r.Clone()
	r.Part = max(r.Part, 1) + 1
	r.Status = StatusStarting
	r.StartedAt, r.EndedAt, r.EndReason, r.Error, r.Diagnosis, r.Stats = 0, 0, "", nil, nil, Stats{}
	r.Files, r.Segments, r.Images = nil, nil, nil
	return r
}

// cutAt is when a recording was cut off that waits for its next part: who tried to begin that one
// and could not has made the loss no younger.
func (r Recording) cutAt() int64 {
	if n := len(r.Incidents); n > 0 && r.StartedAt == 0 && len(r.Earlier) > 0 {
		return r.Incidents[n-1].At
	}
	return r.UpdatedAt
}

// Began is when the first frame of the job was, whatever its part; 0 for not yet.
func (r Recording) Began() int64 {
	if len(r.Earlier) > 0 {
		return r.Earlier[0].StartedAt
	}
	return r.StartedAt
}

// before is how much of a job's time is over when a part begins, by the wall clock.
func (r Recording) before(now time.Time) time.Duration {
	if len(r.Earlier) == 0 {
		return 0
	}
	return now.Sub(time.Unix(0, r.Began()))
}

// sizeBefore is how much earlier parts recorded, as Stats.Bytes.
func (r Recording) sizeBefore() (sum int64) {
	for _, p := range r.Earlier {
		sum += p.size()
	}
	return sum
}

// unlessBegun takes a last part that never began away: what the part before it left is
// the end of the job.
func (r Recording) unlessBegun() Recording {
	n := len(r.Earlier)
	if r.StartedAt != 0 || n == 0 {
		return r
	}
	r = r.Clone()
	last := r.Earlier[n-1]
	r.Earlier = r.Earlier[:n-1]
	if n == 1 {
		r.Earlier = nil
	}
	r.Part, r.StartedAt = last.Part, last.StartedAt
	r.Files, r.Segments, r.Images = last.Files, last.Segments, last.Images
	for i := range r.Segments {
		r.Segments[i].Continued = false
	}
	return r.excuse(last)
}

// excuse decides whether the job failed with a last part that did not begin after last.
func (r Recording) excuse(last Part) Recording {
	switch {
	case r.Error == nil:
	case r.Error.Code == CodeAborted:
		r.Error = nil // it was stopped, as somebody asked
	case !r.EndReason.overEarly():
	case last.EndReason == EndWorkerLost && !last.whole():
		r.Error = Errorf(CodeWorkerLost,
			"the worker that recorded was lost, and all was over when another one could go on: what it had recorded until then is there as far as it is delivered")
	default:
		r.Error = nil
	}
	return r
}

// overEarly reports whether there was nothing more to record.
func (r EndReason) overEarly() bool {
	switch r {
	case EndRoomClosed, EndRoomEmpty, EndRemoved, EndSignal:
		return true
	default:
		return false
	}
}

// shortInARow counts the last of parts that were short.
func shortInARow(parts []Part) (n int) {
	for i := len(parts) - 1; i >= 0 && parts[i].span() < shortPart; i-- {
		n++
	}
	return n
}

// How often a job is recorded on.
const (
	// MostParts bounds the parts of a job.
	MostParts = 10
	// ResumeWithin is how old a loss may be for the recording to go on.
	ResumeWithin = 10 * time.Minute
	// Whatever ends a part within shortPart, mostShort times in a row, ends the next one too.
	shortPart = 10 * time.Second
	mostShort = 3
)

// Incident is something that went wrong in a recording and did not end the job.
type Incident struct {
	Reason EndReason `json:"reason"` // which would have been the end's
	At     int64     `json:"at"`     // ns since the Unix epoch
	// Lost is how much of the media is missing, or stands still, ns; 0 while that is not known.
	Lost int64  `json:"lost,omitempty"`
	Text string `json:"text,omitempty"` // what happened, for people
}

// MostIncidents bounds Recording.Incidents.
const MostIncidents = 50

// Span is a piece of wall-clock time, ns since the Unix epoch; End is 0 while it lasts.
type Span struct {
	Start int64 `json:"start"`
	End   int64 `json:"end,omitempty"`
}

// Paused reports whether the recording is paused now.
func (r Recording) Paused() bool {
	return len(r.Pauses) > 0 && r.Pauses[len(r.Pauses)-1].End == 0
}

// Meet notes an incident.
func (r *Recording) Meet(i Incident) {
	r.Incidents = append(r.Incidents, i)
	if n := len(r.Incidents) - MostIncidents; n > 0 {
		r.Incidents = slices.Delete(r.Incidents, 0, n)
	}
}
