package queue

import (
	"cmp"
	"context"
	"slices"

	"tapedeck/recorder"
)

// Amend changes the files, segments and images of a job that ended, by their names;
// a name that is not there yet is added to those of late's part. Nothing new is no event.
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
		rec = rec.AmendedFrom(s.rec)
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

// amend puts what came late where it belongs: into the part that recorded it.
func amend(rec *recorder.Recording, late recorder.Recording) {
	rec.Part = max(rec.Part, 1)
	for _, p := range append([]recorder.Part{partOf(late)}, late.Earlier...) {
		p.Files = slices.DeleteFunc(slices.Clone(p.Files), func(f recorder.FileResult) bool { return elsewhere(rec, p.Part, f) })
		amendPart(rec, p)
	}
}

// partOf gives what a recording says of its own part.
func partOf(rec recorder.Recording) recorder.Part {
	return recorder.Part{
		Part: max(rec.Part, 1), Worker: rec.Worker, Attempt: rec.Attempt,
		StartedAt: rec.StartedAt, EndedAt: rec.EndedAt, EndReason: rec.EndReason, Error: rec.Error,
		Files: rec.Files, Segments: rec.Segments, Images: rec.Images,
	}
}

// elsewhere replaces a file that is known under another part's number. Two parts may
// have the same playlist, but never the same file.
func elsewhere(rec *recorder.Recording, part int, f recorder.FileResult) bool {
	lists := []*[]recorder.FileResult{&rec.Files}
	numbers := []int{rec.Part}
	for i := range rec.Earlier {
		lists, numbers = append(lists, &rec.Earlier[i].Files), append(numbers, rec.Earlier[i].Part)
	}
	named := func(o recorder.FileResult) bool { return o.Filename == f.Filename }
	if i := slices.Index(numbers, part); i >= 0 && slices.ContainsFunc(*lists[i], named) {
		return false
	}
	for _, list := range lists {
		if slices.ContainsFunc(*list, named) {
			*list = mergeFiles(*list, []recorder.FileResult{f})
			return true
		}
	}
	return false
}

// amendPart brings the results of one part, which may be new to the job.
func amendPart(rec *recorder.Recording, late recorder.Part) {
	switch {
	case len(late.Files)+len(late.Segments)+len(late.Images) == 0:
	case late.Part == rec.Part:
		rec.Files = mergeFiles(rec.Files, late.Files)
		rec.Segments, rec.Images = mergeSegments(rec.Segments, late.Segments), mergeImages(rec.Images, late.Images)
	case late.Part > rec.Part: // whoever ended the job never heard of it
		was := partOf(*rec)
		rec.Part, rec.Worker, rec.Attempt = late.Part, cmp.Or(late.Worker, rec.Worker), cmp.Or(late.Attempt, rec.Attempt)
		rec.StartedAt, rec.EndedAt = cmp.Or(late.StartedAt, rec.StartedAt), cmp.Or(late.EndedAt, rec.EndedAt)
		rec.Files, rec.Segments, rec.Images = late.Files, late.Segments, late.Images
		was.EndReason, was.Error = "", nil // of the job
		amendPart(rec, was)
	default:
		at, known := slices.BinarySearchFunc(rec.Earlier, late.Part, func(p recorder.Part, n int) int { return cmp.Compare(p.Part, n) })
		if !known {
			rec.Earlier = slices.Insert(rec.Earlier, at, late)
			return
		}
		p := &rec.Earlier[at]
		p.StartedAt, p.EndedAt = cmp.Or(late.StartedAt, p.StartedAt), cmp.Or(late.EndedAt, p.EndedAt)
		p.Files = mergeFiles(p.Files, late.Files)
		p.Segments, p.Images = mergeSegments(p.Segments, late.Segments), mergeImages(p.Images, late.Images)
	}
}

func mergeFiles(old, more []recorder.FileResult) []recorder.FileResult {
	return merge(old, more, func(f recorder.FileResult) (string, recorder.FileState) { return f.Filename, f.State })
}

func mergeSegments(old, more []recorder.SegmentsResult) []recorder.SegmentsResult {
	return merge(old, more, func(s recorder.SegmentsResult) (string, recorder.FileState) { return s.PlaylistName, s.State })
}

func mergeImages(old, more []recorder.ImagesResult) []recorder.ImagesResult {
	return merge(old, more, func(s recorder.ImagesResult) (string, recorder.FileState) { return s.FilenamePrefix, s.State })
}

// merge puts more in the place of what has the same name. What was delivered stays so:
// another worker may have completed what this one could not.
func merge[T any](old, more []T, of func(T) (string, recorder.FileState)) []T {
	for _, m := range more {
		name, state := of(m)
		i := slices.IndexFunc(old, func(o T) bool {
			n, _ := of(o)
			return n == name
		})
		if i < 0 {
			old = append(old, m)
			continue
		}
		if _, was := of(old[i]); was != recorder.FileDelivered || state == recorder.FileDelivered {
			old[i] = m
		}
	}
	return old
}
