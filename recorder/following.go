package recorder

import (
	"context"
	"sync"
)

// Following lets a spool entry deliver files, segments and images beside the
// recording that makes them. An entry that is no Follower leaves it all to Deliver.
type Following struct {
	ctx    context.Context
	cancel context.CancelFunc
	entry  Follower
	notes  Journal // may be nil
	begun  sync.Once
	work   sync.WaitGroup

	mu sync.Mutex
	at Recording // whose outputs tell where they are; without any before that is known
}

// NewFollowing prepares it; ctx bounds it, and notes may be nil. Stop must be called.
func NewFollowing(ctx context.Context, entry SpoolEntry, notes Journal) *Following {
	f := &Following{notes: notes}
	f.entry, _ = entry.(Follower)
	f.ctx, f.cancel = context.WithCancel(ctx)
	return f
}

// See takes the recording's reports, one at a time, and gives them with what
// Locate adds. With the first active one, it begins.
func (f *Following) See(rec Recording) Recording {
	if f.entry != nil && rec.Status == StatusActive && len(rec.results()) > 0 {
		f.begun.Do(func() { f.work.Go(func() { f.entry.Follow(f.ctx, rec.Clone(), f.notes, f.moved) }) })
	}
	return f.Locate(rec)
}

func (f *Following) moved(at Recording) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at = at
}

// Locate gives a recording with the names and locations that its series have in
// the storage by now, and with what keeps its files from theirs. Who looks for their
// files in the spool needs the others.
func (f *Following) Locate(rec Recording) Recording {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.at.results()) == 0 {
		return rec
	}
	rec = rec.Clone()
	for i := range min(len(rec.Files), len(f.at.Files)) {
		to, at := &rec.Files[i], f.at.Files[i]
		if to.State != FileRecording && to.State != FilePending {
			continue
		}
		to.Backup = at.Backup
		if to.Error == "" {
			to.Error = at.Error
		}
	}
	for i := range min(len(rec.Segments), len(f.at.Segments)) {
		to, at := &rec.Segments[i], f.at.Segments[i]
		to.PlaylistName, to.PlaylistLocation = at.PlaylistName, at.PlaylistLocation
		to.LivePlaylistName, to.LivePlaylistLocation = at.LivePlaylistName, at.LivePlaylistLocation
		to.Backup = at.Backup
	}
	for i := range min(len(rec.Images), len(f.at.Images)) {
		rec.Images[i].FilenamePrefix, rec.Images[i].Backup = f.at.Images[i].FilenamePrefix, f.at.Images[i].Backup
	}
	return rec
}

// Stop ends it once the media are closed, and waits: what is left is Deliver's.
func (f *Following) Stop() {
	f.cancel()
	f.work.Wait()
}
