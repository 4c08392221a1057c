package e2e

import (
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// How much later than it should a recording may end, on a machine that records others
// beside: the page is told over the network, and the file is finalised. What ends one
// that is not told takes 20 s.
const endsLate = 4 * time.Second

// TestRoomEnds ends recordings in every way a room can.
func TestRoomEnds(t *testing.T) {
	t.Parallel()
	const before = 2 * time.Second
	t.Run("server gone", func(t *testing.T) {
		t.Parallel()
		s, h := startRooms(t), newHome(t)
		s.enter(t, "talk", low())
		take := h.recordRoom(s, "talk", "lost.mp4")
		take.keepOn(before)
		s.Kill()
		gone := time.Now()
		rec := take.end(time.Minute, recorder.EndConnectionLost, recorder.StatusFailed)
		require.NotNil(t, rec.Error)
		t.Logf("ended %v after the server, %v", time.Unix(0, rec.EndedAt).Sub(gone), rec.Error)
		take.requireWhole(gone.Add(30*time.Second), 5*time.Second)
	})
	t.Run("server restarted", func(t *testing.T) {
		t.Parallel()
		surviveRestart(t)
	})
	t.Run("others", func(t *testing.T) {
		t.Parallel()
		s := startRooms(t)
		t.Run("room deleted", func(t *testing.T) {
			h := newHome(t)
			s.enter(t, "closed", low())
			take := h.recordRoom(s, "closed", "closed.mp4")
			take.keepOn(before)
			s.close(t, "closed")
			told := time.Now()
			take.end(10*time.Second, recorder.EndRoomClosed, recorder.StatusComplete)
			take.requireWhole(told, endsLate)
		})
		t.Run("everybody left", func(t *testing.T) {
			h := newHome(t)
			g := s.enter(t, "left", low())
			take := h.recordRoom(s, "left", "left.mp4", "--empty-timeout", "2s")
			take.keepOn(before)
			g.Leave()
			told := time.Now()
			take.end(10*time.Second, recorder.EndRoomEmpty, recorder.StatusComplete)
			take.requireWhole(told.Add(2*time.Second), endsLate)
		})
		t.Run("recorder removed", func(t *testing.T) {
			h := newHome(t)
			s.enter(t, "removed", low())
			take := h.recordRoom(s, "removed", "removed.mp4")
			take.keepOn(before)
			_, err := s.rooms.RemoveParticipant(t.Context(), &livekit.RoomParticipantIdentity{Room: "removed", Identity: s.recorderOf(t, "removed").Identity})
			require.NoError(t, err)
			told := time.Now()
			take.end(10*time.Second, recorder.EndRemoved, recorder.StatusComplete)
			take.requireWhole(told, endsLate)
		})
		t.Run("nobody comes", func(t *testing.T) {
			h := newHome(t)
			s.create(t, "empty")
			take := h.recordRoom(s, "empty", "empty.mp4", "--empty-timeout", "2s")
			take.end(10*time.Second, recorder.EndRoomEmpty, recorder.StatusComplete)
			take.requireWhole(time.Unix(0, take.rec.StartedAt).Add(2*time.Second), endsLate)
		})
		t.Run("killed", func(t *testing.T) {
			h := newHome(t)
			s.enter(t, "killed", low())
			take := h.recordRoom(s, "killed", "killed.mp4")
			ports := recordertest.Listening(take.pid())
			require.Len(t, ports, 1, "the built-in template is served")
			resp, err := http.Get("http://" + ports[0])
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			take.awaitFile(h.path("spool", "*", "media-0.mp4"), someMedia, 30*time.Second)
			h.look()
			take.kill()
			h.requireNothingLeft()
			_, err = http.Get("http://" + ports[0])
			require.ErrorIs(t, err, syscall.ECONNREFUSED)
		})
		t.Run("no room", func(t *testing.T) {
			h := newHome(t)
			take := h.enterRoom(s, "nowhere", "nowhere.mp4", "--start-timeout", "2s")
			rec := take.end(30*time.Second, recorder.EndStartFailed, recorder.StatusFailed)
			require.NotNil(t, rec.Error)
			assert.Equal(t, recorder.CodeStartTimeout, rec.Error.Code)
			assert.Contains(t, rec.Error.Message, `room "nowhere" does not exist`)
			assert.NoFileExists(t, take.path)
			list, err := s.rooms.ListRooms(t.Context(), &livekit.ListRoomsRequest{Names: []string{"nowhere"}})
			require.NoError(t, err)
			assert.Empty(t, list.Rooms, "waiting for a room does not make it")
		})
	})
}

// surviveRestart kills the server and starts it again, in time for the recording to
// go on.
func surviveRestart(t *testing.T) {
	t.Helper()
	s, p := startRooms(t), startPool(t)
	s.enter(t, "talk", low())
	p.startWorker("w1", s.env()...)
	job := roomJob("talk", "", "grid", "restarted.mp4")
	job.Limits.MaxDuration = recorder.Duration(3 * time.Minute)
	id := p.enqueue(job)
	p.awaitActive(id)
	p.await(id, "sound", forever, heard)
	s.Kill()
	p.await(id, "silence", forever, silent)
	require.NoError(t, s.Restart(t.Context()))
	back := time.Now()
	rec := p.await(id, "sound", forever, heard)
	t.Logf("the room is heard again after %v", time.Since(back))
	p.awaitElapsed(id, rec.Stats.Elapsed.Std()+4*time.Second)
	require.Zero(t, p.verb("stop", id).code)
	told := time.Now()
	rec = p.awaitStatus(id, recorder.StatusComplete, 30*time.Second)
	assert.Equal(t, recorder.EndStopped, rec.EndReason)
	require.Len(t, rec.Files, 1)
	take := &roomTake{command: &command{h: p.home}, path: p.stored("restarted.mp4"), rec: rec}
	take.requireWhole(told, endsLate)
	tile := recordertest.ReadTiles(t, take.path, recordertest.WholeTile(0, 0, 1280, 720))[0]
	still := recordertest.StillSeconds(tile)
	t.Logf("the server was back at %v; nothing moved in the seconds %v", take.at(back), still)
	require.NotEmpty(t, still, "the last picture stays while the server is away")
	assert.Less(t, still[len(still)-1], len(tile)/camRate-2, "and then it moves again")
	tones := recordertest.ToneLevels(t, take.path, lowTone)[0]
	assert.Greater(t, tones[len(tones)-5], 0.05, "and is heard")
}

// Whether a room's sound is being recorded shows in the job's figures.
func heard(rec recorder.Recording) bool  { return rec.Stats.AudioPeak > -60 && rec.Stats.AudioPeak != 0 }
func silent(rec recorder.Recording) bool { return rec.Stats.AudioPeak <= -60 }
