package recorder_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"tapedeck/recorder"
)

func failStream(s *stage, url string) {
	s.pipeline.Change(func(snap *recorder.Snapshot) {
		for i := range snap.Streams {
			if out := &snap.Streams[i]; out.ID == recorder.StreamID(url) {
				out.State, out.Error, out.EndedAt = recorder.StreamFailed, "refused "+url, time.Now().UnixNano()
			}
		}
	})
	time.Sleep(2 * time.Second)
	synctest.Wait()
}

// What has nothing but streams ends with the last of them, and gives them up by itself.
func TestEveryStreamFails(t *testing.T) {
	const other = "rtmp://ingest.example.com/app/5ecret-that-is-another"
	change := func(add, remove []string) recorder.Command {
		return recorder.Command{Kind: recorder.CommandUpdate, Update: recorder.Update{AddStreamURLs: add, RemoveStreamURLs: remove}}
	}
	onStage(t, func(s *stage) {
		s.job.Files = nil
		s.begin()
		assert.Equal(t, recorder.DefaultStreamTimeout, s.pipeline.Spec.Outputs[0].GiveUp)
		s.send(change([]string{other}, nil))
		failStream(s, streamURL)
		assert.Equal(t, recorder.StatusActive, s.last().Status, "one of two")
		failStream(s, other)
		rec := s.end()
		assert.Equal(t, recorder.EndStreamsFailed, rec.EndReason)
		assert.Equal(t, recorder.CodeStream, rec.Error.Code)
		assert.Contains(t, rec.Error.Message, "rtmp://ingest.example.com/app/{5ec...her} the last: refused")
		assert.Equal(t, recorder.StatusFailed, recorder.Conclude(rec).Status)
	})
	onStage(t, func(s *stage) { // a wrong key is put right: first one goes, then another comes
		s.job.Files = nil
		s.job.Limits.StreamTimeout = recorder.Duration(time.Hour)
		s.begin()
		assert.Equal(t, time.Hour, s.pipeline.Spec.Outputs[0].GiveUp)
		s.send(change(nil, []string{recorder.StreamID(streamURL)}))
		failStream(s, streamURL) // as one that was never up ends
		assert.Equal(t, recorder.StatusActive, s.last().Status, "what was removed did not fail")
		s.send(change([]string{streamURL}, nil))
		s.pipeline.Change(func(snap *recorder.Snapshot) { snap.Streams = snap.Streams[1:] })
		failStream(s, streamURL)
		assert.Equal(t, recorder.EndStreamsFailed, s.end().EndReason)
	})
	onStage(t, func(s *stage) {
		s.begin()
		assert.Zero(t, s.pipeline.Spec.Outputs[1].GiveUp, "beside a file there is no hurry")
		failStream(s, streamURL)
		assert.Equal(t, recorder.StatusActive, s.last().Status)
		s.session.Log(recorder.MarkerEnd)
		assert.Nil(t, s.end().Error)
	})
}
