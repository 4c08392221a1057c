package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// A job is paused and goes on: one file without a gap and without anything of the
// pause, while its stream shows a slate.
func TestPauseOfAJob(t *testing.T) {
	t.Parallel()
	page, ingest, p := recordertest.StartPage(t), recordertest.StartRTMP(t), startPool(t)
	p.startWorker("w1")
	began, url := time.Now(), ingest.URL("paused-key-000111")
	job := pageJob(fmt.Sprintf("%s/barcode?since=%d", page.URL, began.UnixMilli()), "talk.mp4", time.Minute)
	job.Streams = []recorder.StreamOutput{{URLs: []string{url}}}
	id := p.enqueue(job)
	p.awaitActive(id)
	p.awaitElapsed(id, 2500*time.Millisecond)

	require.Zero(t, p.verb("pause", id).code)
	rec := p.await(id, "the pause", 20*time.Second, recorder.Recording.Paused)
	paused, sent := time.Since(began), stream(rec, url).Duration
	assert.Contains(t, p.verb("list").stdout, "paused")
	p.await(id, "a slate of 1.5 s", 10*time.Second, func(rec recorder.Recording) bool {
		return stream(rec, url).Duration > sent+int64(1500*time.Millisecond)
	})
	resumed := time.Since(began)
	require.Zero(t, p.verb("resume", id).code)
	rec = p.await(id, "the resumption", 20*time.Second, func(rec recorder.Recording) bool { return !rec.Paused() })
	require.Len(t, rec.Pauses, 1)
	p.awaitElapsed(id, rec.Stats.Elapsed.Std()+2500*time.Millisecond)
	require.Zero(t, p.verb("stop", id).code)
	rec = p.awaitEnd(id, 30*time.Second)
	require.Equal(t, recorder.StatusComplete, rec.Status, "%v", rec.Error)

	file := p.stored("talk.mp4")
	m := probe(t, file)
	m.requireWhole(t, 30)
	s := look(t, file)
	assert.Zero(t, s.unreadable)
	joint := time.Duration(-1)
	for i, f := range s.frames {
		at := time.Duration(f.Counter) * time.Millisecond
		assert.False(t, at > paused+100*time.Millisecond && at < resumed-100*time.Millisecond,
			"picture %d was drawn %v after the test began: it was paused from %v to %v", i, at, paused, resumed)
		if i > 0 && at > resumed-100*time.Millisecond && time.Duration(s.frames[i-1].Counter)*time.Millisecond < paused+100*time.Millisecond {
			joint = f.PTS
		}
	}
	require.Positive(t, joint)
	assert.InDelta(t, time.Duration(rec.Pauses[0].End-rec.Pauses[0].Start), time.Duration(rec.Files[0].EndedAt-rec.Files[0].StartedAt-rec.Files[0].Duration), float64(time.Millisecond))

	found := ingest.Recorded("paused-key-000111")
	require.Len(t, found, 1)
	live := look(t, found[0])
	t.Logf("paused for %v, %d slates", resumed-paused, live.unreadable)
	assert.Greater(t, live.unreadable, 40)

	// The stream has the sound where it was captured; in the file it must be there, too.
	checked := map[bool]int{}
	aside, kept := asides(t, found[0], live.frames), asides(t, file, s.frames)
	for drawn, behind := range kept {
		if was, ok := aside[drawn]; ok {
			assert.InDelta(t, was, behind, float64(15*time.Millisecond), "the flash that was drawn at %d ms", drawn)
			checked[time.Duration(drawn)*time.Millisecond > resumed]++
		}
	}
	assert.Len(t, checked, 2, "flashes before the pause and after it: %v, of the stream %v", kept, aside)
}

// asides gives how far flashes are behind their beeps, by what the page counted when they
// were drawn.
func asides(t *testing.T, path string, frames []recordertest.Frame) map[int]time.Duration {
	t.Helper()
	found := map[int]time.Duration{}
	flashes, behind := skew(t, path, frames)
	for i, at := range flashes {
		n := slices.IndexFunc(frames, func(f recordertest.Frame) bool { return f.PTS == at })
		if n > 0 && frames[n].Counter-frames[n-1].Counter < 500 && frames[n-1].Counter >= 0 && behind[i].Abs() < 300*time.Millisecond {
			found[frames[n].Counter] = behind[i]
		}
	}
	return found
}
