package rehearsal

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/twitchtv/twirp"

	"tapedeck/recorder"
)

// Keeper looks after one room through its server's API.
type Keeper struct {
	URL               string // ws://, wss://, http:// or https://
	APIKey, APISecret string
	Room              string
}

func (k Keeper) api() *lksdk.RoomServiceClient {
	return lksdk.NewRoomServiceClient(k.URL, k.APIKey, k.APISecret)
}

// keeperLimit bounds each call to the server.
const keeperLimit = 5 * time.Second

// Make makes the room, unless it is there, and tells which.
func (k Keeper) Make(ctx context.Context) (made bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, keeperLimit)
	defer cancel()
	known, err := k.api().ListRooms(ctx, &livekit.ListRoomsRequest{Names: []string{k.Room}})
	if err == nil && len(known.GetRooms()) > 0 {
		return false, nil
	}
	if err == nil {
		_, err = k.api().CreateRoom(ctx, &livekit.CreateRoomRequest{Name: k.Room})
	}
	return err == nil, k.refusal("making", err)
}

// Delete closes the room: everybody in it is sent away.
func (k Keeper) Delete(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, keeperLimit)
	defer cancel()
	_, err := k.api().DeleteRoom(ctx, &livekit.DeleteRoomRequest{Room: k.Room})
	return k.refusal("deleting", err)
}

func (k Keeper) refusal(doing string, err error) error {
	if err == nil {
		return nil
	}
	var said twirp.Error
	if errors.As(err, &said) && (said.Code() == twirp.Unauthenticated || said.Code() == twirp.PermissionDenied) {
		return recorder.Errorf(recorder.CodeInvalid, "%s room %q: %s refuses the API key and secret: %w", doing, k.Room, recorder.RedactURL(k.URL), err)
	}
	return recorder.Errorf(recorder.CodeUnavailable, "%s room %q at %s: %w", doing, k.Room, recorder.RedactURL(k.URL), err)
}

// Others gives who is in the room for all to see, but for those in known.
func (k Keeper) Others(ctx context.Context, known []string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, keeperLimit)
	defer cancel()
	everybody, err := k.api().ListParticipants(ctx, &livekit.ListParticipantsRequest{Room: k.Room})
	if err != nil {
		return nil, k.refusal("looking into", err)
	}
	var others []string
	for _, p := range everybody.GetParticipants() {
		if !p.GetPermission().GetHidden() && !slices.Contains(known, p.GetIdentity()) {
			others = append(others, p.GetIdentity())
		}
	}
	return others, nil
}

// lookEvery is how exactly it is known when somebody came.
const lookEvery = 250 * time.Millisecond

// Watch looks for a participant, hidden ones too, until ctx is done, and tells
// what it saw. Times count from since. Those in known are no strangers; when
// known is nil, nobody is.
func (k Keeper) Watch(ctx context.Context, identity string, known []string, since time.Time) Guest {
	var g Guest
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		asked := time.Since(since)
		everybody, err := k.api().ListParticipants(ctx, &livekit.ListParticipantsRequest{Room: k.Room})
		switch {
		case ctx.Err() != nil:
			return g
		case err == nil:
			g.Unasked = ""
			g.note(everybody.GetParticipants(), identity, known, asked, time.Since(since))
		case g.SeenAt == 0 && !isNotFound(err):
			g.Unasked = k.refusal("looking into", err).Error()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return g
		}
	}
}

func isNotFound(err error) bool {
	var said twirp.Error
	return errors.As(err, &said) && said.Code() == twirp.NotFound
}

// Rebase makes the times count from so much later.
func (g *Guest) Rebase(later time.Duration) {
	if g.SeenAt != 0 {
		g.SeenAt = max(1, g.SeenAt-later)
	}
	g.AbsentUntil = max(0, g.AbsentUntil-later)
}

// note takes one look at the room, which the server had between asked and answered.
func (g *Guest) note(everybody []*livekit.ParticipantInfo, identity string, known []string, asked, answered time.Duration) {
	there := false
	for _, p := range everybody {
		switch {
		case p.GetIdentity() == identity:
			there = true
			g.Hidden = p.GetPermission().GetHidden()
			g.Publishes = g.Publishes || p.GetIsPublisher() || len(p.GetTracks()) > 0
		case known != nil && !slices.Contains(known, p.GetIdentity()) && !slices.Contains(g.Strangers, p.GetIdentity()):
			g.Strangers = append(g.Strangers, p.GetIdentity())
		}
	}
	switch {
	case g.SeenAt != 0:
	case there:
		g.SeenAt = answered
	default:
		g.AbsentUntil = asked
	}
}
