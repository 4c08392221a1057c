package recorder

import (
	"errors"
	"time"

	"go.uber.org/zap"
)

// Heir is a Lease that knows whose job it was before.
type Heir interface {
	// Predecessor is the worker that had the lease before; "" for nobody.
	Predecessor() string
}

// playlistWait is how long a new part waits for the playlists that it is to go on in.
const playlistWait = 2 * time.Second

// inherit accounts for what other workers left of the job, and gives what is to be
// recorded. False when that is nothing: the job is ended then.
func (t *tenure) inherit(rec Recording) (next Recording, playlists []string, ok bool) {
	if rec.StartedAt == 0 && len(rec.Earlier) == 0 {
		return rec, nil, true
	}
	t.job = t.job.asOf(rec)
	next = rec
	lost := rec.StartedAt != 0
	t.mu.Lock()
	if n := len(rec.Incidents); n > 0 {
		t.counts.last = rec.Incidents[n-1].At // others told of them
	}
	t.earlier, t.streams = cloneParts(rec.Earlier), rec.Streams
	if lost {
		next = t.lose(rec)
	}
	next.Earlier = cloneParts(t.earlier)
	t.mu.Unlock()
	t.counts.see(next)
	rescued := t.rescueBeside(next)
	if why := t.notResumed(rec); why != "" {
		t.log.Warn("another worker's recording is not gone on with", zap.String("why", why))
		t.concludeInherited(next, why)
		return next, nil, false
	}
	if !lost || len(t.job.Segments) == 0 {
		return next, nil, true
	}
	wait := time.NewTimer(playlistWait)
	defer wait.Stop()
	select {
	case playlists = <-rescued:
	case <-wait.C:
		t.log.Warn("the playlists of the lost worker are not known in time: others begin")
	}
	return next, playlists, true
}

// lose makes the part of a lost worker an earlier one. The caller holds mu.
func (t *tenure) lose(rec Recording) (next Recording) {
	part := rec.part()
	part.Worker, part.EndReason = "", EndWorkerLost
	part.Error = Errorf(CodeWorkerLost, "the worker was lost while it recorded")
	if heir, ok := t.lease.(Heir); ok && heir.Predecessor() != "" {
		part.Worker = heir.Predecessor()
		part.Error = Errorf(CodeWorkerLost, "worker %s was lost while it recorded", part.Worker)
	}
	part.Attempt = max(rec.Attempt-1, min(rec.Attempt, 1))
	for _, r := range part.results() {
		if *r.state == FileRecording {
			*r.state = FilePending
		}
	}
	now := t.Now().UnixNano()
	t.earlier = append(t.earlier, part)
	t.gaps = append(t.gaps, gap{EndWorkerLost, now, part.Part})
	next = rec.next()
	next.Meet(Incident{Reason: EndWorkerLost, At: now, Text: part.Error.Message})
	return next
}

// here reports whether a part is in this worker's spool.
func (t *tenure) here(part int) bool {
	for _, p := range t.pieces {
		if p.rec.Part == part {
			return true
		}
	}
	return false
}

// notResumed says why a recording that was cut off is not gone on with; "" when it is.
func (t *tenure) notResumed(rec Recording) string {
	age := t.Now().Sub(time.Unix(0, rec.UpdatedAt))
	switch {
	case t.job.OnWorkerLoss == LossEnd:
		return "the job says so (on_worker_loss)"
	case age >= ResumeWithin:
		return "the loss is " + age.Round(time.Second).String() + " ago"
	case rec.StartedAt != 0 && max(rec.Part, 1) >= MostParts:
		return "it has had its parts"
	default:
		return ""
	}
}

// concludeInherited ends a job that nobody goes on with, when all is rescued that can be.
func (t *tenure) concludeInherited(next Recording, why string) {
	next.Fail(Errorf(CodeWorkerLost, "the worker that recorded was lost, and the recording was not gone on with: %s", why),
		CodeWorkerLost, EndWorkerLost)
	t.freeSlot()
	t.deliver(&piece{rec: next})
}

// concludeLost ends a job whose recording had ended on a worker that has not come back, when all
// is rescued that can be. Should it come back, the rest arrives after all.
func (t *tenure) concludeLost(rec Recording) {
	t.mu.Lock()
	t.earlier = cloneParts(rec.Earlier)
	t.mu.Unlock()
	t.rescueBeside(rec)
	if rec.StartedAt != 0 && !rec.Settled() {
		rec, _ = t.rescue(rec)
	}
	t.beside.Wait()
	if t.ctx.Err() != nil {
		t.lease.Abandon()
		return
	}
	cause := Errorf(CodeWorkerLost,
		"the worker that recorded this has not come back; its spool holds the files and is delivered when it does")
	t.finishLost(ConcludeRescued(t.whole(rec), cause, rec.UpdatedAt))
}

// finishLost ends a job of which this worker has no media. No amending: what it knows of them
// is older than the job, where somebody else ended that.
func (t *tenure) finishLost(rec Recording) {
	rec.UpdatedAt = t.Now().UnixNano()
	if err := t.lease.Finish(t.ctx, rec); err != nil {
		t.log.Warn("the lost job was not ended", zap.Error(err))
		t.lease.Abandon()
		return
	}
	t.counts.ended(rec)
	t.log.Info("ended", zap.String("status", string(rec.Status)), zap.String("end_reason", string(rec.EndReason)))
}

// rescueBeside rescues every earlier part that is not where it ends up, but those that
// are here. The playlists of the last of them come on the channel.
func (t *tenure) rescueBeside(rec Recording) <-chan []string {
	playlists := make(chan []string, 1)
	for _, p := range rec.Earlier {
		if p.settled() || t.here(p.Part) {
			continue
		}
		t.beside.Go(func() {
			rescued, lists := t.rescue(rec.as(p))
			t.learn(rescued)
			if p.Part == rec.Earlier[len(rec.Earlier)-1].Part {
				playlists <- lists
			}
		})
	}
	return playlists
}

// rescueAgain tries what was not rescued once more, at the end: its storage may have been away.
func (t *tenure) rescueAgain() {
	t.mu.Lock()
	rec := t.compose(t.current)
	t.mu.Unlock()
	for _, p := range rec.Earlier {
		if !p.settled() && !t.here(p.Part) && t.ctx.Err() == nil {
			rescued, _ := t.rescue(rec.as(p))
			t.learn(rescued)
		}
	}
}

// rescue completes the uploads of a part from what its worker noted.
func (t *tenure) rescue(rec Recording) (rescued Recording, playlists []string) {
	rescued = rec.Clone()
	rescuer, ok := t.Spool.(Rescuer)
	if ok {
		rescued, playlists = rescuer.Rescue(t.ctx, t.lease.Job(), rec.Clone(), t.notes())
	}
	for _, r := range rescued.results() {
		if *r.state == FileDelivered || *r.state == FileRefused || *r.state == FileEmpty {
			continue
		}
		*r.state = FilePending
		if *r.err == "" {
			*r.err = "the worker that recorded this has not come back; its spool holds the file and is delivered when it does"
		}
	}
	return rescued, playlists
}

// notes reads what leases of the job noted, until Redis answers.
func (t *tenure) notes() map[string]string {
	journal := journalOf(t.lease)
	if journal == nil {
		return nil
	}
	for told := false; ; told = true {
		notes, err := journal.Notes(t.ctx)
		switch {
		case err == nil:
			return notes
		case t.ctx.Err() != nil, isTaken(err):
			return nil
		case !told:
			t.log.Warn("the notes of the lost worker cannot be read yet", zap.Error(err))
		}
		pause(t.ctx, time.Second)
	}
}

// isTaken reports whether a job is not this worker's any more.
func isTaken(err error) bool { return errors.Is(err, ErrLeaseLost) || errors.Is(err, ErrConflict) }
