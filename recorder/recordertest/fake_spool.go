package recordertest

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"tapedeck/recorder"
)

// FakeSpool is a recorder.Spool below a directory, and delivers to nowhere. It
// is safe for concurrent use.
type FakeSpool struct {
	Root string
	// CreateErr is what Create answers.
	CreateErr error
	// OnDeliver runs in every delivery; until it returns nothing arrives. What it
	// answers becomes of every file that is not empty; "" is FileDelivered.
	OnDeliver func(ctx context.Context, rec recorder.Recording) recorder.FileState
	// OnPlaylists gives what an entry's Playlists answers.
	OnPlaylists func(rec recorder.Recording) []string
	// OnRescue gives what Rescue answers; without it, nothing is found.
	OnRescue func(ctx context.Context, rec recorder.Recording, notes map[string]string) (recorder.Recording, []string)
	// OnRoom gives the room on the disk; without it there is plenty.
	OnRoom func() (int64, error)
	// OnFollow gives what Follow reports, from the recording as it began.
	OnFollow func(begun recorder.Recording) recorder.Recording

	mu      sync.Mutex
	entries []*FakeEntry
	left    []recorder.SpoolEntry
}

// Create implements recorder.Spool.
func (s *FakeSpool) Create(task recorder.Task) (recorder.SpoolEntry, error) {
	if s.CreateErr != nil {
		return nil, s.CreateErr
	}
	dir, err := os.MkdirTemp(s.Root, task.Job.ID+"-")
	if err != nil {
		return nil, err
	}
	task.Dir = dir
	return s.Entry(task), nil
}

// Entry makes an entry of a task as it stands, for Leave say.
func (s *FakeSpool) Entry(task recorder.Task) *FakeEntry {
	e := &FakeEntry{spool: s, task: task}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries = append(s.entries, e)
	return e
}

// Left implements recorder.Spool.
func (s *FakeSpool) Left() ([]recorder.SpoolEntry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.left), nil
}

// Leave makes Left answer e from now on.
func (s *FakeSpool) Leave(e recorder.SpoolEntry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = append(s.left, e)
}

// Rescue implements recorder.Rescuer.
func (s *FakeSpool) Rescue(ctx context.Context, _ recorder.Job, rec recorder.Recording, notes map[string]string) (recorder.Recording, []string) {
	if s.OnRescue == nil {
		return rec, nil
	}
	return s.OnRescue(ctx, rec, notes)
}

// Room implements recorder.Gauge.
func (s *FakeSpool) Room() (int64, error) {
	if s.OnRoom == nil {
		return 1 << 40, nil
	}
	return s.OnRoom()
}

// Entries lists every entry there was.
func (s *FakeSpool) Entries() []*FakeEntry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.entries)
}

// FakeEntry is a recorder.SpoolEntry that remembers what became of it.
type FakeEntry struct {
	spool *FakeSpool

	mu             sync.Mutex
	task           recorder.Task
	saves          []recorder.Recording
	freed, closed  bool
	deliveries     int
	deliveredEarly recorder.Recording
	follows        []recorder.Recording
	following      bool
	overlapped     bool
}

// Task implements recorder.SpoolEntry.
func (e *FakeEntry) Task() recorder.Task {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.task
}

// Save implements recorder.SpoolEntry.
func (e *FakeEntry) Save(rec recorder.Recording) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.saves = append(e.saves, rec)
	e.task.Recording = rec
	return nil
}

// Follow implements recorder.Follower; it delivers nothing.
func (e *FakeEntry) Follow(ctx context.Context, begun recorder.Recording, _ recorder.Journal, report func(recorder.Recording)) {
	e.mu.Lock()
	e.follows, e.following = append(e.follows, begun), true
	e.mu.Unlock()
	if e.spool.OnFollow != nil {
		report(e.spool.OnFollow(begun.Clone()))
	}
	<-ctx.Done()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.following = false
}

// Playlists implements recorder.Lister.
func (e *FakeEntry) Playlists(rec recorder.Recording) []string {
	if e.spool.OnPlaylists == nil {
		return nil
	}
	return e.spool.OnPlaylists(rec.Clone())
}

// Deliver implements recorder.SpoolEntry.
func (e *FakeEntry) Deliver(ctx context.Context, rec recorder.Recording, report func(recorder.Recording)) recorder.Recording {
	e.mu.Lock()
	e.deliveries++
	e.overlapped = e.overlapped || e.following
	e.deliveredEarly = rec
	e.mu.Unlock()
	state := recorder.FileState("")
	if e.spool.OnDeliver != nil {
		state = e.spool.OnDeliver(ctx, rec)
	}
	if state == "" {
		state = recorder.FileDelivered
	}
	rec = rec.Clone()
	for i := range rec.Files {
		if rec.Files[i].State != recorder.FileEmpty {
			rec.Files[i].State = state
		}
	}
	for i := range rec.Segments {
		if rec.Segments[i].State != recorder.FileEmpty {
			rec.Segments[i].State = state
		}
	}
	for i := range rec.Images {
		if rec.Images[i].State != recorder.FileEmpty {
			rec.Images[i].State = state
		}
	}
	_ = e.Save(rec) // a fake's Save does not fail
	report(rec)
	return rec
}

// Free implements recorder.SpoolEntry.
func (e *FakeEntry) Free() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.freed = true
	return nil
}

// Close implements recorder.SpoolEntry.
func (e *FakeEntry) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	return nil
}

// EntryEnd is what became of a FakeEntry.
type EntryEnd struct {
	Saves         []recorder.Recording
	Freed, Closed bool
	Deliveries    int
	Given         recorder.Recording // what the last delivery was given
	Follows       []recorder.Recording
	Overlapped    bool // a delivery began while the recording was still followed
}

// End tells what became of the entry so far.
func (e *FakeEntry) End() EntryEnd {
	e.mu.Lock()
	defer e.mu.Unlock()
	return EntryEnd{slices.Clone(e.saves), e.freed, e.closed, e.deliveries, e.deliveredEarly, slices.Clone(e.follows), e.overlapped}
}

// WriteMedia puts a few bytes where file i of a task would be recorded.
func WriteMedia(task recorder.Task, i int) error {
	return os.WriteFile(filepath.Join(task.Dir, recorder.MediaName(i, task.Recording.Files[i])), []byte("media"), 0o600)
}
