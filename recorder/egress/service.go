package egress

import (
	"context"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/rpc"
	"github.com/livekit/protocol/utils"
	"github.com/livekit/protocol/utils/guid"
	"go.uber.org/zap"

	"tapedeck/recorder"
)

// Service is LiveKit's Egress API (livekit.Egress) in front of a Controller, for
// those who have no livekit-server. Any number of processes may serve it: all
// state is the Controller's. See Handler for its HTTP door. Its methods expect the
// grants of a request that came through Handler, and refuse any other.
type Service struct {
	Door
	Controller recorder.Controller
	// Keys are the API keys whose tokens are let in, and their secrets. The Door's
	// own key is always one.
	Keys map[string]string
	// RejectDuplicates refuses a second recording of a room with the same layout and
	// encoding. LiveKit does not, and has no field to ask for it.
	RejectDuplicates bool
	// Log may be nil.
	Log *zap.Logger
}

var _ livekit.Egress = (*Service)(nil)

// How long a request waits for what it asked for. Clients give up after 10 s.
const (
	askRoom  = 2 * time.Second        // for the room's sid
	settle   = 5 * time.Second        // for a command to be given and carried out
	lookEach = 100 * time.Millisecond // at the recording meanwhile
)

// StartEgress starts what the second generation's request asks for.
func (s *Service) StartEgress(ctx context.Context, r *livekit.StartEgressRequest) (*livekit.EgressInfo, error) {
	return s.start(ctx, &rpc.StartEgressRequest{Request: &rpc.StartEgressRequest_Egress{Egress: r}})
}

// StartRoomCompositeEgress records a room.
func (s *Service) StartRoomCompositeEgress(ctx context.Context, r *livekit.RoomCompositeEgressRequest) (*livekit.EgressInfo, error) {
	return s.start(ctx, &rpc.StartEgressRequest{Request: &rpc.StartEgressRequest_RoomComposite{RoomComposite: r}})
}

// StartWebEgress records a web page.
func (s *Service) StartWebEgress(ctx context.Context, r *livekit.WebEgressRequest) (*livekit.EgressInfo, error) {
	return s.start(ctx, &rpc.StartEgressRequest{Request: &rpc.StartEgressRequest_Web{Web: r}})
}

// StartParticipantEgress records one participant.
func (s *Service) StartParticipantEgress(ctx context.Context, r *livekit.ParticipantEgressRequest) (*livekit.EgressInfo, error) {
	return s.start(ctx, &rpc.StartEgressRequest{Request: &rpc.StartEgressRequest_Participant{Participant: r}})
}

// StartTrackCompositeEgress records an audio and a video track, or one of them.
func (s *Service) StartTrackCompositeEgress(ctx context.Context, r *livekit.TrackCompositeEgressRequest) (*livekit.EgressInfo, error) {
	return s.start(ctx, &rpc.StartEgressRequest{Request: &rpc.StartEgressRequest_TrackComposite{TrackComposite: r}})
}

// StartTrackEgress answers that it is not implemented.
func (s *Service) StartTrackEgress(ctx context.Context, r *livekit.TrackEgressRequest) (*livekit.EgressInfo, error) {
	return s.start(ctx, &rpc.StartEgressRequest{Request: &rpc.StartEgressRequest_Track{Track: r}})
}

func (s *Service) start(ctx context.Context, req *rpc.StartEgressRequest) (*livekit.EgressInfo, error) {
	if err := mayRecord(ctx); err != nil {
		return nil, err
	}
	req.EgressId = guid.New(utils.EgressPrefix)
	job, err := s.Job(req)
	if err != nil {
		return nil, twirpError(err)
	}
	job.RejectDuplicates = s.RejectDuplicates
	scrub := recorder.NewScrubber(job)
	if err := job.Validate(); err != nil {
		return nil, twirpError(scrub.Error(recorder.AsError(err, recorder.CodeInvalid)))
	}
	if job.RoomName != "" {
		job.RoomID = s.roomID(ctx, job.RoomName)
	}
	rec, err := s.Controller.Start(ctx, job)
	if err != nil {
		return nil, twirpError(scrub.Error(recorder.AsError(err, recorder.CodeInternal)))
	}
	return Info(rec), nil
}

// roomID is for {room_id} and the answer alone: no recording fails for want of it.
func (s *Service) roomID(ctx context.Context, roomName string) string {
	ctx, cancel := context.WithTimeout(ctx, askRoom)
	defer cancel()
	id, err := s.RoomID(ctx, roomName)
	if err != nil {
		s.log().Warn("the room's id is not known", zap.String("room", roomName), zap.String("error", recorder.ScrubText(err.Error())))
	}
	return id
}

func (s *Service) log() *zap.Logger {
	if s.Log == nil {
		return zap.NewNop()
	}
	return s.Log
}
