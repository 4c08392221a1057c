package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"tapedeck/recorder"
	"tapedeck/recorder/upload"
)

// leaveAs is leave of a recording that change makes another one.
func (s *shelf) leaveAs(id string, change func(*recorder.Recording)) {
	s.t.Helper()
	entry, _ := s.put(id, "w1", 0)
	rec := entry.Task().Recording
	change(&rec)
	require.NoError(s.t, entry.Save(rec))
	require.NoError(s.t, entry.Close())
}

// meanwhile delivers until there is so much in the storage.
func (s *shelf) meanwhile(want int) {
	s.t.Helper()
	opts := upload.Options{Default: upload.Storage{Directory: s.storage, Overwrite: true}, Overwrite: true}
	spool, err := upload.NewSpool(s.spool.Dir(), opts)
	require.NoError(s.t, err)
	stop := deliverMeanwhile(soon(s.t), spool, zap.NewNop())
	defer stop()
	require.Eventually(s.t, func() bool { return len(s.stored()) >= want }, 10*time.Second, 10*time.Millisecond)
}

// What may be recorded on is left to the worker, and nothing else.
func TestMeanwhileLeavesWhatMayGoOn(t *testing.T) {
	s := newShelf(t)
	now := time.Now()
	died := func(at time.Time) func(*recorder.Recording) {
		return func(rec *recorder.Recording) {
			rec.Status, rec.EndReason, rec.EndedAt = recorder.StatusEnding, recorder.EndDisplayDied, now.UnixNano()
			rec.Incidents = []recorder.Incident{{Reason: recorder.EndDisplayDied, At: at.UnixNano()}}
		}
	}
	s.leaveAs("EG_cut", func(*recorder.Recording) {})
	s.leaveAs("EG_followed", died(now))
	s.leaveAs("EG_again", died(now.Add(-time.Minute))) // it lived through one, and ended with the next
	s.leaveAs("EG_over", func(rec *recorder.Recording) { rec.Status, rec.EndedAt = recorder.StatusEnding, now.UnixNano() })
	s.leaveAs("EG_tenth", func(rec *recorder.Recording) { rec.Part = recorder.MostParts })
	s.meanwhile(3)
	assert.ElementsMatch(t, []string{"EG_again.mp4", "EG_over.mp4", "EG_tenth.mp4"}, s.stored())
}

// Nobody knows whose the jobs are by now: what another worker stored stays, also where
// names may be taken over.
func TestUntoldReplacesNothing(t *testing.T) {
	for name, deliver := range map[string]func(*shelf){
		"meanwhile": func(s *shelf) { s.meanwhile(2) },
		"push": func(s *shelf) {
			t.Setenv("TAPEDECK_REDIS_URL", "redis://127.0.0.1:1")
			code, _, errOut := verb(soon(s.t), "spool", "push", "EG_1")
			require.Zero(s.t, code, errOut)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShelf(t)
			t.Setenv("TAPEDECK_STORAGE_OVERWRITE", "true")
			theirs := filepath.Join(s.storage, "EG_1.mp4")
			require.NoError(t, os.MkdirAll(s.storage, 0o700))
			require.NoError(t, os.WriteFile(theirs, []byte("theirs"), 0o600))
			s.leaveAs("EG_1", func(rec *recorder.Recording) { rec.Status, rec.EndedAt = recorder.StatusEnding, rec.StartedAt })
			deliver(s)
			assert.ElementsMatch(t, []string{"EG_1.mp4", "EG_1-2.mp4"}, s.stored())
			kept, err := os.ReadFile(theirs)
			require.NoError(t, err)
			assert.Equal(t, "theirs", string(kept))
		})
	}
}
