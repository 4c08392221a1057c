package egress

import (
	"cmp"

	pegress "github.com/livekit/protocol/egress"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/rpc"

	"tapedeck/recorder"
)

// readUnified reads the second generation's one request.
func readUnified(req *rpc.StartEgressRequest, r *livekit.StartEgressRequest) (asked, error) {
	a := asked{options: r, webhooks: r.Webhooks}
	room := cmp.Or(r.RoomName, req.RoomName)
	var err error
	switch s := r.Source.(type) {
	case *livekit.StartEgressRequest_Template:
		a.Source = recorder.Source{RoomName: room, Layout: s.Template.GetLayout(), CustomBaseURL: s.Template.GetCustomBaseUrl()}
		a.audioOnly, a.videoOnly = s.Template.GetAudioOnly(), s.Template.GetVideoOnly()
		err = needRoom(a.Source)
	case *livekit.StartEgressRequest_Web:
		a.Source = recorder.Source{URL: s.Web.GetUrl(), AwaitStartSignal: s.Web.GetAwaitStartSignal()}
		a.audioOnly, a.videoOnly = s.Web.GetAudioOnly(), s.Web.GetVideoOnly()
		err = needURL(a.Source)
	case *livekit.StartEgressRequest_Media:
		a.RoomName = room
		if err = needRoom(a.Source); err == nil {
			err = readMedia(&a, s.Media)
		}
	default:
		err = invalid("source", "name what to record: template, web or media")
	}
	if err != nil {
		return a, err
	}
	for i, o := range r.Outputs {
		out, err := unifiedOutput(indexed("outputs", i), o, r.Storage)
		if err != nil {
			return a, err
		}
		a.outputs = append(a.outputs, out)
	}
	return a, nil
}

// unifiedOutput takes the output's own storage, else what its message names in
// the old way, else the request's.
func unifiedOutput(field string, o *livekit.Output, common *livekit.StorageConfig) (output, error) {
	out := output{field: field}
	var old pegress.UploadRequest
	switch c := o.GetConfig().(type) {
	case *livekit.Output_File:
		out.file = c.File
	case *livekit.Output_Stream:
		out.stream = c.Stream
	case *livekit.Output_Segments:
		out.segments, old = c.Segments, c.Segments
	case *livekit.Output_Images:
		out.images, old = c.Images, c.Images
	default:
		return out, invalid(field, "say what it is: file, stream, segments or images")
	}
	switch {
	case o.Storage != nil:
		out.storage = o.Storage
	case old != nil && namesStorage(old):
		out.storage = old
	default:
		out.storage = common
	}
	return out, nil
}

func namesStorage(u pegress.UploadRequest) bool {
	return u.GetS3() != nil || u.GetGcp() != nil || u.GetAzure() != nil || u.GetAliOSS() != nil
}

// readMedia reads which participant or which tracks of a room are recorded.
func readMedia(a *asked, m *livekit.MediaSource) error {
	switch v := m.GetVideo().(type) {
	case *livekit.MediaSource_VideoTrackId:
		if v.VideoTrackId == "" {
			return invalid("media.video_track_id", "name the track to record")
		}
		a.VideoTrackID = v.VideoTrackId
	case *livekit.MediaSource_ParticipantVideo:
		if v.ParticipantVideo.GetIdentity() == "" {
			return invalid("media.participant_video.identity", "name the participant to record")
		}
		a.Identity = v.ParticipantVideo.Identity
		if !v.ParticipantVideo.PreferScreenShare { // unset, a screen takes the stage when there is one
			a.ScreenShare = new(bool)
		}
	default:
		a.audioOnly = true
	}
	audio := m.GetAudio()
	if !audio.GetCaptureAll() && len(audio.GetRoutes()) == 0 {
		a.videoOnly = true
		if a.audioOnly {
			return invalid("media", "name a video or an audio source")
		}
		return nil
	}
	return readAudio(a, audio)
}

// readAudio takes the sound that goes with the picture, or any one source
// without a picture. What needs channels of its own or a mix of some is LiveKit's alone.
func readAudio(a *asked, audio *livekit.AudioConfig) error {
	const field = "media.audio"
	if audio.CaptureAll {
		if !a.audioOnly || len(audio.Routes) > 0 {
			return unimplemented(field+".capture_all", "the whole room is heard only without video and routes: "+
				"leave them out, or record the room with template")
		}
		return nil
	}
	if len(audio.Routes) > 1 {
		return unimplemented(field+".routes", "one source of sound is recorded: name one route")
	}
	route := audio.Routes[0]
	if route.GetChannel() != livekit.AudioChannel_AUDIO_CHANNEL_BOTH {
		return unimplemented(field+".routes[0].channel", "%s: sound goes to both channels: use AUDIO_CHANNEL_BOTH", route.Channel)
	}
	switch match := route.GetMatch().(type) {
	case *livekit.AudioRoute_TrackId:
		if a.Identity != "" {
			return unimplemented(field+".routes[0].track_id", "with participant_video it is that participant who is heard: "+
				"use participant_identity, or video_track_id for the picture")
		}
		if match.TrackId == "" {
			return invalid(field+".routes[0].track_id", "name the track to record")
		}
		a.AudioTrackID = match.TrackId
	case *livekit.AudioRoute_ParticipantIdentity:
		if match.ParticipantIdentity == "" {
			return invalid(field+".routes[0].participant_identity", "name the participant to record")
		}
		if a.VideoTrackID != "" || (a.Identity != "" && a.Identity != match.ParticipantIdentity) {
			return unimplemented(field+".routes[0].participant_identity", "picture and sound are one participant's: "+
				"name the same in participant_video, or give both as track ids")
		}
		a.Identity = match.ParticipantIdentity
	default:
		return unimplemented(field+".routes[0]", "participants are not chosen by kind: use track_id or participant_identity")
	}
	return nil
}
