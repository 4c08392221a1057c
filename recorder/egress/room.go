package egress

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/twitchtv/twirp"

	"tapedeck/recorder"
)

// room is a recorder.Room over the server's RoomService.
type room struct {
	name, identity string
	token          string
	api            livekit.RoomService
	err            error // of the URL
}

// Enter gives the server's side of a task's room. It asks nothing yet.
func Enter(task recorder.Task) recorder.Room {
	token := cmp.Or(task.Pass.Token, task.Job.Token) // as the page does
	base, err := apiURL(task.Pass.URL)
	return &room{
		name: task.Job.RoomName, identity: identityOf(token), token: task.Pass.AdminToken,
		api: livekit.NewRoomServiceProtobufClient(base, &http.Client{Timeout: callTimeout}), err: err,
	}
}

const callTimeout = 5 * time.Second

// State asks for the room.
func (r *room) State(ctx context.Context) (recorder.RoomState, error) {
	ctx, err := r.authorized(ctx)
	if err != nil {
		return recorder.RoomState{}, err
	}
	answer, err := r.api.ListRooms(ctx, &livekit.ListRoomsRequest{Names: []string{r.name}})
	if err != nil {
		return recorder.RoomState{}, refusal("asking for the room", err)
	}
	if len(answer.Rooms) == 0 {
		return recorder.RoomState{}, nil
	}
	return recorder.RoomState{ID: answer.Rooms[0].Sid, Exists: true, Participants: int(answer.Rooms[0].NumParticipants)}, nil
}

// Check asks the server for a room that is nobody's: it answers, and accepts the key.
func (d Door) Check(ctx context.Context) error {
	if d.APIKey == "" || d.APISecret == "" {
		return recorder.Errorf(recorder.CodeInvalid, "livekit.api_key and livekit.api_secret are not set")
	}
	pass, err := d.Admit(recorder.Job{ID: "check", Source: recorder.Source{RoomName: "tapedeck-check"}})
	if err != nil {
		return err
	}
	_, err = Enter(recorder.Task{Job: recorder.Job{Source: recorder.Source{RoomName: "tapedeck-check"}}, Pass: pass}).State(ctx)
	return err
}

// retryPause is between two tries to reach a recorder that is just rejoining.
const retryPause = 500 * time.Millisecond

// SetLayout sets the metadata of the recorder's participant to {"layout":"…"},
// which is how LiveKit tells a template page. A recorder that is not in the room
// may be back in a moment: until ctx is done it is tried again.
func (r *room) SetLayout(ctx context.Context, layout string) error {
	metadata, err := json.Marshal(told{Layout: layout})
	if err != nil {
		return err
	}
	ctx, err = r.authorized(ctx)
	if err != nil {
		return err
	}
	request := &livekit.UpdateParticipantRequest{Room: r.name, Identity: r.identity, Metadata: string(metadata)}
	for {
		_, err := r.api.UpdateParticipant(ctx, request)
		if err == nil {
			return nil
		}
		refused := refusal("telling the page its layout", err)
		if refused.Code == recorder.CodeInvalid {
			return refused
		}
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
			return refused
		}
	}
}

// told is a recorder's metadata.
type told struct {
	Layout string `json:"layout"`
}

// Layout reads the metadata of the recorder's participant.
func (r *room) Layout(ctx context.Context) (string, error) {
	ctx, err := r.authorized(ctx)
	if err != nil {
		return "", err
	}
	who, err := r.api.GetParticipant(ctx, &livekit.RoomParticipantIdentity{Room: r.name, Identity: r.identity})
	if err != nil {
		return "", refusal("asking for the page's layout", err)
	}
	var t told
	_ = json.Unmarshal([]byte(who.Metadata), &t) // what is not ours says nothing
	return t.Layout, nil
}

// Leave removes the recorder's participant.
func (r *room) Leave(ctx context.Context) error {
	ctx, err := r.authorized(ctx)
	if err != nil {
		return err
	}
	if _, err := r.api.RemoveParticipant(ctx, &livekit.RoomParticipantIdentity{Room: r.name, Identity: r.identity}); err != nil {
		return refusal("leaving the room", err)
	}
	return nil
}

func (r *room) authorized(ctx context.Context) (context.Context, error) {
	if r.err != nil {
		return ctx, r.err
	}
	return twirp.WithHTTPRequestHeaders(ctx, http.Header{"Authorization": {"Bearer " + r.token}})
}

// refusal tells a server that does not answer from one that says no.
func refusal(doing string, err error) *recorder.Error {
	var said twirp.Error
	if !errors.As(err, &said) {
		return recorder.Errorf(recorder.CodeUnavailable, "%s: %w", doing, err)
	}
	switch said.Code() {
	case twirp.Unauthenticated, twirp.PermissionDenied:
		return recorder.Errorf(recorder.CodeInvalid, "%s: the LiveKit server refuses the key and its secret, check livekit.api_key and livekit.api_secret in the configuration (%s)", doing, said.Msg())
	case twirp.BadRoute: // 404 of anything but the service
		return recorder.Errorf(recorder.CodeUnavailable, "%s: what answers there is no LiveKit server: check livekit.url, or the job's livekit_url (%s)", doing, said.Msg())
	case twirp.NotFound:
		return recorder.Errorf(recorder.CodeNotFound, "%s: %s", doing, said.Msg())
	case twirp.InvalidArgument, twirp.Malformed, twirp.Unimplemented:
		return recorder.Errorf(recorder.CodeInvalid, "%s: %s", doing, said.Msg())
	default:
		return recorder.Errorf(recorder.CodeUnavailable, "%s: %s", doing, said.Msg())
	}
}
