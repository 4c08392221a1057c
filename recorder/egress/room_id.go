package egress

import (
	"context"
	"net/http"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"github.com/twitchtv/twirp"

	"tapedeck/recorder"
)

// RoomID asks the server for the sid (RM_…) of a room. It is empty when there is
// no such room yet, and when no server or no key is configured. CodeUnavailable
// when the server does not answer, CodeInvalid when it refuses the key.
func (d Door) RoomID(ctx context.Context, roomName string) (string, error) {
	if d.URL == "" || d.APIKey == "" || d.APISecret == "" {
		return "", nil
	}
	base, err := apiURL(d.URL)
	if err != nil {
		return "", err
	}
	token, err := d.sign("tapedeck", shortestLife, &auth.VideoGrant{RoomList: true})
	if err != nil {
		return "", err
	}
	ctx, err = twirp.WithHTTPRequestHeaders(ctx, http.Header{"Authorization": {"Bearer " + token}})
	if err != nil {
		return "", recorder.Errorf(recorder.CodeInternal, "asking for the room: %w", err)
	}
	api := livekit.NewRoomServiceProtobufClient(base, &http.Client{Timeout: callTimeout})
	answer, err := api.ListRooms(ctx, &livekit.ListRoomsRequest{Names: []string{roomName}})
	if err != nil {
		return "", refusal("asking for the room", err)
	}
	if len(answer.Rooms) == 0 {
		return "", nil
	}
	return answer.Rooms[0].Sid, nil
}
