package egress

import (
	"context"

	"github.com/livekit/protocol/livekit"

	"tapedeck/recorder"
)

// StopEgress ends a recording and answers as soon as it is ending; the files'
// sizes and places come with its end. One that is ending already is no error.
func (s *Service) StopEgress(ctx context.Context, r *livekit.StopEgressRequest) (*livekit.EgressInfo, error) {
	return s.change(ctx, func(ctx context.Context, c changer) (recorder.Recording, error) {
		return c.stop(ctx, r.EgressId)
	})
}

// UpdateLayout changes the layout of a room's template page.
func (s *Service) UpdateLayout(ctx context.Context, r *livekit.UpdateLayoutRequest) (*livekit.EgressInfo, error) {
	return s.change(ctx, func(ctx context.Context, c changer) (recorder.Recording, error) {
		return c.update(ctx, r.EgressId, recorder.Update{Layout: r.Layout})
	})
}

// UpdateStream adds and removes ingest URLs. Removing the last output ends the
// egress, as it does in LiveKit.
func (s *Service) UpdateStream(ctx context.Context, r *livekit.UpdateStreamRequest) (*livekit.EgressInfo, error) {
	return s.change(ctx, func(ctx context.Context, c changer) (recorder.Recording, error) {
		return c.update(ctx, r.EgressId, recorder.Update{
			AddStreamURLs: plainURLs(r.AddOutputUrls), RemoveStreamURLs: plainURLs(r.RemoveOutputUrls),
		})
	})
}

func (s *Service) change(ctx context.Context, how func(context.Context, changer) (recorder.Recording, error)) (*livekit.EgressInfo, error) {
	if err := mayRecord(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	rec, err := how(ctx, changer{controller: s.Controller, order: s.order, each: lookEach})
	if err != nil {
		return nil, twirpError(err)
	}
	return Info(rec), nil
}

func (s *Service) order(ctx context.Context, id string) error {
	return s.Controller.Stop(ctx, id, recorder.EndStopped)
}
