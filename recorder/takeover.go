package recorder

import (
	"cmp"
	"errors"
	"slices"
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
	next = t.account(rec)
	why := t.notResumed(rec)
	if why != "" {
		next.Incidents = rec.Incidents // the loss is the end, and is counted as that
	}
	t.counts.see(next)
	rescued := t.rescueBeside(next, why != "")
	if why != "" {
		t.log.Warn("another worker's recording is not gone on with", zap.String("why", why))
		t.concludeInherited(next, why)
		return next, nil, false
	}
	if t.handed = len(t.job.Segments) > 0; !t.handed {
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

// account puts what other workers recorded among the earlier parts, and gives what follows it.
func (t *tenure) account(rec Recording) (next Recording) {
	next = rec
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(rec.Incidents); n > 0 {
		t.counts.last = rec.Incidents[n-1].At // others told of them
	}
	if t.streams = rec.Streams; len(t.pieces) == 0 { // else what is here may be delivered already
		t.earlier = cloneParts(rec.Earlier)
	}
	if rec.StartedAt != 0 {
		next = t.lose(rec)
	} else if last := &t.earlier[len(t.earlier)-1]; !t.here(last.Part) {
		last.notFollowed()
	}
	next.Earlier = cloneParts(t.earlier)
	return next
}

// lose makes the part of a lost worker an earlier one. The caller holds mu.
func (t *tenure) lose(rec Recording) (next Recording) {
	part := rec.part()
	part.Worker, part.EndReason = t.predecessor(), EndWorkerLost
	part.Error = Errorf(CodeWorkerLost, "worker %s was lost while it recorded", cmp.Or(part.Worker, "(unknown)"))
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

func (t *tenure) predecessor() string {
	if heir, ok := t.lease.(Heir); ok {
		return heir.Predecessor()
	}
	return ""
}

// here reports whether a part is in this worker's spool. The caller holds mu.
func (t *tenure) here(part int) bool {
	for _, p := range t.pieces {
		if p.part == part {
			return true
		}
	}
	return false
}

// notResumed says why a recording that was cut off is not gone on with; "" when it is.
func (t *tenure) notResumed(rec Recording) string {
	age := t.Now().Sub(time.Unix(0, rec.cutAt()))
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
	cause := Errorf(CodeWorkerLost,
		"the worker that recorded this has not come back; its spool holds the files and is delivered when it does")
	worker, n := t.predecessor(), len(rec.Earlier)
	unbegun := rec.StartedAt == 0 && n > 0
	if unbegun {
		worker = rec.Earlier[n-1].Worker
		rec = rec.unlessBegun()
	}
	part := rec.part()
	part.Worker = worker
	if unbegun {
		part.notFollowed()
	}
	t.mu.Lock()
	t.earlier = append(cloneParts(rec.Earlier), part)
	readUnended(t.earlier)
	all := rec.Clone()
	all.Earlier = cloneParts(t.earlier)
	t.mu.Unlock()
	if rec.StartedAt != 0 {
		t.rescueBeside(all, true)
		t.beside.Wait()
	}
	if t.ctx.Err() != nil {
		t.lease.Abandon()
		return
	}
	t.mu.Lock()
	last := len(t.earlier) - 1
	rec.Earlier, part = cloneParts(t.earlier[:last]), t.earlier[last].clone()
	t.mu.Unlock()
	rec.Files, rec.Segments, rec.Images = part.Files, part.Segments, part.Images
	t.finishLost(ConcludeRescued(rec, cause, rec.UpdatedAt))
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

// rescueBeside rescues what lost workers left of earlier parts, beside all else. The playlists of the
// last part come on the channel: to be gone on in or, when the job is concluded, ended.
func (t *tenure) rescueBeside(rec Recording, concluded bool) <-chan []string {
	playlists := make(chan []string, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	lost := slices.DeleteFunc(cloneParts(rec.Earlier), func(p Part) bool { return p.settled() || t.here(p.Part) })
	if len(lost) == 0 {
		return playlists
	}
	last := rec.as(lost[len(lost)-1])
	if last.EndReason = ""; concluded {
		last.EndReason = EndWorkerLost
	}
	files, series := last.Clone(), last.Clone()
	files.Earlier, files.Segments, files.Images, series.Files = lost[:len(lost)-1], nil, nil, nil
	for i := range series.Earlier {
		p := &series.Earlier[i]
		p.Files = nil
		for _, r := range p.results() {
			if t.here(p.Part) {
				*r.state = FileDelivered // which is not for others to do
			}
		}
	}
	if len(files.Files) > 0 {
		t.beside.Go(func() {
			rescued, _ := t.rescue(files)
			t.learnFiles(append(rescued.Earlier, rescued.part()))
		})
	}
	if len(series.Segments)+len(series.Images) > 0 {
		t.beside.Go(func() {
			rescued, lists := t.rescue(series)
			playlists <- lists
			t.learnSeries(append(rescued.Earlier, rescued.part()))
		})
	}
	return playlists
}

// rescueAgain tries once more what was not rescued, at the end: its storage may have been away. What
// was left for a part that never began to go on with is ended.
func (t *tenure) rescueAgain(rec Recording) {
	if t.ctx.Err() != nil {
		return
	}
	rec = t.whole(rec)
	if n := len(rec.Earlier); rec.StartedAt == 0 && n > 0 {
		rec.Earlier[n-1].notFollowed()
	}
	readUnended(rec.Earlier)
	t.rescueBeside(rec, true)
	t.beside.Wait()
}

// notFollowed says that the part after this one never began: the playlists that were rescued for it are
// read again, and whoever is next goes on in them, or ends them.
func (p *Part) notFollowed() {
	for i := range p.Segments {
		p.Segments[i].Continued = false
	}
	p.readAgain()
}

// readAgain has the playlists of a lost part read again that nobody went on in.
func (p *Part) readAgain() {
	for i := range p.Segments {
		if s := &p.Segments[i]; s.State == FileDelivered && !s.Continued {
			s.State = FilePending
		}
	}
}

// readUnended has the playlists read again that a rescue left for others to go on in, who were
// late, or never came: they get their end.
func readUnended(parts []Part) {
	for i := range parts {
		if parts[i].EndReason == EndWorkerLost {
			parts[i].readAgain()
		}
	}
}

// learnFiles notes what became of the files of lost parts.
func (t *tenure) learnFiles(parts []Part) {
	t.learnParts(func(p *Part) {
		for _, rescued := range parts {
			if rescued.Part == p.Part {
				p.Files = rescued.Files
			}
		}
	})
}

// learnSeries notes what became of the series of lost parts.
func (t *tenure) learnSeries(parts []Part) {
	t.learnParts(func(p *Part) {
		for _, rescued := range parts {
			if rescued.Part != p.Part || t.here(p.Part) {
				continue
			}
			for i := range min(len(p.Segments), len(rescued.Segments)) {
				rescued.Segments[i].Continued = p.Segments[i].Continued
			}
			p.Segments, p.Images = rescued.Segments, rescued.Images
		}
	})
}

func (t *tenure) learnParts(note func(p *Part)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.earlier {
		p := &t.earlier[i]
		note(p)
		if p.EndReason == EndWorkerLost {
			p.EndedAt = cmp.Or(Recording{Files: p.Files, Segments: p.Segments, Images: p.Images}.lastMedia(), p.EndedAt)
		}
	}
	t.tell()
}

// rescue asks the spool to complete what it can of a lost worker's part.
func (t *tenure) rescue(rec Recording) (rescued Recording, playlists []string) {
	rescued = rec.Clone()
	if rescuer, ok := t.Spool.(Rescuer); ok {
		rescued, playlists = rescuer.Rescue(t.ctx, t.lease.Job(), rec.Clone(), t.notes())
	}
	leave := func(results []result) {
		for _, r := range results {
			if *r.state == FileDelivered || *r.state == FileRefused || *r.state == FileEmpty {
				continue
			}
			*r.state = FilePending
			*r.err = cmp.Or(*r.err, "the worker that recorded this has not come back; its spool holds it and is delivered when it does")
		}
	}
	leave(rescued.results())
	for i := range rescued.Earlier {
		leave(rescued.Earlier[i].results())
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
