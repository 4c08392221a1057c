package queue

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// givenBack is a job whose first part an earlier worker recorded, and whose second one
// could not record on.
func (m *model) givenBack(state recorder.FileState) {
	w := m.workers[0]
	require.NoError(m.t, w.q.Enqueue(m.t.Context(), recordertest.WebJob("tape")))
	l := m.claim(w)
	rec := l.Recording()
	rec.Status, rec.Part = recorder.StatusStarting, 2
	first := recorder.Part{Part: 1, Worker: "w9", StartedAt: 1, EndedAt: 2, EndReason: recorder.EndWorkerLost}
	first.Files = []recorder.FileResult{{Filename: "tape.mp4", State: state}}
	rec.Earlier = []recorder.Part{first}
	require.NoError(m.t, l.Report(m.t.Context(), rec))
	require.NoError(m.t, l.Release(m.t.Context(), nil, false))
}

// A job that was given back has what its earlier parts are: a stop aborts none of it.
func TestStopOfWhatRecorded(t *testing.T) {
	t.Parallel()
	t.Run("delivered", func(t *testing.T) {
		t.Parallel()
		m := newModel(t, 0)
		m.givenBack(recorder.FileDelivered)
		require.NoError(t, m.workers[1].q.Stop(t.Context(), "tape", recorder.EndStopped))
		s, err := m.workers[1].q.load(t.Context(), "tape")
		require.NoError(t, err)
		assert.Equal(t, recorder.StatusComplete, s.status)
		assert.Equal(t, recorder.EndStopped, s.rec.EndReason)
		assert.Nil(t, s.rec.Error)
		assert.Empty(t, s.rec.Earlier)
		assert.Equal(t, 1, s.rec.Part)
		require.Len(t, s.rec.Files, 1)
		assert.Equal(t, recorder.FileDelivered, s.rec.Files[0].State)
		assert.Nil(t, m.claim(m.workers[2]))
	})
	t.Run("not delivered yet", func(t *testing.T) {
		t.Parallel()
		m := newModel(t, 0)
		m.givenBack(recorder.FilePending)
		require.NoError(t, m.workers[1].q.Stop(t.Context(), "tape", recorder.EndStopped))
		l := m.claim(m.workers[2])
		require.NotNil(t, l, "whoever gets it rescues what it can")
		assert.Equal(t, recorder.FilePending, l.Recording().Earlier[0].Files[0].State)
		assert.Equal(t, recorder.Command{Kind: recorder.CommandStop, Reason: recorder.EndStopped}, <-l.Commands())
	})
}
