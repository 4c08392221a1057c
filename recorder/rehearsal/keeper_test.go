package rehearsal

import (
	"context"
	"testing"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

func TestKeeperMakesAndDeletesARoom(t *testing.T) {
	s := startServer(t, ServerOptions{})
	k := Keeper{URL: s.URL(), APIKey: s.APIKey, APISecret: s.APISecret, Room: "kept"}
	made, err := k.Make(t.Context())
	require.NoError(t, err)
	assert.True(t, made)
	made, err = k.Make(t.Context())
	require.NoError(t, err)
	assert.False(t, made, "it was there")
	require.NoError(t, k.Delete(t.Context()))
	list, err := rooms(s).ListRooms(t.Context(), &livekit.ListRoomsRequest{})
	require.NoError(t, err)
	assert.Empty(t, list.GetRooms())

	k.APISecret = "some-other-secret-that-is-long-enough"
	_, err = k.Make(t.Context())
	assert.Equal(t, recorder.CodeInvalid, recorder.CodeOf(err), "%v", err)
	assert.NotContains(t, err.Error(), k.APISecret)
	k.URL = "ws://127.0.0.1:1"
	_, err = k.Make(t.Context())
	assert.Equal(t, recorder.CodeUnavailable, recorder.CodeOf(err), "%v", err)
}

func TestKeeperSeesWhoIsHidden(t *testing.T) {
	s := startServer(t, ServerOptions{})
	k := Keeper{URL: s.URL(), APIKey: s.APIKey, APISecret: s.APISecret, Room: "watched"}
	_, err := k.Make(t.Context())
	require.NoError(t, err)
	join := func(identity string, grant auth.VideoGrant) *Publisher {
		grant.RoomJoin, grant.Room = true, k.Room
		token, err := auth.NewAccessToken(s.APIKey, s.APISecret).SetIdentity(identity).SetVideoGrant(&grant).ToJWT()
		require.NoError(t, err)
		p, err := Join(t.Context(), Participant{URL: s.URL(), Token: token, Room: k.Room, Identity: identity})
		require.NoError(t, err)
		t.Cleanup(p.Leave)
		return p
	}
	ctx, cancel := context.WithCancel(t.Context())
	since, told := time.Now(), make(chan Guest, 2)
	watch := func(identity string) { go func() { told <- k.Watch(ctx, identity, []string{"ours"}, since) }() }
	watch("EG_1")
	join("ours", auth.VideoGrant{})
	no := false
	before := time.Since(since)
	join("EG_1", auth.VideoGrant{Hidden: true, Recorder: true, CanPublish: &no})
	join("mallory", auth.VideoGrant{})
	recordertest.AwaitNone(t, 10*time.Second, func() []string {
		everybody, err := rooms(s).ListParticipants(t.Context(), &livekit.ListParticipantsRequest{Room: k.Room})
		if err == nil && len(everybody.GetParticipants()) == 3 {
			return nil
		}
		return []string{"somebody is missing"}
	})
	others, err := k.Others(t.Context(), []string{"ours"})
	require.NoError(t, err)
	assert.Equal(t, []string{"mallory"}, others, "the hidden one does not count")
	time.AfterFunc(3*lookEvery, cancel)
	g := <-told
	assert.True(t, g.Hidden)
	assert.False(t, g.Publishes)
	assert.Empty(t, g.Unasked)
	assert.Equal(t, []string{"mallory"}, g.Strangers)
	assert.GreaterOrEqual(t, g.SeenAt, before)
	assert.Less(t, g.AbsentUntil, g.SeenAt)
	early := g
	early.Rebase(before)
	assert.Equal(t, g.SeenAt-before, early.SeenAt)
	early.Rebase(time.Hour)
	assert.NotZero(t, early.SeenAt, "it came, if early")
	assert.Zero(t, early.AbsentUntil)

	ctx, cancel = context.WithTimeout(t.Context(), 3*lookEvery)
	defer cancel()
	g = k.Watch(ctx, "nobody", nil, since)
	assert.Zero(t, g.SeenAt)
	assert.NotZero(t, g.AbsentUntil)
	assert.Empty(t, g.Strangers)
}
