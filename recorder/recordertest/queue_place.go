package recordertest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

// A placed job is its worker's from the first moment, and any worker's once that
// one is silent.
func queuePlace(t *testing.T, f QueueFixture) {
	ctx, q1, q2 := queueCtx(t), f.Open("w1"), f.Open("w2")
	job := WebJob("placed")
	job.Webhooks = []recorder.Webhook{{URL: "https://example.com/hook?key=hook-that-is-secret"}}
	l, err := q1.Place(ctx, job)
	require.NoError(t, err)
	t.Cleanup(l.Abandon)
	assert.Equal(t, job, l.Job())
	rec := l.Recording()
	assert.Equal(t, recorder.StatusQueued, rec.Status)
	assert.Equal(t, "w1", rec.Worker)
	assert.Equal(t, 1, rec.Attempt)
	assert.Equal(t, "talks/placed.mp4", rec.Files[0].Filename)
	assert.Equal(t, recorder.StatusStarting, one(t, q2, "placed").Status)
	assert.Equal(t, "w1", one(t, q2, "placed").Worker)
	found, err := q2.List(ctx, recorder.Filter{Active: true})
	require.NoError(t, err)
	assert.Len(t, found, 1)

	noClaim(t, q2, 2*f.LeaseTTL) // others find it owned, for as long as it is renewed
	noClaim(t, q1, f.LeaseTTL/4) // and so does its own worker
	require.NoError(t, q2.Stop(ctx, "placed", ""))
	assert.Equal(t, recorder.CommandStop, requireCommand(t, l).Kind)
	require.NoError(t, l.Report(ctx, with(rec, recorder.StatusStarting)))
	l.Abandon()

	next := claim(t, q2)
	assert.Equal(t, job, next.Job())
	assert.Equal(t, 2, next.Recording().Attempt)
	assert.Equal(t, rec.Files, next.Recording().Files)
	assert.Equal(t, recorder.CommandStop, requireCommand(t, next).Kind)
	require.ErrorIs(t, l.Report(ctx, with(rec, recorder.StatusActive)), recorder.ErrLeaseLost)
	require.NoError(t, next.Finish(ctx, with(next.Recording(), recorder.StatusFailed)))
	assert.Equal(t, []recorder.EventType{
		recorder.EventQueued, recorder.EventUpdated, recorder.EventUpdated, recorder.EventEnded,
	}, told(t, q1, "placed"))
	assert.Empty(t, f.Dead())
}

// told gives the types of a job's events up to its end.
func told(t *testing.T, q QueueUnderTest, id string) []recorder.EventType {
	t.Helper()
	var types []recorder.EventType
	require.NoError(t, q.Watch(queueCtx(t), "0-0", func(e recorder.Event) bool {
		if e.Recording.ID != id {
			return true
		}
		types = append(types, e.Type)
		return e.Type != recorder.EventEnded
	}))
	return types
}

func queuePlaceConflicts(t *testing.T, f QueueFixture) {
	ctx, q := queueCtx(t), f.Open("w1")
	require.NoError(t, q.Enqueue(ctx, WebJob("same")))
	_, err := q.Place(ctx, WebJob("same"))
	require.ErrorIs(t, err, recorder.ErrConflict)
	var faults recorder.Faults
	_, err = q.Place(ctx, recorder.Job{})
	require.ErrorAs(t, err, &faults)
	job := WebJob("")
	l, err := q.Place(ctx, job)
	require.NoError(t, err)
	require.True(t, recorder.ValidID(l.Job().ID), "an id is made")
	require.ErrorIs(t, q.Enqueue(ctx, l.Job()), recorder.ErrConflict)

	// Given back, it is like any other.
	require.NoError(t, l.Release(ctx, nil, false))
	again := claim(t, q)
	assert.Equal(t, l.Job().ID, again.Job().ID, "what was given back comes before the job that waits")
	assert.Equal(t, "same", claim(t, q).Job().ID)
}

// RejectDuplicates refuses what another job records already, whichever way that one
// came, and nothing else.
func queueDuplicates(t *testing.T, f QueueFixture) {
	ctx, q := queueCtx(t), f.Open("w1")
	alone := func(id string) recorder.Job {
		job := WebJob(id)
		job.RejectDuplicates = true
		job.Files = []recorder.FileOutput{{Filepath: id + "/elsewhere.mp4"}}
		return job
	}
	refused := func(id, other string) {
		t.Helper()
		_, err := q.Start(ctx, alone(id))
		require.ErrorIs(t, err, recorder.ErrConflict)
		assert.Contains(t, err.Error(), other, "it is named")
		_, err = q.Place(ctx, alone(id))
		require.ErrorIs(t, err, recorder.ErrConflict)
		assert.Contains(t, err.Error(), other)
	}
	require.NoError(t, q.Enqueue(ctx, WebJob("first")))
	require.NoError(t, q.Enqueue(ctx, WebJob("second")), "who does not mind is not refused")
	require.NoError(t, q.Stop(ctx, "second", ""))
	refused("third", "first")
	l := claim(t, q)
	refused("third", "first")
	require.NoError(t, l.Finish(ctx, with(l.Recording(), recorder.StatusComplete)))

	placed, err := q.Place(ctx, alone("third"))
	require.NoError(t, err, "the first one ended")
	refused("fourth", "third")
	other := alone("wide")
	other.Preset = "H264_1080P_30"
	require.NoError(t, q.Enqueue(ctx, other), "another encoding is another recording")
	require.NoError(t, q.Stop(ctx, "wide", ""))
	require.NoError(t, placed.Finish(ctx, with(placed.Recording(), recorder.StatusFailed)))

	f.Add(map[string]string{"id": "raw", "job": `{"url":"https://example.com/page","file_outputs":[{}]}`})
	raw := claim(t, q)
	refused("fourth", "raw")
	f.Add(map[string]string{"id": "raw2", "job": `{"url":"https://example.com/page","file_outputs":[{}],"reject_duplicates":true}`})
	noClaim(t, q, f.LeaseTTL)
	rec := one(t, q, "raw2")
	assert.Equal(t, recorder.StatusFailed, rec.Status)
	assert.Equal(t, recorder.CodeConflict, rec.Error.Code)
	assert.Contains(t, rec.Error.Message, "job raw ")
	assert.Equal(t, recorder.FileEmpty, rec.Files[0].State)
	require.NoError(t, raw.Finish(ctx, with(raw.Recording(), recorder.StatusComplete)))
	require.NoError(t, q.Enqueue(ctx, alone("fourth")))
}

// PlacerContract is what every recorder.Placer does, a fake's too. open gives an
// empty one.
func PlacerContract(t *testing.T, open func(t *testing.T) recorder.Placer) {
	t.Run("lease", func(t *testing.T) { placedLease(t, open(t)) })
	t.Run("twins", func(t *testing.T) { placedTwins(t, open(t)) })
}

func placedLease(t *testing.T, p recorder.Placer) {
	ctx, job := queueCtx(t), WebJob("placed")
	l, err := p.Place(ctx, job)
	require.NoError(t, err)
	t.Cleanup(l.Abandon)
	assert.Equal(t, job, l.Job())
	assert.Equal(t, recorder.StatusQueued, l.Recording().Status)
	assert.Equal(t, 1, l.Recording().Attempt)
	assert.Equal(t, "talks/placed.mp4", l.Recording().Files[0].Filename)
	require.NoError(t, l.Report(ctx, with(l.Recording(), recorder.StatusStarting)))
	_, err = p.Place(ctx, job)
	require.ErrorIs(t, err, recorder.ErrConflict)
	require.NoError(t, l.Finish(ctx, with(l.Recording(), recorder.StatusFailed)))
	_, err = p.Place(ctx, job)
	require.ErrorIs(t, err, recorder.ErrConflict, "an id is taken once")
	var faults recorder.Faults
	_, err = p.Place(ctx, recorder.Job{})
	require.ErrorAs(t, err, &faults)
	unnamed, err := p.Place(ctx, WebJob(""))
	require.NoError(t, err)
	t.Cleanup(unnamed.Abandon)
	assert.True(t, recorder.ValidID(unnamed.Job().ID), "an id is made")
	gone, cancel := context.WithCancel(ctx)
	cancel()
	_, err = p.Place(gone, WebJob("late"))
	require.ErrorIs(t, err, context.Canceled)
}

func placedTwins(t *testing.T, p recorder.Placer) {
	ctx := queueCtx(t)
	alone := WebJob("alone")
	alone.RejectDuplicates = true
	first, err := p.Place(ctx, WebJob("first"))
	require.NoError(t, err)
	_, err = p.Place(ctx, alone)
	require.ErrorIs(t, err, recorder.ErrConflict)
	assert.Contains(t, err.Error(), "first")
	wide := alone
	wide.ID, wide.Preset = "wide", "H264_1080P_30"
	other, err := p.Place(ctx, wide)
	require.NoError(t, err)
	t.Cleanup(other.Abandon)
	require.NoError(t, first.Finish(ctx, with(first.Recording(), recorder.StatusFailed)))
	l, err := p.Place(ctx, alone)
	require.NoError(t, err)
	t.Cleanup(l.Abandon)
}
