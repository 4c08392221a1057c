package queue

import (
	"context"
	"encoding/json"
	"slices"

	"tapedeck/recorder"
)

func notFound(id string) error {
	return recorder.Errorf(recorder.CodeNotFound, "job %s: nobody knows it", id)
}

// Adopt takes the job of a recording that this worker's spool holds. Status and
// attempt stay as they are: it goes on, it is not tried again.
func (q *Queue) Adopt(ctx context.Context, id string) (recorder.Lease, error) {
	s, err := q.load(ctx, id)
	if err != nil {
		return nil, unavailable("adopting job "+id, err)
	}
	if !s.exists {
		return nil, notFound(id)
	}
	if s.status.Ended() {
		return nil, recorder.Errorf(recorder.CodeConflict, "job %s ended: it is %s", id, s.status)
	}
	e := entry{id: s.entry}
	m, ok, err := q.find(ctx, s.entry)
	if err != nil {
		return nil, unavailable("adopting job "+id, err)
	}
	if ok {
		// An entry that was taken once is valid.
		e, err = decode(m)
	} else {
		// The entry was deleted by hand. Without its secrets there is still a job to end.
		err = json.Unmarshal([]byte(s.job), &e.job)
	}
	if err != nil {
		return nil, recorder.Errorf(recorder.CodeInternal, "job %s: %s", id, scrubReason(err.Error()))
	}
	e.job.ID = id
	l, err := q.take(ctx, e, true)
	if err != nil {
		if recorder.CodeOf(err) == recorder.CodeInternal {
			err = unavailable("adopting job "+id, err)
		}
		return nil, err
	}
	return l, nil
}

// Amend changes the files, segments and images of a job that ended, by their names;
// a name that is not there yet is added. Nothing new is no event.
func (q *Queue) Amend(ctx context.Context, id string, late recorder.Recording) error {
	for {
		s, err := q.load(ctx, id)
		if err != nil {
			return unavailable("amending job "+id, err)
		}
		if !s.exists {
			return notFound(id)
		}
		if !s.status.Ended() {
			return recorder.Errorf(recorder.CodeConflict, "job %s did not end yet: it is %s", id, s.status)
		}
		before, rec := composeRecording(s.rec), s.rec.Clone()
		amend(&rec, scrubResults(late, recorder.ScrubText))
		if composeRecording(rec) == before {
			return nil
		}
		rec.UpdatedAt = q.opts.Now().UnixNano()
		answer, err := q.run(ctx, q.scripts.amend, []string{q.keys.job(id), q.keys.events()},
			s.rev, composeRecording(rec), rec.UpdatedAt, id, eventsKept)
		if err != nil {
			return unavailable("amending job "+id, err)
		}
		switch word, _ := verdict(answer); word {
		case "ok":
			return nil
		case "gone":
			return notFound(id)
		}
	}
}

func amend(rec *recorder.Recording, late recorder.Recording) {
	rec.Files = merge(rec.Files, late.Files, func(f recorder.FileResult) string { return f.Filename })
	rec.Segments = merge(rec.Segments, late.Segments, func(s recorder.SegmentsResult) string { return s.PlaylistName })
	rec.Images = merge(rec.Images, late.Images, func(s recorder.ImagesResult) string { return s.FilenamePrefix })
}

func merge[T any](old, more []T, name func(T) string) []T {
	for _, m := range more {
		i := slices.IndexFunc(old, func(o T) bool { return name(o) == name(m) })
		if i < 0 {
			old = append(old, m)
		} else {
			old[i] = m
		}
	}
	return old
}
