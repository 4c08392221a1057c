package recorder

import "slices"

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
