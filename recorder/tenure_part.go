package recorder

import (
	"os"
	"path/filepath"
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
	return &piece{entry: entry, lists: t.listsOf(task.Dir, rec), rec: series.Locate(rec)}
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

// listsOf reads the playlists that a part wrote, before their series are delivered. Those
// whose place in the storage is not known yet are not continued.
func (t *tenure) listsOf(dir string, rec Recording) []list {
	if !rec.EndReason.breaks() || len(rec.Segments) == 0 {
		return nil
	}
	lists := make([]list, len(rec.Segments))
	for i, s := range rec.Segments {
		for _, name := range []string{s.PlaylistName, s.LivePlaylistName} {
			if name != "" {
				lists[i].paths = append(lists[i].paths, filepath.Join(dir, SegmentsDir(i), filepath.FromSlash(name)))
			}
		}
		if s.PlaylistName == "" {
			continue
		}
		text, err := os.ReadFile(lists[i].paths[0])
		if err == nil {
			lists[i].text = string(text)
		}
	}
	return lists
}

// texts gives the texts of the playlists that the next part can go on in; nil for none.
func (p *piece) texts() []string {
	texts, some := make([]string, len(p.lists)), false
	for i, l := range p.lists {
		// What is not in the storage, or not in the one where the next part begins, is not continued.
		if s := p.rec.Segments[i]; s.PlaylistLocation != "" && !s.Backup {
			texts[i] = l.text
			some = some || l.text != ""
		}
	}
	if !some {
		p.lists = nil
		return nil
	}
	return texts
}
