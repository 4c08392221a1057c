package egress

import (
	"cmp"
	"slices"
	"strings"

	pegress "github.com/livekit/protocol/egress"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/rpc"
	"github.com/livekit/protocol/webhook"
	"google.golang.org/protobuf/proto"

	"tapedeck/recorder"
)

// Job is what a LiveKit egress request asks for, in either generation of the API.
// The answer is not validated: whoever starts or places it does that. Its ID is
// the request's EgressId. CodeInvalid names LiveKit's field; CodeUnimplemented is
// for what LiveKit Egress does and Tapedeck does not. No error holds a secret.
func (d Door) Job(req *rpc.StartEgressRequest) (recorder.Job, error) { return d.job(req, "") }

// job is Job; via is viaServer or nothing.
func (d Door) job(req *rpc.StartEgressRequest, via string) (recorder.Job, error) {
	req, err := cleanCopy(req)
	if err != nil {
		return recorder.Job{}, err
	}
	asked, err := readRequest(req)
	if err != nil {
		return recorder.Job{}, err
	}
	job := recorder.Job{
		ID: req.EgressId, Source: asked.Source, AudioOnly: asked.audioOnly, VideoOnly: asked.videoOnly,
		Webhooks: webhooks(asked.webhooks),
	}
	if job.RoomName != "" {
		job.RoomID, job.Token, job.LiveKitURL = req.RoomId, req.Token, req.WsUrl
	}
	if job.Encoding, err = encoding(asked.options); err != nil {
		return recorder.Job{}, err
	}
	if err := addOutputs(&job, asked); err != nil {
		return recorder.Job{}, err
	}
	job.Origin, err = originOf(req, via)
	return job, err
}

// asked is what the kinds of request have in common.
type asked struct {
	recorder.Source
	audioOnly, videoOnly bool
	options              encodingOptions
	outputs              []output
	webhooks             []*livekit.WebhookConfig
}

// cleanCopy is req as it would arrive over the wire: without nils in lists and
// oneofs, and nobody else's to change.
func cleanCopy(req *rpc.StartEgressRequest) (*rpc.StartEgressRequest, error) {
	data, err := proto.Marshal(req)
	if err != nil {
		return nil, recorder.Errorf(recorder.CodeInvalid, "request: a text in it is no UTF-8: send valid text")
	}
	clean := &rpc.StartEgressRequest{}
	if err := proto.Unmarshal(data, clean); err != nil {
		return nil, recorder.Errorf(recorder.CodeInvalid, "request: it is no valid message: send what an SDK sends")
	}
	return clean, nil
}

func readRequest(req *rpc.StartEgressRequest) (asked, error) {
	var a asked
	var err error
	switch r := req.Request.(type) {
	case *rpc.StartEgressRequest_RoomComposite:
		a, err = readRoomComposite(req, r.RoomComposite)
	case *rpc.StartEgressRequest_Web:
		a, err = readWeb(r.Web)
	case *rpc.StartEgressRequest_Participant:
		a, err = readParticipant(req, r.Participant)
	case *rpc.StartEgressRequest_TrackComposite:
		a, err = readTrackComposite(req, r.TrackComposite)
	case *rpc.StartEgressRequest_Egress:
		a, err = readUnified(req, r.Egress)
	case *rpc.StartEgressRequest_Track:
		return a, unimplemented("track", "files of a single track as it was sent are not made here: "+
			"use StartTrackCompositeEgress with the track's id, which encodes it")
	case *rpc.StartEgressRequest_Replay:
		return a, unimplemented("replay", "there are no replays here: record the room with StartRoomCompositeEgress")
	default:
		return a, invalid("request", "name what to record: a room, a web page, a participant or tracks")
	}
	if err == nil && len(a.outputs) == 0 {
		err = invalid("output", "name an output: a file, a stream, segments or images")
	}
	return a, err
}

func readRoomComposite(req *rpc.StartEgressRequest, r *livekit.RoomCompositeEgressRequest) (asked, error) {
	a := asked{
		Source:    recorder.Source{RoomName: cmp.Or(r.RoomName, req.RoomName), Layout: r.Layout, CustomBaseURL: r.CustomBaseUrl},
		audioOnly: r.AudioOnly, videoOnly: r.VideoOnly, options: r, outputs: outputsOf(r), webhooks: r.Webhooks,
	}
	if r.AudioMixing != livekit.AudioMixing_DEFAULT_MIXING {
		return a, unimplemented("audio_mixing", "%s: all voices are mixed into both channels here: use DEFAULT_MIXING", r.AudioMixing)
	}
	return a, needRoom(a.Source)
}

func readWeb(r *livekit.WebEgressRequest) (asked, error) {
	a := asked{
		Source:    recorder.Source{URL: r.Url, AwaitStartSignal: r.AwaitStartSignal},
		audioOnly: r.AudioOnly, videoOnly: r.VideoOnly, options: r, outputs: outputsOf(r), webhooks: r.Webhooks,
	}
	return a, needURL(a.Source)
}

func readParticipant(req *rpc.StartEgressRequest, r *livekit.ParticipantEgressRequest) (asked, error) {
	screen := r.ScreenShare
	a := asked{
		Source:  recorder.Source{RoomName: cmp.Or(r.RoomName, req.RoomName), Identity: r.Identity, ScreenShare: &screen},
		options: r, outputs: outputsOf(r), webhooks: r.Webhooks,
	}
	if r.Identity == "" {
		return a, invalid("identity", "name the participant to record")
	}
	return a, needRoom(a.Source)
}

func readTrackComposite(req *rpc.StartEgressRequest, r *livekit.TrackCompositeEgressRequest) (asked, error) {
	a := asked{
		Source:    recorder.Source{RoomName: cmp.Or(r.RoomName, req.RoomName), AudioTrackID: r.AudioTrackId, VideoTrackID: r.VideoTrackId},
		audioOnly: r.VideoTrackId == "", videoOnly: r.AudioTrackId == "",
		options: r, outputs: outputsOf(r), webhooks: r.Webhooks,
	}
	if r.AudioTrackId == "" && r.VideoTrackId == "" {
		return a, invalid("audio_track_id or video_track_id", "name the tracks to record: one of each, or one")
	}
	return a, needRoom(a.Source)
}

func needRoom(s recorder.Source) error {
	if s.RoomName == "" {
		return invalid("room_name", "name the room to record")
	}
	return nil
}

func needURL(s recorder.Source) error {
	if s.URL == "" {
		return invalid("url", "name the web page to record")
	}
	return nil
}

// webhooks maps receivers. One that filters out every event of an egress is none.
func webhooks(configs []*livekit.WebhookConfig) []recorder.Webhook {
	var hooks []recorder.Webhook
	for _, c := range configs {
		events, some := eventsOf(c.FilterParams)
		if some {
			hooks = append(hooks, recorder.Webhook{URL: c.Url, Key: c.SigningKey, Events: events})
		}
	}
	return hooks
}

// eventsOf reads a filter as LiveKit does: what is included counts before what is
// excluded. Empty is all of them.
func eventsOf(f *livekit.FilterParams) (events string, some bool) {
	all := []string{webhook.EventEgressStarted, webhook.EventEgressUpdated, webhook.EventEgressEnded}
	told := slices.DeleteFunc(slices.Clone(all), func(e string) bool {
		if len(f.GetIncludeEvents()) > 0 {
			return !slices.Contains(f.IncludeEvents, e)
		}
		return slices.Contains(f.GetExcludeEvents(), e)
	})
	if len(told) == len(all) {
		return "", true
	}
	return strings.Join(told, ","), len(told) > 0
}

// outputsOf lists the outputs of a request of the first generation: the lists,
// and for each that is empty the deprecated single output.
func outputsOf(r pegress.EncodedOutput) []output {
	var all []output
	for i, f := range r.GetFileOutputs() {
		all = append(all, fileOutput(indexed("file_outputs", i), f))
	}
	for i, s := range r.GetStreamOutputs() {
		all = append(all, output{field: indexed("stream_outputs", i), stream: s})
	}
	for i, s := range r.GetSegmentOutputs() {
		all = append(all, output{field: indexed("segment_outputs", i), segments: s, storage: s})
	}
	old, ok := r.(pegress.EncodedOutputDeprecated)
	if !ok {
		return append(all, imagesOf(r)...)
	}
	if f := old.GetFile(); f != nil && len(r.GetFileOutputs()) == 0 {
		all = append(all, fileOutput("file", f))
	}
	if s := old.GetStream(); s != nil && len(r.GetStreamOutputs()) == 0 {
		all = append(all, output{field: "stream", stream: s})
	}
	if s := old.GetSegments(); s != nil && len(r.GetSegmentOutputs()) == 0 {
		all = append(all, output{field: "segments", segments: s, storage: s})
	}
	return append(all, imagesOf(r)...)
}

func imagesOf(r pegress.EncodedOutput) []output {
	var all []output
	for i, m := range r.GetImageOutputs() {
		all = append(all, output{field: indexed("image_outputs", i), images: m, storage: m})
	}
	return all
}

func fileOutput(field string, f *livekit.EncodedFileOutput) output {
	return output{field: field, storage: f, file: &livekit.FileOutput{
		FileType: f.FileType, Filepath: f.Filepath, DisableManifest: f.DisableManifest,
	}}
}

func invalid(field, remedy string, args ...any) error {
	return refuse(recorder.CodeInvalid, field, remedy, args)
}

func unimplemented(field, remedy string, args ...any) error {
	return refuse(recorder.CodeUnimplemented, field, remedy, args)
}

// refuse quotes no more of a client's text than helps.
func refuse(code recorder.Code, field, remedy string, args []any) error {
	const longest = 120
	for i, a := range args {
		if s, ok := a.(string); ok && len(s) > longest {
			args[i] = strings.ToValidUTF8(s[:longest], "") + "…"
		}
	}
	return recorder.Errorf(code, field+": "+remedy, args...)
}
