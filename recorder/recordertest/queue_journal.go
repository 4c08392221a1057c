package recordertest

import (
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

// JournalFixture is one job, empty for every part of the contract.
type JournalFixture struct {
	// Take gives the job's lease to one more worker; the one before loses it, whether it
	// knows of that or not.
	Take func(t *testing.T) recorder.Lease
}

// JournalContract is what the leases of every queue do that are a recorder.Journal.
func JournalContract(t *testing.T, open func(t *testing.T) JournalFixture) {
	parts := []struct {
		name string
		test func(t *testing.T, f JournalFixture)
	}{
		{"the newest of a name wins", journalNewest},
		{"notes survive a takeover", journalTakeover},
		{"a lost lease notes nothing", journalLost},
		{"a finished lease notes nothing", journalFinished},
	}
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			p.test(t, open(t))
		})
	}
}

func journalNewest(t *testing.T, f JournalFixture) {
	j := journal(t, f.Take(t))
	notes, err := j.Notes(queueCtx(t))
	require.NoError(t, err)
	assert.Empty(t, notes)
	for _, text := range []string{"1", "2", "3"} {
		j.Note("part", text)
		j.Note("gone", text)
	}
	j.Note("upload", "é {\"id\": \"x:y\"}\n")
	j.Note("gone", "")
	j.Note("never", "")
	requireNotes(t, j, map[string]string{"part": "3", "upload": "é {\"id\": \"x:y\"}\n"})
	j.Note("part", "")
	j.Note("gone", "again")
	requireNotes(t, j, map[string]string{"gone": "again", "upload": "é {\"id\": \"x:y\"}\n"})
}

func journalTakeover(t *testing.T, f JournalFixture) {
	first := journal(t, f.Take(t))
	first.Note("a", "of the first")
	first.Note("b", "of the first")
	requireNotes(t, first, map[string]string{"a": "of the first", "b": "of the first"})

	second := journal(t, f.Take(t))
	notes, err := second.Notes(queueCtx(t))
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"a": "of the first", "b": "of the first"}, notes, "at once: the worker that noted them is lost")
	second.Note("b", "of the second")
	second.Note("c", "of the second")
	requireNotes(t, second, map[string]string{"a": "of the first", "b": "of the second", "c": "of the second"})

	third := journal(t, f.Take(t))
	third.Note("a", "")
	requireNotes(t, third, map[string]string{"b": "of the second", "c": "of the second"})
}

func journalLost(t *testing.T, f JournalFixture) {
	first := journal(t, f.Take(t))
	first.Note("a", "in time")
	requireNotes(t, first, map[string]string{"a": "in time"})
	second := journal(t, f.Take(t))
	first.Note("a", "late")
	first.Note("b", "late")
	second.Note("c", "of the owner")
	requireNotes(t, second, map[string]string{"a": "in time", "c": "of the owner"})
	third := journal(t, f.Take(t)) // by now, what was on its way has arrived
	requireNotes(t, third, map[string]string{"a": "in time", "c": "of the owner"})
}

func journalFinished(t *testing.T, f JournalFixture) {
	l := f.Take(t)
	j := journal(t, l)
	j.Note("a", "last words")
	require.NoError(t, l.Finish(queueCtx(t), with(l.Recording(), recorder.StatusFailed)))
	j.Note("a", "late") // and nothing breaks
	if notes, err := j.Notes(queueCtx(t)); err == nil {
		assert.NotContains(t, notes["a"], "late")
	}
}

func journal(t *testing.T, l recorder.Lease) recorder.Journal {
	t.Helper()
	j, ok := l.(recorder.Journal)
	require.True(t, ok, "%T is no Journal", l)
	return j
}

// requireNotes waits until the notes are want, for Note does not wait.
func requireNotes(t *testing.T, j recorder.Journal, want map[string]string) {
	t.Helper()
	var notes map[string]string
	var err error
	if !assert.Eventually(t, func() bool {
		notes, err = j.Notes(queueCtx(t))
		return err == nil && maps.Equal(notes, want)
	}, patience, 10*time.Millisecond) {
		require.NoError(t, err)
		require.Equal(t, want, notes)
	}
}
