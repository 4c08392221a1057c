package queue

import (
	"crypto/sha256"
	"encoding/hex"

	"tapedeck/recorder"
)

// sameKept is how long, in seconds, a set of jobs that are alike is kept after the
// last of them was added or taken over. Each job leaves it at its end.
const sameKept = 30 * 24 * 3600

// fingerprint is the same for jobs that would record the same: source, layout and
// encoding. Where they record to does not matter, nor does a room's sid, which not
// every door knows.
func fingerprint(job recorder.Job) string {
	s := job.Source
	s.RoomID, s.Token, s.Template, s.Layout = "", "", "", job.LayoutName()
	sum := sha256.Sum256([]byte(compose(struct {
		Source               recorder.Source
		Options              recorder.EncodingOptions
		AudioOnly, VideoOnly bool
	}{s, job.Options(), job.AudioOnly, job.VideoOnly})))
	return hex.EncodeToString(sum[:16])
}

// fingerprint is "" for an entry that is gone: what is left of its job is redacted.
func (e entry) fingerprint() string {
	if e.payload == "" {
		return ""
	}
	return fingerprint(e.job)
}

// webhooks gives those of the job for whoever delivers its events; "" for none, or
// not known.
func (e entry) webhooks() string {
	if e.payload == "" || len(e.job.Webhooks) == 0 {
		return ""
	}
	return compose(e.job.Webhooks)
}

// refused says why enqueue.lua or place.lua did not take a job.
func refused(id, word string, value any) *recorder.Error {
	if word == "twin" {
		return recorder.Errorf(recorder.CodeConflict,
			"job %s: job %v with the same source, layout and encoding did not end: stop it first, or leave reject_duplicates out", id, value)
	}
	return recorder.Errorf(recorder.CodeConflict, "job %s exists already: it is %v", id, value)
}

// flag writes a truth as scripts read it.
func flag(on bool) string {
	if on {
		return "1"
	}
	return ""
}
