package egress_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/egress"
	"tapedeck/recorder/rehearsal"
)

// onServer is a room's door and its keeper on a real server.
type onServer struct {
	*rehearsal.Server
	door egress.Door
	api  *lksdk.RoomServiceClient
}

func startServer(t *testing.T) onServer {
	t.Helper()
	s, err := rehearsal.StartServer(t.Context(), rehearsal.ServerOptions{})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return onServer{
		Server: s, door: egress.Door{URL: s.URL(), APIKey: s.APIKey, APISecret: s.APISecret},
		api: lksdk.NewRoomServiceClient(s.URL(), s.APIKey, s.APISecret),
	}
}

// enter gives the room, and joins it as the recorder's page does.
func (s onServer) enter(t *testing.T, job recorder.Job) (recorder.Room, *rehearsal.Publisher) {
	t.Helper()
	pass, err := s.door.Admit(job)
	require.NoError(t, err)
	page, err := rehearsal.Join(t.Context(), rehearsal.Participant{URL: s.URL(), Token: pass.Token, Room: job.RoomName})
	require.NoError(t, err)
	t.Cleanup(page.Leave)
	return egress.Enter(recorder.Task{Job: job, Pass: pass}), page
}

func TestStateOfARoom(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	pass, err := s.door.Admit(roomJob())
	require.NoError(t, err)
	room := egress.Enter(recorder.Task{Job: roomJob(), Pass: pass})
	state, err := room.State(t.Context())
	require.NoError(t, err)
	assert.Equal(t, recorder.RoomState{}, state, "asking does not make it")

	made, err := s.api.CreateRoom(t.Context(), &livekit.CreateRoomRequest{Name: roomJob().RoomName})
	require.NoError(t, err)
	state, err = room.State(t.Context())
	require.NoError(t, err)
	assert.Equal(t, recorder.RoomState{Exists: true, ID: made.Sid}, state)

	s.enter(t, roomJob())
	ann, err := rehearsal.Join(t.Context(), rehearsal.Participant{
		URL: s.URL(), APIKey: s.APIKey, APISecret: s.APISecret, Room: roomJob().RoomName, Identity: "ann",
	})
	require.NoError(t, err)
	t.Cleanup(ann.Leave)
	require.Eventually(t, func() bool { // the server counts every 5 s
		state, err = room.State(t.Context())
		return err == nil && state.Participants > 0
	}, 30*time.Second, 100*time.Millisecond)
	assert.Equal(t, 1, state.Participants, "the recorder does not count")

	s.Kill()
	_, err = room.State(t.Context())
	assert.Equal(t, recorder.CodeUnavailable, recorder.CodeOf(err))
}

func TestLayoutIsTheRecordersMetadata(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	room, _ := s.enter(t, roomJob())
	told, err := room.Layout(t.Context())
	require.NoError(t, err)
	assert.Empty(t, told)
	require.NoError(t, room.SetLayout(t.Context(), `grid "2"`))
	told, err = room.Layout(t.Context())
	require.NoError(t, err)
	assert.Equal(t, `grid "2"`, told)
	who, err := s.api.GetParticipant(t.Context(), &livekit.RoomParticipantIdentity{Room: roomJob().RoomName, Identity: roomJob().ID})
	require.NoError(t, err)
	assert.JSONEq(t, `{"layout": "grid \"2\""}`, who.Metadata)
	assert.True(t, who.Permission.Hidden)
	assert.False(t, who.Permission.CanPublish)
	assert.Equal(t, livekit.ParticipantInfo_EGRESS, who.Kind)
}

func TestLayoutWaitsForARecorderThatIsAway(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	pass, err := s.door.Admit(roomJob())
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err = egress.Enter(recorder.Task{Job: roomJob(), Pass: pass}).SetLayout(ctx, "grid")
	assert.Equal(t, recorder.CodeNotFound, recorder.CodeOf(err))
	assert.Error(t, ctx.Err(), "it may come back")
}

func TestKeysThatAreNotTheServers(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	require.NoError(t, s.door.Check(t.Context()))
	wrong := s.door
	wrong.APISecret += "x"
	err := wrong.Check(t.Context())
	assert.Equal(t, recorder.CodeInvalid, recorder.CodeOf(err))
	assert.ErrorContains(t, err, "livekit.api_key")
	assert.NotContains(t, err.Error(), wrong.APISecret)
	wrong.APIKey = ""
	assert.ErrorContains(t, wrong.Check(t.Context()), "not set")
}

func TestServerBehindABrokenProxy(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "<html>bad gateway</html>", http.StatusBadGateway)
	}))
	t.Cleanup(proxy.Close)
	d := door()
	d.URL = proxy.URL
	assert.Equal(t, recorder.CodeUnavailable, recorder.CodeOf(d.Check(t.Context())))
}

// What is at livekit.url may be any web server.
func TestAddressOfSomethingElse(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	d := door()
	d.URL = other.URL
	err := d.Check(t.Context())
	assert.Equal(t, recorder.CodeUnavailable, recorder.CodeOf(err), "a proxy may know no better while the server starts")
	assert.ErrorContains(t, err, "what answers there is no LiveKit server: check livekit.url")
}
