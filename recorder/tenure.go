package recorder

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// tenure is the time this worker has one job under one lease: part after part is
// recorded, and earlier parts are delivered beside the one that records. What no comment
// says belongs to the goroutine of record.
type tenure struct {
	*Worker
	ctx      context.Context //nolint:containedctx // ends deliveries, not recordings
	lease    Lease
	job      Job // as the part that records has it
	log      *zap.Logger
	freeSlot func()

	orders  *orders
	run     context.Context //nolint:containedctx // done with a Stop: nothing is recorded any more
	handed  bool            // a lost worker's playlists are left for the next part
	unbegun int             // starts in a row of which nothing came
	// mediaOut is to be called when what was recorded takes room in the spool no more.
	mediaOut func()
	passed   bool // the job is left to others: what is here goes beside theirs

	beside sync.WaitGroup // deliveries and rescues of earlier parts
	counts tallied

	mu      sync.Mutex // guards what follows
	pieces  []*piece   // earlier parts that are in this worker's spool; only the goroutine of record adds to them
	current Recording  // of the part that records, as it last told
	earlier []Part
	streams []StreamResult // of earlier parts
	gaps    []gap
}

// gap is a loss between two parts.
type gap struct {
	reason EndReason
	at     int64 // of the incident
	part   int   // before it
}

// piece is one part in the spool.
type piece struct {
	entry SpoolEntry // nil when there is none
	rec   Recording
	part  int      // once it is an earlier one, when rec is the delivery's
	lists []string // texts of its playlists for the next part, "" for none
	// hold, where it is not nil, gets whether the next part goes on in the playlists.
	hold chan bool
}

func (w *Worker) tenure(ctx context.Context, lease Lease, freeSlot func()) *tenure {
	job, rec := lease.Job(), lease.Recording()
	return &tenure{
		Worker: w, ctx: ctx, lease: lease, job: job, freeSlot: freeSlot, mediaOut: func() {}, orders: newOrders(),
		log:    w.Log.With(zap.String("job", job.ID), zap.String("room", job.RoomName), zap.Int("attempt", rec.Attempt)),
		counts: tallied{tally: w.Tally},
	}
}

// record records next, and what follows it, and ends the job or gives it back.
func (t *tenure) record(next Recording, playlists []string) {
	run, cancel := context.WithCancelCause(t.ctx) // reports outlive it: how the recording ended is one of them
	t.run = run
	s := &slot{job: t.job.ID, room: t.job.RoomName, cancel: cancel, order: t.orders.take}
	t.mediaOut = sync.OnceFunc(func() { t.roomSettled(s) })
	defer t.mediaOut()
	last := t.recordAll(s, next, playlists)
	cancel(nil)
	t.freeSlot()
	t.end(last)
}

// recordAll records part after part and gives the last one.
func (t *tenure) recordAll(s *slot, next Recording, playlists []string) *piece {
	over := make(chan struct{})
	defer close(over)
	defer t.enter(s)()
	go t.orders.listen(t.lease, s, over)
	for {
		if len(next.Earlier) > 0 && t.endedBetween(&next) {
			return &piece{rec: next}
		}
		p := t.recordOne(s, next, playlists)
		if !t.goesOn(p.rec) {
			return p
		}
		next, playlists = t.turn(p, playlists)
		if t.unbegun > 0 {
			pause(t.run, betweenTries)
		}
	}
}

// betweenTries is the pause after a start of which nothing came.
const betweenTries = time.Second

// goesOn is the only place that decides whether a part is followed by another one here.
func (t *tenure) goesOn(rec Recording) bool {
	switch {
	case t.job.OnWorkerLoss == LossEnd, isClosed(t.draining), isLost(t.lease):
		return false
	case begun(rec):
		t.mu.Lock()
		defer t.mu.Unlock()
		parts := append(t.earlier[:len(t.earlier):len(t.earlier)], rec.part())
		return rec.EndReason.breaks() && rec.Part < MostParts && shortInARow(parts) < mostShort
	case len(t.pieces) == 0: // another worker may do better
		return false
	}
	switch sequelOf(rec) {
	case sequelRetry, sequelUnfit:
		t.mu.Lock()
		defer t.mu.Unlock()
		return t.unbegun+1+shortInARow(t.earlier) < mostShort
	default:
		return false
	}
}

// endedBetween ends a job whose part has not begun, where there is a reason.
func (t *tenure) endedBetween(next *Recording) bool {
	why, stopped := t.orders.stopped()
	if t.run.Err() != nil {
		why, stopped = stopOf(t.run).Reason, true
	}
	most := t.limit(t.job).Limits.MaxDuration.Std()
	switch {
	case stopped:
		next.Fail(Errorf(CodeAborted, "Stop called before pipeline could start"), CodeAborted, why)
	case most > 0 && next.before(t.Now()) >= most:
		next.EndReason = EndMaxDuration
	case t.job.Limits.MaxSize > 0 && next.sizeBefore() >= t.job.Limits.MaxSize:
		next.EndReason = EndMaxSize
	default:
		return false
	}
	next.EndedAt = t.Now().UnixNano()
	return true
}

// turn puts a part among the earlier ones, and gives what the next one begins with: other
// playlists than this one, when anything came of it.
func (t *tenure) turn(p *piece, before []string) (next Recording, playlists []string) {
	now := t.Now()
	t.log.Warn("recording on after a fault",
		zap.String("end_reason", string(p.rec.EndReason)), zap.Int("part", p.rec.Part), zap.Error(errorOf(p.rec)))
	if !p.rec.superseded() { // or an earlier life noted it
		incident := Incident{Reason: p.rec.EndReason, At: now.UnixNano()}
		if p.rec.Error != nil {
			incident.Text = p.rec.Error.Message
		}
		p.rec.Meet(incident)
	}
	t.counts.see(p.rec)
	updates := t.orders.turn()
	if begun(p.rec) {
		t.unbegun = 0
		playlists = p.lists
		next = t.setAside(p)
	} else {
		t.unbegun++
		playlists = before
		next = t.whole(p.rec).next()
		next.Part = p.rec.Part
		if p.entry != nil {
			t.free(p.entry, t.log)
		}
	}
	t.job = t.job.updated(updates)
	next.pausedBy(updates, now)
	return next, playlists
}

// setAside makes a part an earlier one and begins its delivery.
func (t *tenure) setAside(p *piece) (next Recording) {
	if p.rec.StartedAt == 0 {
		p.rec.StartedAt = p.rec.UpdatedAt
	}
	part, incident := p.rec.part(), p.rec.Incidents[len(p.rec.Incidents)-1]
	next = p.rec.next()
	t.mu.Lock()
	t.earlier = append(t.earlier, part)
	t.streams = goingOn(t.streams, p.rec.Streams)
	t.gaps = append(t.gaps, gap{incident.Reason, incident.At, part.Part})
	next.Earlier = cloneParts(t.earlier)
	t.keep(p)
	t.mu.Unlock()
	t.save(p.entry, p.rec, t.log)
	t.deliverBeside(p)
	return next
}

// keep notes that earlier parts are in this worker's spool: they are not for a rescue. The caller
// holds mu.
func (t *tenure) keep(pieces ...*piece) {
	for _, p := range pieces {
		p.part = p.rec.Part
	}
	t.pieces = append(t.pieces, pieces...)
}

func errorOf(rec Recording) error {
	if rec.Error == nil {
		return nil
	}
	return rec.Error
}

// limit bounds a job as this worker does.
func (w *Worker) limit(job Job) Job {
	if most := Duration(w.MaxDuration); most > 0 && (job.Limits.MaxDuration == 0 || job.Limits.MaxDuration > most) {
		job.Limits.MaxDuration = most
	}
	return job
}

// task resolves what depends on the part, and gives the playlists that it goes on in.
func (t *tenure) task(rec Recording, playlists []string) Task {
	rec = rec.Clone()
	rec.Part = max(rec.Part, 1)
	rec.Worker, rec.Status = t.ID, StatusStarting
	rec.StartedAt, rec.EndedAt, rec.EndReason, rec.Error, rec.Diagnosis, rec.Stats = 0, 0, "", nil, nil, Stats{}
	t.mu.Lock()
	rec.Earlier = cloneParts(t.earlier)
	texts := make([]string, len(t.job.Segments))
	copy(texts, playlists)
	playlists = rec.Continue(t.job, texts)
	t.keepContinued(rec.Earlier)
	t.mu.Unlock()
	if !slices.ContainsFunc(playlists, func(text string) bool { return text != "" }) {
		playlists = nil
	}
	rec.begin(t.job)
	return Task{Job: t.limit(t.job.apart(rec)), Recording: rec, Playlists: playlists}
}

// keepContinued notes which playlists go on. The caller holds mu.
func (t *tenure) keepContinued(parts []Part) {
	last := len(parts) - 1
	if last < 0 {
		return
	}
	for i, s := range parts[last].Segments {
		t.earlier[last].Segments[i].Continued = s.Continued
	}
}
