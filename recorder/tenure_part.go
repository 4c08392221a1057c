package recorder

import (
	"time"

	"go.uber.org/zap"
)

// recordOne records one part and reports its way to the queue and the spool.
func (t *tenure) recordOne(s *slot, next Recording, playlists []string) *piece {
	task := t.task(next, playlists)
	entry, err := t.Spool.Create(task)
	if err != nil {
		rec := task.Recording
		rec.Fail(Errorf(CodeUnavailable, "the spool of worker %s refused the job: %w", t.ID, err), CodeUnavailable, EndStartFailed)
		rec.EndedAt = t.Now().UnixNano()
		return &piece{rec: rec}
	}
	t.see(entry)
	task = entry.Task()
	t.mu.Lock()
	t.current = task.Recording
	t.mu.Unlock()
	t.log.Info("recording", zap.Int("part", task.Recording.Part))
	if err := t.admit(&task); err != nil {
		return &piece{entry: entry, rec: refused(task.Recording, err, t.Now())}
	}
	commands, over, forwarded := make(chan Command, 16), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(forwarded)
		t.orders.forward(commands, over)
	}()
	series := NewFollowing(t.ctx, entry, journalOf(t.lease))
	defer series.Stop()
	rec := t.Runner.Run(t.run, task, commands, t.follow(entry, s, series, len(task.Playlists) > 0))
	close(over)
	<-forwarded
	// With EndedAt: a later life of this worker knows by it that all is accounted for.
	t.save(entry, rec, t.log)
	series.Stop()
	return &piece{entry: entry, lists: t.listsOf(entry, rec), rec: series.Locate(rec)}
}

// follow takes a part's reports. continues says that it goes on in playlists.
func (t *tenure) follow(entry SpoolEntry, s *slot, series *Following, continues bool) func(Recording) {
	saved, savedAt := Status(""), time.Time{}
	return func(rec Recording) {
		if now := t.Now(); rec.Status != saved || now.Sub(savedAt) >= saveEvery {
			saved, savedAt = rec.Status, now
			t.save(entry, rec, t.log)
		}
		if rec.Status == StatusActive {
			t.fit.worked()
			t.unbegun = 0
			s.bytes.Store(max(rec.Stats.Bytes, 1))
			t.handOver(continues)
		}
		t.counts.see(rec)
		rec = series.See(rec)
		if rec.Status == StatusEnding && (rec.StartedAt == 0 || t.goesOn(rec)) {
			return // the job may be given back, or goes on: then it never was ending
		}
		t.report(rec)
	}
}

// listsOf gives the playlists of a part that was cut off, for the next one.
func (t *tenure) listsOf(entry SpoolEntry, rec Recording) []string {
	lister, ok := entry.(Lister)
	if !ok || len(rec.Segments) == 0 || !rec.EndReason.breaks() && rec.EndReason != EndWorkerLost {
		return nil
	}
	return lister.Playlists(rec)
}
