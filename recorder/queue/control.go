package queue

import (
	"cmp"
	"context"
	"slices"

	"tapedeck/recorder"
)

// Stop ends a job. One that no worker has ends at once, unless parts of it are still to be
// seen to; the worker of any other is told, and its next worker should that one die.
func (q *Queue) Stop(ctx context.Context, id string, why recorder.EndReason) error {
	why = cmp.Or(why, recorder.EndStopped)
	if !why.OfClient() {
		return recorder.Errorf(recorder.CodeInvalid, "reason %q: only a worker can say so; leave it out for %q", why, recorder.EndStopped)
	}
	for {
		s, e, err := q.lookUp(ctx, id)
		if err != nil {
			return err
		}
		if s.exists && (s.status != recorder.StatusQueued || isOwed(s.rec)) {
			return q.command(ctx, id, s.entry, fieldCommand, string(recorder.CommandStop), fieldReason, string(why))
		}
		word, err := q.abort(ctx, s, e, why)
		if err != nil {
			return unavailable("stopping job "+id, err)
		}
		if word == "ok" {
			return nil
		}
	}
}

// isOwed reports whether something of a job's earlier parts needs a worker: what was not
// delivered may be completed, and playlists that nobody goes on in are to be ended.
func isOwed(rec recorder.Recording) bool {
	return slices.ContainsFunc(rec.Earlier, func(p recorder.Part) bool {
		part := recorder.Recording{Files: p.Files, Segments: p.Segments, Images: p.Images}
		return len(p.Segments) > 0 || !part.Settled()
	})
}

// abort ends a job that waits in the stream. One that was given back after it had recorded
// ends as what there is of it allows.
func (q *Queue) abort(ctx context.Context, s state, e entry, why recorder.EndReason) (string, error) {
	rec, created := s.rec, s.created
	if !s.exists {
		rec = recorder.NewRecording(e.job, e.at())
		created = decimal(rec.CreatedAt)
	}
	rec = rec.Clone()
	rec.Status, rec.EndReason = recorder.StatusAborted, why
	rec.Error = recorder.Errorf(recorder.CodeAborted, "Stop called before pipeline could start")
	for i := range rec.Files {
		rec.Files[i].State = recorder.FileEmpty
	}
	for i := range rec.Segments {
		rec.Segments[i].State = recorder.FileEmpty
	}
	for i := range rec.Images {
		rec.Images[i].State = recorder.FileEmpty
	}
	for i := range rec.Streams {
		if s := &rec.Streams[i]; s.State != recorder.StreamFailed {
			s.State = recorder.StreamFinished
		}
	}
	if len(rec.Earlier) > 0 {
		rec = recorder.Conclude(rec)
	}
	return q.finish(ctx, ending{
		mode: "rev", fence: cmp.Or(s.fence, "0"), rev: s.rev, op: nonce(), entry: e, created: created,
		rec: rec, worker: s.worker, attempt: s.attempt,
	})
}

// Update asks a job's worker to change streams or layout, to pause or to go on.
func (q *Queue) Update(ctx context.Context, id string, u recorder.Update) error {
	if err := recorder.ValidateUpdate(u); err != nil {
		return err
	}
	s, e, err := q.lookUp(ctx, id)
	if err != nil {
		return err
	}
	if !s.exists {
		s.entry = e.id
	}
	if s.status == recorder.StatusEnding {
		return recorder.Errorf(recorder.CodeConflict, "job %s is ending: nothing of it is recorded any more that could change", id)
	}
	fields := []any{fieldCommand, string(recorder.CommandUpdate)}
	if len(u.AddStreamURLs) > 0 {
		fields = append(fields, fieldAdd, compose(u.AddStreamURLs))
	}
	if len(u.RemoveStreamURLs) > 0 {
		fields = append(fields, fieldRemove, compose(u.RemoveStreamURLs))
	}
	if u.Layout != "" {
		fields = append(fields, fieldLayout, u.Layout)
	}
	if u.Pause != nil {
		word := "0"
		if *u.Pause {
			word = "1"
		}
		fields = append(fields, fieldPause, word)
	}
	return q.command(ctx, id, s.entry, fields...)
}

func (q *Queue) command(ctx context.Context, id, entry string, fields ...any) error {
	answer, err := q.run(ctx, q.scripts.command,
		[]string{q.keys.job(id), q.keys.commands(id), q.keys.jobs()},
		append([]any{entry, commandsKept}, fields...)...)
	if err != nil {
		return unavailable("sending a command to job "+id, err)
	}
	switch word, status := verdict(answer); word {
	case "ok":
		return nil
	case "ended":
		return recorder.Errorf(recorder.CodeConflict, "job %s ended: it is %v", id, status)
	default:
		return notFound(id)
	}
}

// lookUp finds a job: by its state, or in the stream when no worker looked at
// it yet. ErrConflict when it ended, ErrNotFound when it is nowhere.
func (q *Queue) lookUp(ctx context.Context, id string) (state, entry, error) {
	if !recorder.ValidID(id) {
		return state{}, entry{}, notFound("of this id")
	}
	s, err := q.load(ctx, id)
	if err != nil {
		return state{}, entry{}, unavailable("looking for job "+id, err)
	}
	if s.exists && s.status.Ended() {
		return state{}, entry{}, recorder.Errorf(recorder.CodeConflict, "job %s ended: it is %s", id, s.status)
	}
	if s.exists {
		e := entry{id: s.entry}
		if m, ok, err := q.find(ctx, s.entry); err != nil {
			return state{}, entry{}, unavailable("looking for job "+id, err)
		} else if ok {
			e, _ = decode(m)
		}
		return s, e, nil
	}
	e, ok, err := q.findRaw(ctx, id)
	if err != nil {
		return state{}, entry{}, unavailable("looking for job "+id, err)
	}
	if !ok {
		return state{}, entry{}, notFound(id)
	}
	return state{}, e, nil
}
