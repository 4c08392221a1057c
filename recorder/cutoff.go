package recorder

import "time"

// Accounted reports whether a recording is known to have ended. It may be ending without that:
// cut off while it was finalised.
func (r Recording) Accounted() bool { return r.Status == StatusEnding && r.EndedAt != 0 }

// CutOff reports whether a recording that was found in the spool can be gone on with: the worker was
// lost while it, or the part that was to follow it, was recorded, and not long ago.
func (t Task) CutOff(now time.Time) bool {
	rec := t.Recording
	open, last := !rec.Accounted() && rec.EndReason == "", rec.UpdatedAt
	if rec.EndReason == EndWorkerLost { // a life that accounted for it has not come to the job
		open, last = true, rec.EndedAt
	}
	cut := open && (rec.StartedAt != 0 || len(rec.Earlier) > 0)
	return (cut || rec.superseded()) && t.Job.OnWorkerLoss != LossEnd && max(rec.Part, 1) < MostParts &&
		now.Sub(time.Unix(0, last)) < ResumeWithin
}
