package recorder_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

func pauseCommand(on bool) recorder.Command {
	return recorder.Command{Kind: recorder.CommandUpdate, Update: recorder.Update{Pause: &on}}
}

func TestPause(t *testing.T) {
	onStage(t, func(s *stage) {
		s.begin()
		time.Sleep(10 * time.Second)
		s.send(pauseCommand(true))
		s.send(pauseCommand(true))
		require.True(t, s.last().Paused())
		paused := s.last().Pauses[0].Start
		require.InDelta(t, s.began.Add(10*time.Second).UnixNano(), paused, float64(time.Second))
		time.Sleep(time.Hour) // far beyond what else may stand still
		require.Equal(t, recorder.StatusActive, s.last().Status)
		s.send(pauseCommand(false))
		s.send(pauseCommand(false))
		require.False(t, s.last().Paused())
		require.Equal(t, []recorder.Span{{Start: paused, End: paused + int64(time.Hour)}}, s.last().Pauses)
		require.Equal(t, []string{"pause", "pause", "resume", "resume"}, s.pipeline.Calls())

		s.pipeline.Change(func(snap *recorder.Snapshot) { snap.Files[0].Duration = 15 * time.Second })
		time.Sleep(5 * time.Second)
		s.session.Log(recorder.MarkerEnd)
		file := s.end().Files[0]
		assert.Equal(t, int64(15*time.Second), file.Duration)
		assert.Equal(t, int64(time.Hour+15*time.Second), file.EndedAt-file.StartedAt, "the span has the pause in it")
	})
}

func TestPauseDoesNotStopTheClock(t *testing.T) {
	onStage(t, func(s *stage) {
		s.job.Limits.MaxDuration = recorder.Duration(time.Minute)
		s.begin()
		s.send(pauseCommand(true))
		rec := s.end()
		assert.Equal(t, recorder.EndMaxDuration, rec.EndReason)
		assert.InDelta(t, time.Minute, time.Since(s.began), float64(time.Second))
		assert.Nil(t, rec.Error)
	})
}

// A part that follows a paused one begins paused.
func TestPauseOverParts(t *testing.T) {
	onStage(t, func(s *stage) {
		s.pauses = []recorder.Span{{Start: 1, End: 2}, {Start: 3}}
		s.begin()
		require.Equal(t, []string{"pause"}, s.pipeline.Calls())
		time.Sleep(time.Minute)
		require.Equal(t, s.pauses, s.last().Pauses)
		s.send(pauseCommand(false))
		require.Len(t, s.last().Pauses, 2)
		require.Greater(t, s.last().Pauses[1].End, int64(3))
		s.session.Log(recorder.MarkerEnd)
		require.Equal(t, recorder.EndSignal, s.end().EndReason)
	})
}

// A pause that was asked for before the first frame leaves that one out, too.
func TestPauseBeforeTheFirstFrame(t *testing.T) {
	onStage(t, func(s *stage) {
		s.start(t.TempDir())
		synctest.Wait()
		s.pipeline.OnBegin = func(context.Context) error {
			assert.Equal(t, []string{"pause"}, s.pipeline.Calls())
			return nil
		}
		s.send(pauseCommand(true))
		s.session.Log(recorder.MarkerStart)
		<-s.pipeline.Begun()
		synctest.Wait()
		require.Len(t, s.last().Pauses, 1)
		s.session.Log(recorder.MarkerEnd)
		s.end()
	})
}

// A pause waits for no server that hangs, and what is paused does not stand still.
func TestPauseBesideASlowRemoval(t *testing.T) {
	onStage(t, func(s *stage) {
		s.begin()
		s.pipeline.OnRemove = func(ctx context.Context, _ string) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}
		update := pauseCommand(true)
		update.Update.RemoveStreamURLs = []string{streamURL}
		s.send(update)
		assert.True(t, s.last().Paused())
		time.Sleep(30 * time.Second)
		assert.Equal(t, recorder.StatusActive, s.last().Status, s.last().Error)
		s.session.Log(recorder.MarkerEnd)
		s.end()
	})
}

func TestPauseEndsWithTheJob(t *testing.T) {
	rec := recorder.Recording{EndedAt: 9, StartedAt: 1, Pauses: []recorder.Span{{Start: 3}}}
	ended := recorder.Conclude(rec)
	assert.Equal(t, []recorder.Span{{Start: 3, End: 9}}, ended.Pauses)
	assert.True(t, rec.Paused(), "of another owner")
	lost := recorder.ConcludeLost(recorder.Recording{StartedAt: 1, Pauses: rec.Pauses}, &recorder.Error{Code: recorder.CodeWorkerLost}, recorder.EndWorkerLost, 8)
	assert.Equal(t, []recorder.Span{{Start: 3, End: 8}}, lost.Pauses)
}

// Whoever takes a job over gets every update again that there was, in one go: what a later one took
// back is not done once more, not even for a moment.
func TestUpdatesThatWereTakenBack(t *testing.T) {
	const gone, stays = "rtmp://a.example.com/live/gonegonegone", "rtmp://b.example.com/live/staysstays"
	change := func(u recorder.Update) recorder.Command {
		return recorder.Command{Kind: recorder.CommandUpdate, Update: u}
	}
	onStage(t, func(s *stage) {
		s.pauses = []recorder.Span{{Start: 1, End: 2}, {Start: 3}}
		s.start(t.TempDir())
		synctest.Wait()
		s.send(pauseCommand(true))
		s.send(change(recorder.Update{AddStreamURLs: []string{gone, stays}}))
		s.send(pauseCommand(false))
		s.send(change(recorder.Update{RemoveStreamURLs: []string{recorder.StreamID(gone)}}))
		s.send(pauseCommand(true))
		s.session.Log(recorder.MarkerStart)
		synctest.Wait()
		assert.NotContains(t, s.pipeline.Calls(), "resume")
		assert.Equal(t, s.pauses, s.last().Pauses)
		added := s.last().Streams
		require.Len(t, added, 2, "that of the job, and what stays")
		assert.Equal(t, recorder.StreamID(stays), added[1].ID)
		s.session.Log(recorder.MarkerEnd)
		s.end()
	})
}
