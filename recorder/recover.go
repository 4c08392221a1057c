package recorder

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// rescanEvery is how often the spool is looked at again. A child that outlived an earlier life of
// this worker has finalised its file soon after this one began, and its job is to go on: until
// then it is rescanSoon.
const (
	rescanEvery = 5 * time.Second
	rescanSoon  = 500 * time.Millisecond
	rescanBegin = 30 * time.Second
)

// laterPart is how long an earlier part waits for the entry of the one that followed it,
// which the child of an earlier life may be finalising.
const laterPart = time.Minute

// rescan takes up entries that come free while the worker runs, until ctx is done.
func (w *Worker) rescan(ctx, jobCtx context.Context) {
	for began := w.Now(); ; {
		every := rescanEvery
		if w.Now().Sub(began) < rescanBegin {
			every = rescanSoon
		}
		pause(ctx, every)
		if ctx.Err() != nil {
			return
		}
		if err := w.recoverSpool(jobCtx); err != nil {
			w.Log.Error("the spool cannot be read", zap.Error(err))
		}
	}
}

// see notes an entry as this life's own. An entry is worked on once a life: what could not
// be ended then waits for the next.
func (w *Worker) see(entry SpoolEntry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[entry.Task().Dir] = struct{}{}
}

// recoverSpool takes up what earlier lives left in the spool, job by job: each part is
// delivered and the job gone on with or ended, beside the work on new jobs.
func (w *Worker) recoverSpool(ctx context.Context) error {
	entries, err := w.Spool.Left()
	if err != nil {
		return err
	}
	jobs := map[string][]*piece{}
	for _, entry := range entries {
		task := entry.Task()
		if w.isSeen(task.Dir) {
			w.close(entry, w.Log)
			continue
		}
		id := task.Job.ID
		jobs[id] = append(jobs[id], &piece{entry: entry, rec: task.Recording})
	}
	for _, pieces := range jobs {
		slices.SortStableFunc(pieces, func(a, b *piece) int {
			return cmp.Or(cmp.Compare(a.rec.Part, b.rec.Part), cmp.Compare(a.rec.Attempt, b.rec.Attempt))
		})
		if w.waitsForLater(pieces) {
			for _, p := range pieces {
				w.close(p.entry, w.Log)
			}
			continue
		}
		for _, p := range pieces {
			w.see(p.entry)
		}
		w.jobs.Add(1)
		slot, free := w.slotFor(ctx, pieces)
		go func() {
			defer w.jobs.Done()
			defer free()
			w.recoverJob(ctx, pieces, slot, free)
		}()
	}
	return nil
}

func (w *Worker) isSeen(dir string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, known := w.seen[dir]
	return known
}

// waitsForLater reports whether all of these parts were followed by another one, whose
// entry may come free soon: that one ends the job.
func (w *Worker) waitsForLater(pieces []*piece) bool {
	last := pieces[len(pieces)-1]
	if !last.rec.superseded() {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	dir := last.entry.Task().Dir
	since, known := w.waiting[dir]
	if !known {
		since = w.Now()
		w.waiting[dir] = since
	}
	return w.Now().Sub(since) < laterPart
}

// slotFor takes a slot for what may be recorded on, ahead of new jobs. free gives it back, and may
// be called again.
func (w *Worker) slotFor(ctx context.Context, pieces []*piece) (got bool, free func()) {
	if !w.cutOff(pieces[len(pieces)-1]) || !w.slots.take(ctx, func() { w.media.Add(1) }) {
		return false, func() {}
	}
	return true, sync.OnceFunc(w.freeSlot)
}

// cutOff is Task.CutOff of a part.
func (w *Worker) cutOff(p *piece) bool {
	return Task{Job: p.entry.Task().Job, Recording: p.rec}.CutOff(w.Now())
}

func (w *Worker) recoverJob(ctx context.Context, pieces []*piece, slot bool, free func()) {
	last := pieces[len(pieces)-1]
	job := last.entry.Task().Job
	log := w.Log.With(zap.String("job", job.ID), zap.String("room", job.RoomName))
	goesOn := w.cutOff(last)
	for _, p := range pieces {
		if !p.rec.Accounted() {
			p.rec = Salvage(p.rec, p.entry.Task().Dir,
				Errorf(CodeWorkerLost, "the worker ended while it recorded; this is what there was until then"), EndWorkerLost, cmp.Or(p.rec.UpdatedAt, w.Now().UnixNano()))
			w.save(p.entry, p.rec, log)
		}
	}
	log.Info("taking up what an earlier life left", zap.String("status", string(last.rec.Status)), zap.Int("parts", len(pieces)))
	lease, err := w.adopt(ctx, job.ID, free, log)
	switch {
	case ctx.Err() != nil:
		if err == nil {
			lease.Abandon()
		}
		for _, p := range pieces {
			w.close(p.entry, log)
		}
	case err != nil:
		free()
		var orphans sync.WaitGroup
		for _, p := range pieces {
			orphans.Go(func() { w.deliverOrphan(ctx, p.entry, p.rec, log) })
		}
		orphans.Wait()
	default:
		defer w.serve(lease)()
		w.tenure(ctx, lease, free).takeUp(pieces, slot, goesOn)
	}
}

// takeUp goes on with a job whose newest parts are in this worker's spool, or ends it.
func (t *tenure) takeUp(pieces []*piece, slot, goesOn bool) {
	state, last := t.lease.Recording(), pieces[len(pieces)-1]
	anew := state.StartedAt != 0 && state.Part == last.rec.Part && state.Attempt > last.rec.Attempt
	others := anew || state.Part > last.rec.Part && state.StartedAt != 0 // somebody had the job meanwhile
	earlier := pieces
	if anew || !others {
		earlier = pieces[:len(pieces)-1]
	}
	if anew {
		t.standBack(last)
	}
	theirs := slices.DeleteFunc(cloneParts(state.Earlier), func(p Part) bool {
		return slices.ContainsFunc(pieces, func(o *piece) bool { return max(o.rec.Part, 1) == p.Part })
	})
	t.mu.Lock()
	t.earlier = overlay(cloneParts(last.rec.Earlier), theirs...)
	for _, p := range earlier {
		t.earlier = overlay(t.earlier, p.rec.part())
	}
	state.Earlier = cloneParts(t.earlier)
	t.keep(earlier...)
	t.mu.Unlock()
	if others {
		t.takeBack(state, slot)
		return
	}
	t.locate(last, state)
	if state.StartedAt == 0 {
		last.rec.Unbegun = state.Part
	}
	if n := len(last.rec.Incidents); n > 0 {
		t.counts.last = last.rec.Incidents[n-1].At // an earlier life told of them
	}
	goesOn = goesOn && state.Status != StatusEnding && !isLost(t.lease)
	if t.passed = goesOn && !t.hasRoom(slot); t.passed {
		t.deliverEarlier()
		t.job = t.job.asOf(state)
		next, _ := t.turn(last, nil)
		t.passOn(next)
		return
	}
	t.deliverEarlier()
	t.rescueBeside(state, false)
	if !goesOn {
		t.freeSlot()
		t.end(last)
		return
	}
	t.job = t.job.asOf(state)
	last.lists = t.listsOf(last.entry, last.rec)
	next, playlists := t.turn(last, nil)
	t.record(next, playlists)
}

// hasRoom reports whether a job that has a slot, or none, can be recorded here.
func (t *tenure) hasRoom(slot bool) bool { return slot && !isClosed(t.draining) }

// deliverEarlier begins the deliveries of what an earlier life left.
func (t *tenure) deliverEarlier() {
	for _, p := range t.pieces {
		t.deliverBeside(p)
	}
}

// standBack leaves the job to a part that another worker recorded again, because nobody had been
// told that it began here. What is here is delivered beside, and told of at the end.
func (t *tenure) standBack(last *piece) {
	t.jobs.Go(func() { t.deliverOrphan(t.ctx, last.entry, last.rec, t.log) })
}

// takeBack goes on with a job that another worker had after this one, and lost.
func (t *tenure) takeBack(state Recording, slot bool) {
	if !slot && !isClosed(t.draining) { // none was taken for what is here, if that is old
		if slot = t.slots.take(t.ctx, func() { t.media.Add(1) }); slot {
			t.freeSlot = sync.OnceFunc(t.Worker.freeSlot)
		}
	}
	ending := state.Status == StatusEnding // theirs to deliver, when they come back
	t.passed = ending || !t.hasRoom(slot) && t.notResumed(state) == ""
	t.deliverEarlier()
	switch {
	case ending:
		t.lease.Abandon()
		t.freeSlot()
		t.jobs.Go(func() { t.leaveBehind(&piece{rec: state}) })
	case t.passed:
		t.job = t.job.asOf(state)
		next := t.account(state)
		t.counts.see(next)
		t.passOn(next)
	default:
		if next, playlists, ok := t.inherit(state); ok {
			t.record(next, playlists)
		}
	}
}

// locate notes in a part from the spool what only the queue was told: where the storage has its
// series, how long its media were, and what its streams were in all parts.
func (t *tenure) locate(p *piece, state Recording) {
	if max(state.Part, 1) != max(p.rec.Part, 1) {
		return
	}
	if len(state.Earlier) > 0 && len(state.Streams) > 0 {
		p.rec.Streams = state.Streams
		if p.rec.Error != nil {
			p.rec.failStreams(p.rec.Error, p.rec.EndedAt)
		}
	}
	for i := range min(len(p.rec.Files), len(state.Files)) {
		if to, at := &p.rec.Files[i], state.Files[i]; at.EndedAt > to.EndedAt {
			to.StartedAt, to.EndedAt, to.Duration = at.StartedAt, at.EndedAt, at.Duration
		}
	}
	for i := range min(len(p.rec.Segments), len(state.Segments)) {
		to, at := &p.rec.Segments[i], state.Segments[i]
		to.PlaylistLocation, to.LivePlaylistLocation, to.Backup = at.PlaylistLocation, at.LivePlaylistLocation, at.Backup
	}
	for i := range min(len(p.rec.Images), len(state.Images)) { // those that were sent are not counted here any more
		p.rec.Images[i].ImageCount = max(p.rec.Images[i].ImageCount, state.Images[i].ImageCount)
	}
}

// overlay puts parts in the place of those of the same number, or among them.
func overlay(parts []Part, more ...Part) []Part {
	for _, p := range more {
		at, known := slices.BinarySearchFunc(parts, p.Part, func(o Part, n int) int { return cmp.Compare(o.Part, n) })
		if known {
			parts[at] = p.clone()
		} else {
			parts = slices.Insert(parts, at, p.clone())
		}
	}
	return parts
}

// adopt asks until Redis answers. A shutdown does not wait for that with a slot.
func (w *Worker) adopt(ctx context.Context, id string, free func(), log *zap.Logger) (Lease, error) {
	for {
		lease, err := w.Queue.Adopt(ctx, id)
		if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrConflict) || ctx.Err() != nil {
			return lease, err
		}
		log.Warn("the job cannot be taken up yet, trying again", zap.Error(err))
		if isClosed(w.draining) {
			free()
		}
		pause(ctx, 2*time.Second)
	}
}

// deliverOrphan delivers a recording whose job is somebody else's by now, or
// nobody's.
func (w *Worker) deliverOrphan(ctx context.Context, entry SpoolEntry, rec Recording, log *zap.Logger) {
	w.amendOrphan(ctx, entry, asOrphan(ctx, entry, rec), log)
}

// asOrphan delivers what replaces nothing, and reports to nobody.
func asOrphan(ctx context.Context, entry SpoolEntry, rec Recording) Recording {
	rec.Orphan = true
	return entry.Deliver(ctx, rec, func(Recording) {})
}

// amendOrphan tells the job of what was delivered so.
func (w *Worker) amendOrphan(ctx context.Context, entry SpoolEntry, rec Recording, log *zap.Logger) {
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
	rec, some := rec.Late()
	if !some {
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
