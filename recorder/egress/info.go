package egress

import (
	"cmp"

	"github.com/livekit/protocol/livekit"

	"tapedeck/recorder"
)

// Info is a recording as LiveKit's clients know it. It holds what the recording
// holds, and so no secret: the request comes from Recording.Origin, or is made
// up from the recording when the job came through another door.
func Info(rec recorder.Recording) *livekit.EgressInfo {
	info := &livekit.EgressInfo{
		EgressId: rec.ID, RoomId: rec.RoomID, RoomName: rec.RoomName,
		StartedAt: asBegun(rec).StartedAt, UpdatedAt: rec.UpdatedAt,
		RetryCount: int32(min(max(rec.Attempt-1, 0), 1<<20)),
	}
	if !setRequest(info, rec.Origin) {
		madeUpRequest(info, asBegun(rec))
	}
	setStatus(info, rec)
	if rec.Status.Ended() {
		// An end is what livekit-server keeps a finished egress by: never 0 then, and
		// never anything else before.
		info.EndedAt = cmp.Or(rec.EndedAt, rec.UpdatedAt, rec.CreatedAt)
	}
	setResults(info, rec)
	return info
}

// madeUpRequest is the nearest request of LiveKit's API.
func madeUpRequest(info *livekit.EgressInfo, rec recorder.Recording) {
	info.SourceType = livekit.EgressSourceType_EGRESS_SOURCE_TYPE_WEB
	var files []*livekit.EncodedFileOutput
	for _, f := range rec.Files {
		files = append(files, &livekit.EncodedFileOutput{Filepath: f.Filename})
	}
	var streams []*livekit.StreamOutput
	if len(rec.Streams) > 0 {
		all := &livekit.StreamOutput{}
		for _, s := range rec.Streams {
			all.Urls = append(all.Urls, s.URL)
		}
		streams = append(streams, all)
	}
	var segments []*livekit.SegmentedFileOutput
	for _, s := range rec.Segments {
		segments = append(segments, &livekit.SegmentedFileOutput{PlaylistName: s.PlaylistName, LivePlaylistName: s.LivePlaylistName})
	}
	var images []*livekit.ImageOutput
	for _, m := range rec.Images {
		images = append(images, &livekit.ImageOutput{FilenamePrefix: m.FilenamePrefix})
	}
	if rec.RoomName == "" {
		info.Request = &livekit.EgressInfo_Web{Web: &livekit.WebEgressRequest{
			Url: rec.URL, FileOutputs: files, StreamOutputs: streams, SegmentOutputs: segments, ImageOutputs: images,
		}}
		return
	}
	info.Request = &livekit.EgressInfo_RoomComposite{RoomComposite: &livekit.RoomCompositeEgressRequest{
		RoomName: rec.RoomName, Layout: rec.Layout, CustomBaseUrl: rec.URL,
		FileOutputs: files, StreamOutputs: streams, SegmentOutputs: segments, ImageOutputs: images,
	}}
}
