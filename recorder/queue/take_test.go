package queue

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// soonest is the next claim of any worker but the one that had the job last.
func (m *model) soonest(last int) (l *lease) {
	m.t.Helper()
	for range 30 { // an ending job waits for its owner for a minute
		if l = m.claim(m.workers[(last+1)%2]); l != nil {
			return l
		}
		m.advance(modelTTL / 3)
	}
	return nil
}

// A job that kills whoever takes it is not recorded any more, but what lost workers have
// uploaded is completed before it ends.
func TestExhaustedIsRescued(t *testing.T) {
	t.Parallel()
	for name, dies := range map[string]bool{"it ends": false, "the last one dies as well": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newModel(t, 0) // which tries four times
			q := m.workers[2].q
			require.NoError(t, q.Enqueue(t.Context(), recordertest.WebJob("tape")))
			for life := range 4 {
				l := m.soonest(life)
				require.NotNil(t, l)
				rec := l.now.Clone()
				rec.Status, rec.StartedAt = recorder.StatusActive, 1
				require.NoError(t, l.Report(t.Context(), rec))
				l.Abandon()
			}
			l := m.soonest(4)
			require.NotNil(t, l)
			rec := l.Recording()
			assert.Equal(t, recorder.StatusEnding, rec.Status, "not to be recorded")
			assert.Equal(t, recorder.EndTooManyTries, rec.EndReason)
			if dies {
				l.Abandon()
				require.Nil(t, m.soonest(5), "and it is not handed out for ever")
			} else {
				rec.Files[0].State = recorder.FileDelivered
				require.NoError(t, l.Finish(t.Context(), recorder.ConcludeRescued(rec, nil, 1)))
			}
			s, err := q.load(t.Context(), "tape")
			require.NoError(t, err)
			assert.Equal(t, recorder.StatusFailed, s.status)
			assert.Equal(t, recorder.EndTooManyTries, s.rec.EndReason)
			assert.Equal(t, dies, s.rec.Files[0].State == recorder.FilePending)
			n, err := m.client.XLen(t.Context(), q.keys.dead()).Result()
			require.NoError(t, err)
			assert.EqualValues(t, 1, n)
		})
	}
}

// A lost job that nobody can begin is not ended by who gives it back once too often, who may know nothing of
// what lost workers uploaded, but taken once more at once, to be ended when that is rescued.
func TestGivenBackTooOftenIsRescued(t *testing.T) {
	t.Parallel()
	m := newModel(t, 0) // which tries four times
	q := m.workers[2].q
	require.NoError(t, q.Enqueue(t.Context(), recordertest.WebJob("tape")))
	l := m.soonest(0)
	rec := l.now.Clone()
	rec.Status, rec.StartedAt = recorder.StatusActive, 1
	require.NoError(t, l.Report(t.Context(), rec))
	l.Abandon()
	for life := 1; life < 4; life++ {
		l = m.soonest(life)
		require.NotNil(t, l)
		require.Equal(t, recorder.StatusStarting, l.now.Status)
		require.NoError(t, l.Release(t.Context(), recorder.Errorf(recorder.CodeSessionDied, "no display"), true))
	}
	s, err := q.load(t.Context(), "tape")
	require.NoError(t, err)
	assert.Equal(t, []any{recorder.StatusEnding, recorder.StatusEnding, ""}, []any{s.status, s.rec.Status, s.owner})
	l = m.claim(m.workers[1])
	require.NotNil(t, l, "there is nobody to wait for")
	rec = l.Recording()
	assert.Equal(t, []any{recorder.StatusEnding, recorder.EndTooManyTries, recorder.CodeSessionDied}, []any{rec.Status, rec.EndReason, rec.Error.Code})
	rec.Files[0].State = recorder.FileDelivered
	require.NoError(t, l.Finish(t.Context(), recorder.ConcludeRescued(rec, nil, 1)))
	n, err := m.client.XLen(t.Context(), q.keys.dead()).Result()
	require.NoError(t, err)
	assert.EqualValues(t, 1, n)
}

// Whoever takes a job to end it is not the one whose spool the files are in.
func TestWhoRecordedIsNamedToWhoeverEndsIt(t *testing.T) {
	t.Parallel()
	m := newModel(t, 0)
	require.NoError(t, m.workers[0].q.Enqueue(t.Context(), recordertest.WebJob("tape")))
	l := m.soonest(1)
	require.Equal(t, "w0", l.now.Worker)
	rec := l.now.Clone()
	rec.Status, rec.StartedAt = recorder.StatusEnding, 1
	require.NoError(t, l.Report(t.Context(), rec))
	for life := range 2 {
		l.Abandon()
		l = m.soonest(life)
		require.NotNil(t, l)
		assert.Equal(t, "w0", l.Predecessor())
	}
}
