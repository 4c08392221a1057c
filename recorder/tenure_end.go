package recorder

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// deliverBeside delivers an earlier part while the next one records. Where that one may go on in the
// playlists, it waits until this is known: they are the next one's then, and ended otherwise.
func (t *tenure) deliverBeside(p *piece) {
	if slices.ContainsFunc(p.lists, func(text string) bool { return text != "" }) {
		p.hold = make(chan bool, 1)
	}
	t.beside.Go(func() {
		if p.hold != nil {
			select {
			case continued := <-p.hold:
				if continued {
					p.handOver(t.partOf(p.rec.Part))
				}
			case <-t.ctx.Done():
			}
		}
		rec := p.rec.Clone()
		rec.Status, rec.Orphan = StatusEnding, t.passed || isLost(t.lease)
		p.rec = p.entry.Deliver(t.ctx, rec, t.learn)
		t.learn(p.rec)
	})
}

func (t *tenure) partOf(n int) Part {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.earlier {
		if p.Part == n {
			return p.clone()
		}
	}
	return Part{}
}

// handOver leaves the playlists that the next part goes on in to that one.
func (p *piece) handOver(part Part) {
	for i := range min(len(p.rec.Segments), len(part.Segments)) {
		p.rec.Segments[i].Continued = part.Segments[i].Continued
	}
}

// handOver answers what the newest of the earlier parts waits for.
func (t *tenure) handOver(continued bool) {
	if len(t.pieces) == 0 {
		return
	}
	select {
	case t.pieces[len(t.pieces)-1].hold <- continued: // a nil channel takes nothing
	default:
	}
}

// end gives a job back or delivers what it recorded.
func (t *tenure) end(last *piece) {
	rec := last.rec
	if rec.EndReason == EndStartFailed && last.entry != nil {
		t.fit.worked() // it was the page's fault
	}
	if isLost(t.lease) {
		t.log.Warn("the lease is lost: what was recorded is delivered on its own")
		t.leaveBehind(last)
		return
	}
	if len(t.pieces) > 0 {
		t.deliver(last)
		return
	}
	switch sequelOf(rec) {
	case sequelDrained:
		t.giveBack(last, nil, false) // our shutdown is no fault of the job
	case sequelUnfit:
		counts := t.fit.failed(rec.ID, rec.Error)
		t.giveBack(last, rec.Error, counts && last.entry != nil) // a spool is never the job's fault
	case sequelRetry:
		t.giveBack(last, rec.Error, true)
	case sequelDeliver:
		t.deliver(last)
	}
}

// giveBack lets another worker record the part.
func (t *tenure) giveBack(last *piece, cause error, counts bool) {
	t.beside.Wait() // what was rescued is rescued
	t.tellParts(last.rec)
	t.release(t.ctx, t.lease, cause, counts, t.log)
	if last.entry != nil {
		t.free(last.entry, t.log)
	}
}

// passOn leaves a job that can be gone on with to others, at no cost of a try: this worker has no slot
// for it, or shuts down. What is here of it is delivered beside theirs, and told of at the job's end.
func (t *tenure) passOn(next Recording) {
	t.log.Warn("no slot is free, or this worker shuts down: another one is to record on")
	t.tellParts(next)
	t.release(t.ctx, t.lease, nil, false, t.log)
	t.freeSlot()
	t.jobs.Go(func() { t.leaveBehind(&piece{rec: next}) }) // nobody is served here any more
}

// tellParts tells of a job that is given back what is known of its parts, so that whoever has it next
// neither loses nor rescues one of them again. rec is the part that is anybody's now.
func (t *tenure) tellParts(rec Recording) {
	if len(t.whole(rec).Earlier) > 0 {
		t.report(t.task(rec, nil).Recording)
	}
}

// earlierFirst is how long the last part waits for the delivery of earlier ones, so that what is
// said of the whole job is said with it.
const earlierFirst = 5 * time.Second

// deliver uploads and ends the job, or leaves both to the next life of this worker.
func (t *tenure) deliver(last *piece) {
	rec := last.rec
	rec.Status = StatusEnding
	several := len(t.whole(rec).Earlier) > 0
	if several && begun(rec) && rec.StartedAt == 0 {
		rec.StartedAt = rec.UpdatedAt // nobody noted its first frame
	}
	t.handOver(false)
	t.report(rec)
	beside := after(&t.beside) // more may be added when it is over: nobody else waits for it
	if last.entry != nil && (rec.StartedAt != 0 || !several) {
		t.await(beside, earlierFirst)
		streams := rec.Streams // of this part alone
		rec = last.entry.Deliver(t.ctx, t.whole(rec), func(r Recording) {
			r.UpdatedAt, r.Streams = t.Now().UnixNano(), streams
			t.report(r)
		})
		rec.Streams = streams
	}
	<-beside
	if rec.StartedAt != 0 || t.handed {
		t.rescueAgain(rec)
	}
	last.rec = rec
	if t.ctx.Err() != nil && !t.settled(rec) || !t.settledHere(rec) {
		t.log.Warn("not delivered yet: the spool keeps it")
		t.abandon(last)
		return
	}
	rec = Conclude(t.whole(rec))
	rec.UpdatedAt = t.Now().UnixNano()
	if t.finish(rec, last) {
		t.freeAll(last)
		return
	}
	t.abandon(last)
}

// await waits d at most.
func (t *tenure) await(done <-chan struct{}, d time.Duration) {
	ctx, cancel := context.WithTimeout(t.ctx, d)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// settledHere reports whether all that is in this worker's spool is where it ends up.
func (t *tenure) settledHere(rec Recording) bool {
	for _, p := range t.pieces {
		if !p.rec.Settled() {
			return false
		}
	}
	return rec.StartedAt == 0 && len(t.whole(rec).Earlier) > 0 || rec.Settled()
}

// settled reports whether all parts are.
func (t *tenure) settled(rec Recording) bool {
	for _, p := range t.whole(rec).Earlier {
		if !p.settled() {
			return false
		}
	}
	return true
}

func (t *tenure) all(last *piece) []*piece {
	all := t.pieces
	if last.entry != nil {
		all = append(all[:len(all):len(all)], last)
	}
	return all
}

func (t *tenure) abandon(last *piece) {
	t.lease.Abandon()
	for _, p := range t.all(last) {
		t.close(p.entry, t.log)
	}
}

func (t *tenure) freeAll(last *piece) {
	for _, p := range t.all(last) {
		t.free(p.entry, t.log)
	}
}

// leaveBehind delivers what this worker has of a job that is somebody else's by now.
func (t *tenure) leaveBehind(last *piece) {
	t.handOver(false)
	var orphans sync.WaitGroup
	if last.entry != nil {
		orphans.Go(func() {
			rec := asOrphan(t.ctx, last.entry, last.rec)
			t.mediaOut() // the job's owner may go on for hours before it can be told
			t.amendOrphan(t.ctx, last.entry, rec, t.log)
		})
	}
	t.beside.Wait()
	for _, p := range t.pieces {
		orphans.Go(func() { t.amendOrphan(t.ctx, p.entry, p.rec, t.log) })
	}
	orphans.Wait()
}

// finish stores the result; false when that must be tried again by a later life.
func (t *tenure) finish(rec Recording, last *piece) bool {
	err := t.lease.Finish(t.ctx, rec)
	switch {
	case err == nil:
		t.counts.ended(rec)
		t.log.Info("ended", zap.String("status", string(rec.Status)), zap.String("end_reason", string(rec.EndReason)))
		return true
	case isTaken(err):
		t.log.Warn("another worker ended or owns the job: amending its result")
		amended := true
		for _, p := range t.all(last) {
			amended = t.amend(t.ctx, p.rec, t.log) && amended
		}
		return amended
	default:
		t.log.Error("the result was not stored", zap.Error(err))
		return false
	}
}
