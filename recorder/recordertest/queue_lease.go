package recordertest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

func queueTakeover(t *testing.T, f QueueFixture) {
	ctx, q1, q2 := queueCtx(t), f.Open("w1"), f.Open("w2")
	require.NoError(t, q1.Enqueue(ctx, WebJob("moves")))
	old := claim(t, q1)
	require.NoError(t, old.Report(ctx, with(old.Recording(), recorder.StatusStarting)))
	rec := with(old.Recording(), recorder.StatusActive)
	rec.StartedAt = 42
	require.NoError(t, old.Report(ctx, rec))
	noClaim(t, q2, 3*f.LeaseTTL) // it is renewed
	old.Abandon()
	at := time.Now()
	l := claim(t, q2)
	assert.Less(t, time.Since(at), 4*f.LeaseTTL, "the takeover took too long")
	assert.Equal(t, "moves", l.Job().ID)
	assert.Equal(t, 2, l.Recording().Attempt)
	assert.Equal(t, "w2", l.Recording().Worker)
	assert.Equal(t, recorder.StatusActive, l.Recording().Status)
	assert.Equal(t, int64(42), l.Recording().StartedAt)
	require.ErrorIs(t, old.Report(ctx, rec), recorder.ErrLeaseLost)
	require.ErrorIs(t, old.Finish(ctx, with(rec, recorder.StatusComplete)), recorder.ErrLeaseLost)
	assert.Equal(t, "w2", one(t, q1, "moves").Worker)
	require.NoError(t, l.Finish(ctx, with(l.Recording(), recorder.StatusFailed)))
}

func queueRelease(t *testing.T, f QueueFixture) {
	ctx, q := queueCtx(t), f.Open("w1")
	job := WebJob("again")
	job.Token = "token-that-is-secret"
	require.NoError(t, q.Enqueue(ctx, job))
	for try := 1; try <= f.MaxAttempts; try++ {
		l := claim(t, q)
		assert.Equal(t, try, l.Recording().Attempt)
		cause := recorder.Errorf(recorder.CodeSessionDied, "chrome died of token-that-is-secret")
		require.NoError(t, l.Release(ctx, cause, true))
		require.ErrorIs(t, l.Finish(ctx, with(l.Recording(), recorder.StatusComplete)), recorder.ErrLeaseLost)
	}
	rec := one(t, q, "again")
	assert.Equal(t, recorder.StatusFailed, rec.Status)
	assert.Equal(t, recorder.EndTooManyTries, rec.EndReason)
	assert.Equal(t, recorder.CodeSessionDied, rec.Error.Code)
	assert.NotContains(t, rec.Error.Message, "token-that-is-secret")
	assert.Equal(t, recorder.FileEmpty, rec.Files[0].State, "nothing of an ended job looks alive")
	require.Len(t, f.Dead(), 1)
	assert.NotContains(t, f.Dead()[0], "token-that-is-secret")
	noClaim(t, q, f.LeaseTTL)
}

func queueReleaseFree(t *testing.T, f QueueFixture) {
	ctx, q := queueCtx(t), f.Open("w1")
	require.NoError(t, q.Enqueue(ctx, WebJob("drained")))
	require.NoError(t, q.Enqueue(ctx, WebJob("second")))
	for range f.MaxAttempts + 2 {
		l := claim(t, q)
		assert.Equal(t, "drained", l.Job().ID, "what was given back comes before new work")
		require.NoError(t, l.Release(ctx, nil, false))
		assert.Equal(t, recorder.StatusQueued, one(t, q, "drained").Status)
	}
	require.NoError(t, q.Stop(ctx, "drained", ""))
	assert.Equal(t, "second", claim(t, q).Job().ID)
}

// What failed for the worker's sake waits a moment, so that another job or
// another worker comes first, and is never tried too often.
func queueReleaseUncounted(t *testing.T, f QueueFixture) {
	ctx, q := queueCtx(t), f.Open("w1")
	require.NoError(t, q.Enqueue(ctx, WebJob("again")))
	for range f.MaxAttempts + 2 {
		l := claim(t, q)
		require.Equal(t, "again", l.Job().ID)
		require.NoError(t, l.Release(ctx, recorder.Errorf(recorder.CodeUnavailable, "no display"), false))
		assert.Equal(t, recorder.StatusQueued, one(t, q, "again").Status)
	}
	assert.Empty(t, f.Dead())
}

func queueAdopt(t *testing.T, f QueueFixture) {
	ctx, q := queueCtx(t), f.Open("w1")
	require.NoError(t, q.Enqueue(ctx, WebJob("kept")))
	old := claim(t, q)
	require.NoError(t, old.Report(ctx, with(old.Recording(), recorder.StatusStarting)))
	require.NoError(t, old.Report(ctx, with(old.Recording(), recorder.StatusActive)))
	require.NoError(t, old.Report(ctx, with(old.Recording(), recorder.StatusEnding)))
	_, err := f.Open("w2").Adopt(ctx, "kept")
	require.ErrorIs(t, err, recorder.ErrConflict)
	_, err = q.Adopt(ctx, "unknown")
	require.ErrorIs(t, err, recorder.ErrNotFound)
	old.Abandon()

	noClaim(t, f.Open("w2"), 3*f.LeaseTTL) // its media is in w1's spool
	l, err := f.Open("w1").Adopt(ctx, "kept")
	require.NoError(t, err)
	t.Cleanup(l.Abandon)
	assert.Equal(t, recorder.StatusEnding, l.Recording().Status)
	assert.Equal(t, 1, l.Recording().Attempt)
	require.ErrorIs(t, old.Finish(ctx, with(old.Recording(), recorder.StatusComplete)), recorder.ErrLeaseLost)
	require.NoError(t, l.Report(ctx, with(l.Recording(), recorder.StatusEnding)))
	require.NoError(t, l.Finish(ctx, with(l.Recording(), recorder.StatusComplete)))
	_, err = q.Adopt(ctx, "kept")
	require.ErrorIs(t, err, recorder.ErrConflict)
}

func queueAmend(t *testing.T, f QueueFixture) {
	ctx, q := queueCtx(t), f.Open("w1")
	require.NoError(t, q.Enqueue(ctx, WebJob("late")))
	l := claim(t, q)
	file := recorder.FileResult{Filename: "talks/late.mp4", State: recorder.FileDelivered, Size: 7}
	require.ErrorIs(t, q.Amend(ctx, "late", recorder.Recording{Files: []recorder.FileResult{file}}), recorder.ErrConflict)
	require.ErrorIs(t, q.Amend(ctx, "unknown", recorder.Recording{}), recorder.ErrNotFound)
	require.NoError(t, l.Finish(ctx, with(l.Recording(), recorder.StatusFailed)))
	more := recorder.FileResult{Filename: "talks/late.part2.mp4", State: recorder.FileDelivered}
	late := recorder.Recording{
		Files:    []recorder.FileResult{file, more},
		Segments: []recorder.SegmentsResult{{PlaylistName: "late.m3u8", Series: recorder.Series{State: recorder.FileDelivered}}},
		Images:   []recorder.ImagesResult{{FilenamePrefix: "late", Series: recorder.Series{State: recorder.FileDelivered}}},
	}
	require.NoError(t, q.Amend(ctx, "late", late))
	assert.Equal(t, late.Segments, one(t, q, "late").Segments)
	assert.Equal(t, late.Images, one(t, q, "late").Images)
	assert.Equal(t, []recorder.FileResult{file, more}, one(t, q, "late").Files)
	assert.Equal(t, recorder.StatusFailed, one(t, q, "late").Status)
}

func queueIllegal(t *testing.T, f QueueFixture) {
	ctx, q := queueCtx(t), f.Open("w1")
	require.NoError(t, q.Enqueue(ctx, WebJob("strict")))
	l := claim(t, q)
	rec := l.Recording()
	require.NoError(t, l.Report(ctx, with(rec, recorder.StatusActive)))
	for _, s := range []recorder.Status{recorder.StatusQueued, recorder.StatusComplete, "nonsense"} {
		require.ErrorIs(t, l.Report(ctx, with(rec, s)), recorder.ErrConflict, s)
	}
	require.Error(t, l.Finish(ctx, with(rec, recorder.StatusActive)))
	assert.Equal(t, recorder.StatusActive, one(t, q, "strict").Status)
}
