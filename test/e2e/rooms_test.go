package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
	"tapedeck/recorder/rehearsal"
)

// The tests of rooms record real ones: a livekit-server on loopback, and virtual
// publishers whose pictures and sound can be measured.

// roomServer is a livekit-server of a test's own.
type roomServer struct {
	*rehearsal.Server
	rooms *lksdk.RoomServiceClient
}

func startRooms(t testing.TB) *roomServer {
	t.Helper()
	server, err := rehearsal.StartServer(t.Context(), rehearsal.ServerOptions{Binary: livekitServer(t)})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	return &roomServer{server, lksdk.NewRoomServiceClient("http"+strings.TrimPrefix(server.URL(), "ws"), server.APIKey, server.APISecret)}
}

// livekitServer is where `make tools` builds it, also for who runs go test by hand.
func livekitServer(t testing.TB) string {
	t.Helper()
	if found, err := exec.LookPath("livekit-server"); err == nil {
		return found
	}
	built := filepath.Join(recordertest.RepoRoot(t), "build", "bin", "livekit-server")
	_, err := os.Stat(built)
	require.NoError(t, err, "build it with `make tools`")
	return built
}

// env is the configuration of whoever records this server's rooms.
func (s *roomServer) env() []string {
	return []string{
		"TAPEDECK_LIVEKIT_URL=" + s.URL(), "TAPEDECK_LIVEKIT_API_KEY=" + s.APIKey, "TAPEDECK_LIVEKIT_API_SECRET=" + s.APISecret,
		// Chrome leaves out loopback addresses otherwise.
		"TAPEDECK_CHROME_FLAGS=--allow-loopback-in-peer-connection",
	}
}

// create makes a room that nobody is in.
func (s *roomServer) create(t testing.TB, room string) {
	t.Helper()
	_, err := s.rooms.CreateRoom(t.Context(), &livekit.CreateRoomRequest{Name: room})
	require.NoError(t, err)
}

// close ends a room for everybody in it.
func (s *roomServer) close(t testing.TB, room string) {
	t.Helper()
	_, err := s.rooms.DeleteRoom(t.Context(), &livekit.DeleteRoomRequest{Room: room})
	require.NoError(t, err)
}

// recorderOf finds who records a room.
func (s *roomServer) recorderOf(t testing.TB, room string) *livekit.ParticipantInfo {
	t.Helper()
	all, err := s.rooms.ListParticipants(t.Context(), &livekit.ListParticipantsRequest{Room: room})
	require.NoError(t, err)
	for _, p := range all.Participants {
		if p.Kind == livekit.ParticipantInfo_EGRESS {
			return p
		}
	}
	require.FailNow(t, "nobody records", "room %s: %v", room, all.Participants)
	return nil
}

// roomTake is one recording of a room by `tapedeck record`.
type roomTake struct {
	*command
	path string
	rec  recorder.Recording // when ended
}

// recordRoom runs `tapedeck record --room` until it is active.
func (h *home) recordRoom(s *roomServer, room, file string, args ...string) *roomTake {
	h.t.Helper()
	take := h.enterRoom(s, room, file, args...)
	take.await(take.stderr, `"msg":"active"`, recordStart)
	h.look()
	return take
}

// enterRoom begins it, and waits for nothing.
func (h *home) enterRoom(s *roomServer, room, file string, args ...string) *roomTake {
	h.t.Helper()
	path := h.path(file)
	c := h.start(s.env(), append([]string{"record", "--json", "--log-format", "json", "--room", room, "-o", path}, args...)...)
	return &roomTake{command: c, path: path}
}

// keepOn records for so long.
func (r *roomTake) keepOn(d time.Duration) {
	r.h.t.Helper()
	select {
	case <-r.done:
		require.FailNow(r.h.t, "it ended", "%s\n%s%s", r, r.stdout, lastLines(r.stderr.String(), 30))
	case <-time.After(d):
	}
}

// end waits for the end, which must come soon, and checks why it came.
func (r *roomTake) end(within time.Duration, why recorder.EndReason, status recorder.Status) recorder.Recording {
	r.h.t.Helper()
	code := r.wait(within)
	r.rec = r.recording()
	require.Equal(r.h.t, why, r.rec.EndReason, "%+v", r.rec.Error)
	require.Equal(r.h.t, status, r.rec.Status, "%+v", r.rec.Error)
	assert.Equal(r.h.t, status == recorder.StatusFailed, code != 0, "exit code %d", code)
	return r.rec
}

// at is when in the recording a moment of the clock was.
func (r *roomTake) at(moment time.Time) time.Duration {
	return moment.Sub(time.Unix(0, r.rec.StartedAt))
}

// requireWhole checks one file that nothing is missing from, up to a moment or a little
// more.
func (r *roomTake) requireWhole(until time.Time, more time.Duration) {
	r.h.t.Helper()
	require.Len(r.h.t, r.rec.Files, 1)
	m := probe(r.h.t, r.path)
	m.requireWhole(r.h.t, 30)
	const less = 1500 * time.Millisecond // the moment is known when a server has answered
	assert.Greater(r.h.t, m.duration(r.h.t), r.at(until)-less, "nothing is missing")
	assert.Less(r.h.t, m.duration(r.h.t), r.at(until)+more, "it ended when it should")
}
