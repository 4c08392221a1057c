package templates_test

import (
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

// TestFaultsAreNamed opens the page so that it cannot show a room.
func TestFaultsAreNamed(t *testing.T) {
	t.Parallel()
	r := startRooms(t)
	stranger, err := auth.NewAccessToken(r.APIKey, strings.Repeat("x", 40)).SetIdentity("EG_1").
		SetVideoGrant(&auth.VideoGrant{RoomJoin: true, Room: "talk"}).ToJWT()
	require.NoError(t, err)
	v := open(t, wide)
	for name, c := range map[string]struct {
		change url.Values
		want   []string
	}{
		"no parameters":   {url.Values{"url": nil, "token": nil}, []string{"parameter url is missing", "parameter token is missing"}},
		"a layout":        {url.Values{"layout": {"mosaic"}}, []string{`parameter layout: there is no "mosaic"`, "speaker, grid, single-speaker"}},
		"a time":          {url.Values{"empty_timeout": {"soon"}}, []string{`parameter empty_timeout: "soon"`}},
		"an address":      {url.Values{"url": {"ftp://host"}}, []string{`parameter url "ftp://host" is no ws, wss, http or https address`}},
		"a participant":   {url.Values{"layout": {"participant"}, "identity": {"nobody"}, "start_timeout": {"3"}}, []string{`participant "nobody" is not in the room`, "start_timeout of 3 s"}},
		"a track":         {url.Values{"layout": {"participant"}, "video_track_id": {"TR_none"}, "start_timeout": {"3"}}, []string{"track TR_none is not in the room"}},
		"a foreign token": {url.Values{"token": {stranger}}, []string{"the LiveKit server refused the token (401 token signature is invalid"}},
	} {
		t.Run(name, func(t *testing.T) {
			v.requireFault(r, c.change, c.want...)
		})
	}
}

// TestServersThatDoNotAnswer waits as long as the page does before it gives up.
func TestServersThatDoNotAnswer(t *testing.T) {
	t.Parallel()
	r := startRooms(t)
	// Whoever connects there waits for ever.
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { silent.Close() })
	addresses := []string{"127.0.0.1:1", silent.Addr().String()} // the first refuses
	var awaits []func(want ...string)
	for _, address := range addresses {
		awaits = append(awaits, open(t, wide).openFault(r, url.Values{"url": {"ws://" + address}}))
	}
	for i, address := range addresses { // they wait side by side
		awaits[i]("the LiveKit server at " + address + " (parameter url) does not answer")
	}
}

// requireFault opens the page with some parameters changed, and wants it to say
// why it cannot show a room.
func (v *viewer) requireFault(r *rooms, change url.Values, want ...string) {
	v.t.Helper()
	v.openFault(r, change)(want...)
}

// openFault is the first half of requireFault, and gives the other one.
func (v *viewer) openFault(r *rooms, change url.Values) (await func(want ...string)) {
	v.t.Helper()
	address, err := url.Parse(r.address(v.t, "talk", "EG_1", "grid"))
	require.NoError(v.t, err)
	query := address.Query()
	for key, values := range change {
		query[key] = values
	}
	address.RawQuery = query.Encode()
	require.NoError(v.t, v.Navigate(within(v.t, patience), address.String()))
	return func(want ...string) {
		v.t.Helper()
		err := v.Wait(within(v.t, patience), recorder.MarkerStart)
		require.Equal(v.t, recorder.CodePageError, recorder.CodeOf(err), "%v", err)
		for _, text := range want {
			require.ErrorContains(v.t, err, text)
		}
		if token := query.Get("token"); token != "" {
			assert.NotContains(v.t, err.Error(), token)
			assert.NotContains(v.t, strings.Join(v.console(), "\n"), token)
		}
	}
}

// TestEndsAreNamed ends rooms while they are recorded.
func TestEndsAreNamed(t *testing.T) {
	t.Parallel()
	r := startRooms(t)
	v := open(t, wide)
	clip := paint(t, red)
	for name, c := range map[string]struct {
		parameters []string
		end        func(t *testing.T, room string, ada *guest)
		want       string
	}{
		"deleted": {nil, func(t *testing.T, room string, _ *guest) {
			_, err := r.api.DeleteRoom(within(t, patience), &livekit.DeleteRoomRequest{Room: room})
			require.NoError(t, err)
		}, "room_closed"},
		"removed": {nil, func(t *testing.T, room string, _ *guest) {
			_, err := r.api.RemoveParticipant(within(t, patience), &livekit.RoomParticipantIdentity{Room: room, Identity: "EG_1"})
			require.NoError(t, err)
		}, "recorder_removed"},
		"replaced": {nil, func(t *testing.T, room string, _ *guest) { r.join(t, room, "EG_1", "") }, "recorder_removed"},
		"everybody left": {[]string{"empty_timeout", "0.5"}, func(t *testing.T, room string, ada *guest) {
			r.agent(t, room, "robot")
			ada.Leave()
		}, "room_empty"},
		"the one left": {[]string{"empty_timeout", "0.5", "identity", "ada"}, func(t *testing.T, room string, ada *guest) {
			r.join(t, room, "bob", "Bob").camera(clip)
			ada.Leave()
		}, "room_empty"},
	} {
		t.Run(name, func(t *testing.T) {
			room := strings.ReplaceAll(name, " ", "-")
			ada := r.join(t, room, "ada", "Ada")
			ada.camera(clip)
			layout := "single-speaker"
			if slices.Contains(c.parameters, "identity") {
				layout = "participant"
			}
			v.watch(r, room, "EG_1", layout, c.parameters...)
			v.await(shares(shown{red: whole}))
			c.end(t, room, ada)
			require.NoError(t, v.Wait(within(t, patience), recorder.MarkerEnd))
			console := v.Diagnose(within(t, patience)).Console
			assert.Contains(t, console[len(console)-1], "END_RECORDING "+c.want)
			require.Empty(t, v.console())
		})
	}
}
