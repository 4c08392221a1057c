package recordertest

import (
	"context"
	"maps"
	"sync"

	"tapedeck/recorder"
)

// fakeNotes are the notes of one job.
type fakeNotes struct {
	mu    sync.Mutex
	texts map[string]string
}

// Note implements recorder.Journal.
func (l *FakeLease) Note(name, text string) {
	l.notes.mu.Lock()
	defer l.notes.mu.Unlock()
	switch {
	case l.isLost() || !l.live():
	case text == "":
		delete(l.notes.texts, name)
	default:
		l.notes.texts[name] = text
	}
}

// Notes implements recorder.Journal.
func (l *FakeLease) Notes(context.Context) (map[string]string, error) {
	if l.OnNotes != nil {
		if err := l.OnNotes(); err != nil {
			return nil, err
		}
	}
	l.notes.mu.Lock()
	defer l.notes.mu.Unlock()
	return maps.Clone(l.notes.texts), nil
}

// Predecessor implements recorder.Heir.
func (l *FakeLease) Predecessor() string { return l.Previous }

// Next is another worker's lease of the same job: l is lost, and what it noted stays.
// rec is the job's state by now.
func (l *FakeLease) Next(rec recorder.Recording) *FakeLease {
	if !l.isLost() {
		l.Lose()
	}
	next := NewFakeLease(l.job, rec)
	next.notes = l.notes
	return next
}
