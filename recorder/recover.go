package recorder

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"
)

// rescanEvery is how often the spool is looked at again: a child that outlived
// an earlier life of this worker has finalised its file by then.
const rescanEvery = 5 * time.Second

// rescan takes up entries that come free while the worker runs, until ctx is done.
func (w *Worker) rescan(ctx, jobCtx context.Context) {
	for {
		pause(ctx, rescanEvery)
		if ctx.Err() != nil {
			return
		}
		if err := w.recoverSpool(jobCtx); err != nil {
			w.Log.Error("the spool cannot be read", zap.Error(err))
		}
	}
}

// see notes an entry as this life's own; false when it is known. An entry is
// worked on once a life: what could not be ended then waits for the next.
func (w *Worker) see(entry SpoolEntry) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	dir := entry.Task().Dir
	if _, known := w.seen[dir]; known {
		return false
	}
	w.seen[dir] = struct{}{}
	return true
}

// recoverSpool takes up what earlier lives left in the spool: each entry is
// delivered and its job ended, beside the work on new jobs.
func (w *Worker) recoverSpool(ctx context.Context) error {
	entries, err := w.Spool.Left()
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !w.see(entry) {
			w.close(entry, w.Log)
			continue
		}
		w.jobs.Add(1)
		go func() {
			defer w.jobs.Done()
			w.recoverEntry(ctx, entry)
		}()
	}
	return nil
}

func (w *Worker) recoverEntry(ctx context.Context, entry SpoolEntry) {
	task := entry.Task()
	log := w.Log.With(zap.String("job", task.Job.ID), zap.String("room", task.Job.RoomName))
	rec := task.Recording
	if rec.Status != StatusEnding || rec.EndedAt == 0 { // ending, but cut off while it was finalised
		rec = Salvage(rec, task.Dir, Errorf(CodeWorkerLost, "the worker ended while it recorded; this is what there was until then"),
			EndWorkerLost, w.Now().UnixNano())
		w.save(entry, rec, log)
	}
	log.Info("taking up what an earlier life left", zap.String("status", string(rec.Status)))
	lease, err := w.adopt(ctx, task.Job.ID, log)
	switch {
	case ctx.Err() != nil:
		if err == nil {
			lease.Abandon()
		}
		w.close(entry, log)
	case err != nil:
		w.deliverOrphan(ctx, entry, rec, log)
	default:
		defer w.serve(lease)()
		w.follow(ctx, lease, entry, rec, log)
	}
}

// adopt asks until Redis answers.
func (w *Worker) adopt(ctx context.Context, id string, log *zap.Logger) (Lease, error) {
	for {
		lease, err := w.Queue.Adopt(ctx, id)
		if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrConflict) || ctx.Err() != nil {
			return lease, err
		}
		log.Warn("the queue does not answer, trying again", zap.Error(err))
		pause(ctx, 2*time.Second)
	}
}

// deliverOrphan delivers a recording whose job is somebody else's by now, or
// nobody's.
func (w *Worker) deliverOrphan(ctx context.Context, entry SpoolEntry, rec Recording, log *zap.Logger) {
	rec = entry.Deliver(ctx, rec, func(Recording) {})
	if rec.Settled() && w.amend(ctx, rec, log) {
		w.free(entry, log)
		return
	}
	w.close(entry, log)
}

// amend tells the job of files that arrived outside its lease, once the job has
// ended: until then its owner's reports would overwrite them. False when a
// later life of this worker must try again.
func (w *Worker) amend(ctx context.Context, rec Recording, log *zap.Logger) bool {
	rec = rec.Clone()
	rec.Files = slices.DeleteFunc(rec.Files, func(f FileResult) bool { return f.State == FileEmpty })
	rec.Segments = slices.DeleteFunc(rec.Segments, func(s SegmentsResult) bool { return s.State == FileEmpty })
	rec.Images = slices.DeleteFunc(rec.Images, func(s ImagesResult) bool { return s.State == FileEmpty })
	if len(rec.results()) == 0 {
		return true
	}
	told := false
	for {
		err := w.Queue.Amend(ctx, rec.ID, rec)
		if err == nil || errors.Is(err, ErrNotFound) {
			return true
		}
		if !told {
			told = true
			log.Warn("the job's result cannot be amended yet: its owner goes on, or redis is away", zap.Error(err))
		}
		again := time.NewTimer(5 * time.Second)
		select {
		case <-again.C:
		case <-w.draining: // its owner may take hours
			again.Stop()
			return false
		case <-ctx.Done():
			again.Stop()
			return false
		}
	}
}
