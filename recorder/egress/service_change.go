package egress

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/livekit/protocol/livekit"
	"github.com/twitchtv/twirp"

	"tapedeck/recorder"
)

// StopEgress ends a recording and answers as soon as it is ending; the files'
// sizes and places come with its end. One that is ending already is no error.
func (s *Service) StopEgress(ctx context.Context, r *livekit.StopEgressRequest) (*livekit.EgressInfo, error) {
	rec, err := s.running(ctx, r.EgressId, stopped)
	if err != nil {
		return nil, err
	}
	if rec.Status == recorder.StatusEnding {
		return Info(rec), nil
	}
	return s.stop(ctx, rec)
}

func (s *Service) stop(ctx context.Context, rec recorder.Recording) (*livekit.EgressInfo, error) {
	if err := s.Controller.Stop(ctx, rec.ID, recorder.EndStopped); err != nil {
		return nil, s.overtaken(ctx, rec, stopped, err)
	}
	rec, err := s.await(ctx, rec, func(now recorder.Recording) bool {
		return now.Status == recorder.StatusEnding || now.Status.Ended()
	})
	if err != nil {
		return nil, twirpError(err)
	}
	if rec.Status == recorder.StatusActive { // the stop is stored, and nothing takes it back
		rec.Status = recorder.StatusEnding
	}
	return Info(rec), nil
}

// running gives a recording that can still be stopped or updated.
func (s *Service) running(ctx context.Context, id, verb string) (recorder.Recording, error) {
	if err := mayRecord(ctx); err != nil {
		return recorder.Recording{}, err
	}
	rec, err := s.find(ctx, id)
	if err != nil {
		return rec, twirpError(err)
	}
	if rec.Status.Ended() || (rec.Status == recorder.StatusEnding && verb != stopped) {
		return rec, ended(rec, verb)
	}
	return rec, nil
}

// What is done to an egress.
const (
	stopped = "stopped"
	updated = "updated"
)

// ended is what livekit-server says of an egress that nothing can be done with.
func ended(rec recorder.Recording, verb string) twirp.Error {
	return twirp.NewError(twirp.FailedPrecondition, fmt.Sprintf("egress with status %s cannot be %s", statusOf(rec), verb))
}

// overtaken says why a command was refused: the recording may have ended since.
func (s *Service) overtaken(ctx context.Context, rec recorder.Recording, verb string, err error) twirp.Error {
	if errors.Is(err, recorder.ErrConflict) {
		if now, again := s.find(ctx, rec.ID); again == nil {
			rec = now
		}
		return ended(rec, verb)
	}
	if errors.Is(err, recorder.ErrNotFound) {
		return twirp.NewError(twirp.NotFound, "egress does not exist")
	}
	return twirpError(err)
}

// UpdateLayout changes the layout of a room's template page.
func (s *Service) UpdateLayout(ctx context.Context, r *livekit.UpdateLayoutRequest) (*livekit.EgressInfo, error) {
	rec, err := s.running(ctx, r.EgressId, updated)
	if err != nil {
		return nil, err
	}
	if err := checkLayout(rec, r.Layout); err != nil {
		return nil, twirpError(err)
	}
	return s.change(ctx, rec, recorder.Update{Layout: r.Layout})
}

// change sends an update, and answers when the recording shows it. One that has
// not begun is changed when it begins.
func (s *Service) change(ctx context.Context, rec recorder.Recording, u recorder.Update) (*livekit.EgressInfo, error) {
	if err := s.Controller.Update(ctx, rec.ID, u); err != nil {
		return nil, s.overtaken(ctx, rec, updated, err)
	}
	if rec.Status != recorder.StatusActive {
		return Info(rec), nil
	}
	now, err := s.await(ctx, rec, func(now recorder.Recording) bool {
		return now.Status != recorder.StatusActive || shows(rec, now, u)
	})
	switch {
	case err != nil:
		return nil, twirpError(err)
	case now.Status == recorder.StatusActive && !shows(rec, now, u):
		return nil, twirp.NewError(twirp.DeadlineExceeded, "the recording has not changed in time: the worker's log says why, if it cannot")
	}
	return Info(now), nil
}

// checkLayout refuses at once what the worker would refuse.
func checkLayout(rec recorder.Recording, layout string) error {
	if rec.RoomName == "" {
		return invalid("layout", "the egress records a web page, and only the template page of a room has layouts")
	}
	job := recorder.Job{Source: recorder.Source{RoomName: rec.RoomName, Layout: layout, CustomBaseURL: rec.URL}}
	if Info(rec).SourceType == livekit.EgressSourceType_EGRESS_SOURCE_TYPE_SDK {
		job.Identity = "somebody"
	}
	var faults recorder.Faults
	if errors.As(job.Validate(), &faults) {
		for _, f := range faults {
			if f.Field == "layout" {
				return recorder.Faults{f}
			}
		}
	}
	return nil
}

// UpdateStream adds and removes ingest URLs. Removing the last output ends the
// egress, as it does in LiveKit.
func (s *Service) UpdateStream(ctx context.Context, r *livekit.UpdateStreamRequest) (*livekit.EgressInfo, error) {
	rec, err := s.running(ctx, r.EgressId, updated)
	if err != nil {
		return nil, err
	}
	update := recorder.Update{AddStreamURLs: plainURLs(r.AddOutputUrls), RemoveStreamURLs: plainURLs(r.RemoveOutputUrls)}
	if err := recorder.ValidateUpdate(update); err != nil {
		return nil, twirpError(err)
	}
	left, err := leftOf(rec, update)
	switch {
	case err != nil:
		return nil, twirpError(err)
	case len(left) == 0 && len(rec.Files)+len(rec.Segments)+len(rec.Images) == 0:
		return s.stop(ctx, rec)
	}
	return s.change(ctx, rec, update)
}

// plainURLs drops librtmp's word for what every stream here is.
func plainURLs(urls []string) []string {
	var plain []string
	for _, u := range urls {
		plain = append(plain, strings.TrimSuffix(u, " live=1"))
	}
	return plain
}

// leftOf gives the ids of the streams there are after an update.
func leftOf(rec recorder.Recording, u recorder.Update) ([]string, error) {
	left := live(rec)
	for _, raw := range u.RemoveStreamURLs {
		i := slices.IndexFunc(left, func(id string) bool { return id == raw || id == recorder.StreamID(raw) })
		if i < 0 && rec.Status != recorder.StatusActive {
			continue // it may be among what waits to be added
		}
		if i < 0 {
			return nil, recorder.Errorf(recorder.CodeNotFound, "stream %s not found", recorder.RedactStreamURL(raw))
		}
		left = slices.Delete(left, i, i+1)
	}
	for _, raw := range u.AddStreamURLs {
		if id := recorder.StreamID(raw); !slices.Contains(left, id) {
			left = append(left, id)
		}
	}
	if len(left) > recorder.MaxStreamURLs {
		return nil, invalid("add_output_urls", "the egress would have %d streams, and may have %d: remove some", len(left), recorder.MaxStreamURLs)
	}
	return left, nil
}

func live(rec recorder.Recording) []string {
	var ids []string
	for _, s := range rec.Streams {
		if s.State != recorder.StreamFinished && s.State != recorder.StreamFailed {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// carriedOut reports whether an update is seen in the recording.
func carriedOut(rec recorder.Recording, u recorder.Update) bool {
	for _, raw := range u.AddStreamURLs {
		id := recorder.StreamID(raw)
		if !slices.ContainsFunc(rec.Streams, func(s recorder.StreamResult) bool { return s.ID == id }) {
			return false
		}
	}
	left := live(rec)
	return !slices.ContainsFunc(u.RemoveStreamURLs, func(raw string) bool {
		return slices.Contains(left, raw) || slices.Contains(left, recorder.StreamID(raw))
	})
}
