package recorder_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

// setBy gives a time whose wall clock was set by d, while its monotonic clock went
// on: what time.Now gives after somebody set the machine's clock. No function of the
// standard library makes such a time, hence the look inside: the seconds are in
// bits 30 to 62 of its first word (time.Time).
func setBy(t *testing.T, now time.Time, d time.Duration) time.Time {
	t.Helper()
	jumped := now
	*(*uint64)(unsafe.Pointer(&jumped)) += uint64(int64(d/time.Second)) << 30
	require.Zero(t, jumped.Sub(now), "the monotonic clock is untouched")
	require.Equal(t, d, jumped.Round(0).Sub(now.Round(0)), "the wall clock is set")
	return jumped
}

func TestClockThatIsSetWhileRecording(t *testing.T) {
	for name, jump := range map[string]time.Duration{"forward": time.Hour, "back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			machine := time.Now() // the clock of the scene has no monotonic reading
			inRoom(t, recorder.RoomState{Exists: true, Participants: 1}, nil, func(s *stage) {
				began, by := time.Now(), atomic.Int64{}
				s.recorder.Now = func() time.Time { return setBy(t, machine.Add(time.Since(began)), time.Duration(by.Load())) }
				s.begin()
				by.Store(int64(jump))
				time.Sleep(10 * time.Second)
				synctest.Wait()
				require.Equal(t, recorder.StatusActive, s.last().Status, "it goes on: neither the room nor the recording stood still")

				s.session.Crash(recorder.ErrPageCrashed)
				synctest.Wait()
				time.Sleep(2 * time.Second)
				s.session.Log(recorder.MarkerStart)
				synctest.Wait()
				s.room.Set(recorder.RoomState{}, recorder.Errorf(recorder.CodeUnavailable, "away"))
				s.session.Log(recorder.MarkerEnd)
				rec := s.end()
				assert.Equal(t, recorder.EndSignal, rec.EndReason, "the server has not been silent for long")
				assert.Equal(t, 12*time.Second, time.Duration(rec.EndedAt-machine.UnixNano()).Round(time.Second))
				require.Len(t, rec.Incidents, 1)
				assert.Equal(t, int64(2*time.Second), rec.Incidents[0].Lost)
				assert.Equal(t, 10*time.Second, time.Duration(rec.Incidents[0].At-machine.UnixNano()).Round(time.Second))
			})
		})
	}
}

// A process that was stopped for a minute has not stood still: it was not there.
func TestProcessThatWasStopped(t *testing.T) {
	onStage(t, func(s *stage) {
		var missing atomic.Int64
		s.recorder.Now = func() time.Time { return time.Now().Add(time.Duration(missing.Load())) }
		s.begin()
		s.pipeline.Change(func(snap *recorder.Snapshot) { snap.Stats.Elapsed = recorder.Duration(time.Minute) })
		time.Sleep(3 * time.Second)
		missing.Store(int64(time.Minute))
		time.Sleep(3 * time.Second)
		synctest.Wait()
		assert.Equal(t, recorder.StatusActive, s.last().Status)
		s.pipeline.Change(func(snap *recorder.Snapshot) { snap.Stats.Elapsed = recorder.Duration(61 * time.Second) })
		time.Sleep(3 * time.Second)
		s.session.Log(recorder.MarkerEnd)
		assert.Equal(t, recorder.EndSignal, s.end().EndReason)
	})
}
