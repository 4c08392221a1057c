package recordertest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

func queuePoison(t *testing.T, f QueueFixture) {
	ctx, q := queueCtx(t), f.Open("w1")
	big := make([]byte, 1<<20)
	for i := range big {
		big[i] = byte(i * 7)
	}
	poison := []map[string]string{
		{"nothing": "here"},
		{"job": "{"},
		{"job": "null"},
		{"job": `[1,2]`},
		{"job": `{"url":"https://example.com","file_outputs":[{}],"sekret":"hunter2hunter2"}`},
		{"job": `{"url":"https://example.com","token":"hunter2hunter2","stream_outputs":[{"urls":["rtmp://h/app/hunter2hunter2","bad"]}]}`},
		{"job": string(big)},
		{"job": string(big[:300])},
		{"job": `{"url":"javascript:alert(1)"}`},
		{"id": "../../etc", "job": `{"url":"https://example.com","file_outputs":[{}]}`},
		{"id": "a", "job": `{"id":"b","url":"https://example.com","file_outputs":[{}]}`},
	}
	var ids []string
	for _, p := range poison {
		ids = append(ids, "EG_"+f.Add(p))
	}
	require.NoError(t, q.Enqueue(ctx, WebJob("good")))
	assert.Equal(t, "good", claim(t, q).Job().ID)
	dead := f.Dead()
	require.Len(t, dead, len(poison))
	for i, d := range dead {
		assert.NotContains(t, d, "hunter2", i)
		assert.Less(t, len(d), 16<<10, i)
	}
	// Whoever added such an entry hears of its end.
	rec := one(t, q, ids[1])
	assert.Equal(t, recorder.StatusFailed, rec.Status)
	assert.Equal(t, recorder.EndInvalid, rec.EndReason)
	assert.Equal(t, recorder.CodeInvalid, rec.Error.Code)
}

func queueList(t *testing.T, f QueueFixture) {
	ctx, q := queueCtx(t), f.Open("w1")
	for i := range 5 {
		job := WebJob(fmt.Sprintf("l%d", i))
		if i == 2 {
			job.URL, job.RoomName, job.CustomBaseURL = "", "studio", "https://example.com"
		}
		require.NoError(t, q.Enqueue(ctx, job))
	}
	raw := "EG_" + f.Add(map[string]string{"job": `{"url":"https://example.com","file_outputs":[{}]}`})
	ids := func(fl recorder.Filter) (ids []string) {
		found, err := q.List(ctx, fl)
		require.NoError(t, err)
		for _, r := range found {
			ids = append(ids, r.ID)
		}
		return ids
	}
	all := ids(recorder.Filter{})
	assert.Len(t, all, 6)
	assert.Contains(t, all, raw)
	assert.Less(t, indexOf(all, "l4"), indexOf(all, "l0"), "newest first")
	assert.Equal(t, []string{"l2"}, ids(recorder.Filter{RoomName: "studio"}))
	l := claim(t, q)
	require.NoError(t, l.Finish(ctx, with(l.Recording(), recorder.StatusComplete)))
	assert.NotContains(t, ids(recorder.Filter{Active: true}), l.Job().ID)
	assert.Len(t, ids(recorder.Filter{Active: true}), 5)
	assert.Len(t, ids(recorder.Filter{}), 6)
	assert.Len(t, ids(recorder.Filter{Limit: 2}), 2)
	var paged []string
	for before := int64(0); ; {
		page, err := q.List(ctx, recorder.Filter{Limit: 4, Before: before})
		require.NoError(t, err)
		if len(page) == 0 {
			break
		}
		for _, rec := range page {
			paged, before = append(paged, rec.ID), rec.CreatedAt
		}
	}
	assert.Equal(t, all, paged)
	assert.ElementsMatch(t, []string{"l1", raw}, ids(recorder.Filter{IDs: []string{"l1", raw, "unknown"}}))
}

func indexOf(list []string, s string) int {
	for i, v := range list {
		if v == s {
			return i
		}
	}
	return -1
}

func queueWatch(t *testing.T, f QueueFixture) {
	ctx, q := queueCtx(t), f.Open("w1")
	require.NoError(t, q.Enqueue(ctx, WebJob("before")))
	var events []recorder.Event
	done := make(chan error, 1)
	watching := make(chan struct{})
	go func() {
		done <- q.Watch(ctx, "0-0", func(e recorder.Event) bool {
			events = append(events, e)
			if len(events) == 1 {
				close(watching)
			}
			return e.Type != recorder.EventEnded
		})
	}()
	requireEnd(t, watching, "the first event")
	l := claim(t, q)
	rec := with(l.Recording(), recorder.StatusActive)
	require.NoError(t, l.Report(ctx, rec))
	for i := range 20 { // figures are no events
		rec.Stats.Frames, rec.UpdatedAt = int64(i+1), rec.UpdatedAt+1
		require.NoError(t, l.Report(ctx, rec))
	}
	assert.Equal(t, int64(20), one(t, q, "before").Stats.Frames)
	require.NoError(t, l.Report(ctx, with(rec, recorder.StatusEnding)))
	require.NoError(t, l.Finish(ctx, with(rec, recorder.StatusComplete)))
	require.NoError(t, <-done)
	var types []recorder.EventType
	last := ""
	for _, e := range events {
		types = append(types, e.Type)
		assert.NotEqual(t, last, e.ID)
		assert.Equal(t, "before", e.Recording.ID)
		assert.NotZero(t, e.At)
		last = e.ID
	}
	assert.Equal(t, []recorder.EventType{
		recorder.EventQueued, recorder.EventUpdated, recorder.EventStarted, recorder.EventUpdated, recorder.EventEnded,
	}, types)

	stop, cancel := context.WithCancel(ctx)
	go func() { done <- q.Watch(stop, "", func(recorder.Event) bool { return true }) }()
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
}

func queueCancelled(t *testing.T, f QueueFixture) {
	q := f.Open("w1")
	for i := range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			l, err := q.Claim(ctx)
			if err == nil {
				err = errors.Join(errors.New("claimed "+l.Job().ID), l.Release(ctx, nil, false))
			}
			done <- err
		}()
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
		require.NoError(t, q.Enqueue(t.Context(), WebJob(fmt.Sprintf("c%d", i))))
	}
	for i := range 5 {
		l := claim(t, q)
		assert.LessOrEqual(t, l.Recording().Attempt, 2, i)
		require.NoError(t, l.Finish(t.Context(), with(l.Recording(), recorder.StatusComplete)))
	}
}
