package recorder

import (
	"slices"
	"time"
)

// breaks reports whether a part that ended for this reason can be followed by another
// one: it is the machinery's fault, and new machinery may be had.
func (r EndReason) breaks() bool {
	switch r {
	case EndDisplayDied, EndSoundDied, EndBrowserDied, EndSessionDied, EndPipeline, EndChildDied:
		return true
	default:
		return false
	}
}

// ofFault reports whether a job that ended for this reason met a fault, for the Tally.
func (r EndReason) ofFault() bool {
	switch r {
	case EndWorkerLost, EndDiskFull, EndPageCrashed, EndConnectionLost, EndStreamsFailed:
		return true
	default:
		return r.breaks()
	}
}

// superseded reports whether a part that ended was followed by another: its end was no
// more than an incident. So it is kept in the spool, for later lives of a worker.
func (r Recording) superseded() bool {
	n := len(r.Incidents)
	return n > 0 && r.EndedAt != 0 && r.EndReason == r.Incidents[n-1].Reason && r.Incidents[n-1].At >= r.EndedAt
}

// begun reports whether there are media. A worker may die between the first frame and
// the note of it.
func begun(rec Recording) bool {
	return rec.StartedAt != 0 || slices.ContainsFunc(rec.results(), func(r result) bool { return *r.state == FilePending })
}

// updated is the job as clients have changed it meanwhile: a further part begins so.
// What cannot be obeyed is left out, as it was when the update came.
func (j Job) updated(updates []Update) Job {
	if len(updates) == 0 {
		return j
	}
	j = j.Clone()
	urls := j.StreamURLs()
	for _, u := range updates {
		for _, name := range u.RemoveStreamURLs {
			urls = withoutStream(urls, StreamNamed(name))
		}
		for _, url := range u.AddStreamURLs {
			if ValidateUpdate(Update{AddStreamURLs: []string{url}}) == nil {
				urls = append(withoutStream(urls, StreamID(url)), url)
			}
		}
		if u.Layout != "" {
			j = j.withLayout(u.Layout)
		}
	}
	j.setStreams(urls)
	return j
}

// apart is the job as the current part of rec records it: a presigned URL takes one object, and
// what an earlier part has for it is not to be replaced. The worker's own storage takes the file.
func (j Job) apart(rec Recording) Job {
	j = j.Clone()
	for _, p := range rec.Earlier {
		for i := range min(len(j.Files), len(p.Files)) {
			if p.Files[i].State != FileEmpty {
				j.Files[i].UploadURL = ""
			}
		}
	}
	return j
}

// setStreams has the job stream to the last of urls that it may have.
func (j *Job) setStreams(urls []string) {
	j.Streams = nil
	if most := max(0, len(urls)-MaxStreamURLs); len(urls) > 0 {
		j.Streams = []StreamOutput{{URLs: urls[most:]}}
	}
}

func withoutStream(urls []string, id string) []string {
	return slices.DeleteFunc(urls, func(url string) bool { return StreamID(url) == id })
}

// withLayout is the job in another layout, where that is one of its page's.
func (j Job) withLayout(layout string) Job {
	next := j
	next.Layout, next.Template = layout, ""
	if j.RoomName == "" || next.Validate() != nil {
		return j
	}
	return next
}

// asOf is the job as a recording of it was last reported: without the streams that
// were taken away, in the layout of then.
func (j Job) asOf(rec Recording) Job {
	j = j.Clone()
	if rec.Layout != "" && rec.Layout != j.LayoutName() {
		j = j.withLayout(rec.Layout)
	}
	urls := j.StreamURLs()
	for _, s := range rec.Streams {
		if s.State == StreamFinished { // which a running recording's is only then
			urls = withoutStream(urls, s.ID)
		}
	}
	if len(urls) != len(j.StreamURLs()) {
		j.setStreams(urls)
	}
	return j
}

// pausedBy brings the recording's pauses to what clients asked for last: what they asked for before
// is over, whether or not a part obeyed.
func (r *Recording) pausedBy(updates []Update, now time.Time) {
	updates = slices.DeleteFunc(slices.Clone(updates), func(u Update) bool { return u.Pause == nil })
	if len(updates) == 0 {
		return
	}
	switch on := *updates[len(updates)-1].Pause; {
	case on == r.Paused():
	case on:
		r.Pauses = append(r.Pauses, Span{Start: now.UnixNano()})
	default:
		r.Pauses[len(r.Pauses)-1].End = now.UnixNano()
	}
}

// goingOn gives the streams of a job whose earlier parts left before, and whose current
// one tells now: who watches a stream knows nothing of parts.
func goingOn(before, now []StreamResult) []StreamResult {
	if len(before) == 0 {
		return now
	}
	all := slices.Clone(before)
	for _, n := range now {
		i := slices.IndexFunc(all, func(b StreamResult) bool { return b.ID == n.ID })
		if i < 0 {
			all = append(all, n)
			continue
		}
		b := all[i]
		if b.StartedAt != 0 {
			n.StartedAt = b.StartedAt
		}
		n.Duration, n.Bytes, n.Dropped, n.Retries = n.Duration+b.Duration, n.Bytes+b.Bytes, n.Dropped+b.Dropped, n.Retries+b.Retries
		n.LastRetryAt = max(n.LastRetryAt, b.LastRetryAt)
		all[i] = n
	}
	return all
}
