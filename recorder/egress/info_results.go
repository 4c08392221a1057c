package egress

import (
	"cmp"
	"math"

	"github.com/livekit/protocol/livekit"

	"tapedeck/recorder"
)

// setResults fills the results of every output, and the deprecated result that
// LiveKit Egress still fills for a job of one kind of output.
func setResults(info *livekit.EgressInfo, rec recorder.Recording) {
	for _, f := range allFiles(rec) {
		info.FileResults = append(info.FileResults, fileInfo(f))
	}
	for _, s := range rec.Streams {
		info.StreamResults = append(info.StreamResults, streamInfo(s))
	}
	for _, s := range allSegments(rec) {
		info.SegmentResults = append(info.SegmentResults, segmentsInfo(s))
	}
	for _, m := range allImages(rec) {
		info.ImageResults = append(info.ImageResults, &livekit.ImagesInfo{
			FilenamePrefix: m.FilenamePrefix, ImageCount: m.ImageCount, StartedAt: m.StartedAt, EndedAt: m.EndedAt,
		})
	}
	// The last part's manifests tell of the parts before it.
	note(info, rec.Files, rec.Segments, rec.Images)
	for _, p := range rec.Earlier {
		note(info, p.Files, p.Segments, p.Images)
	}
	files, streams, segments := len(rec.Files), len(rec.Streams), len(rec.Segments)
	switch {
	case len(rec.Images) > 0:
	case files == 1 && streams+segments == 0:
		info.Result = &livekit.EgressInfo_File{File: info.FileResults[0]} //nolint:staticcheck // older clients read it
	case streams > 0 && files+segments == 0:
		info.Result = &livekit.EgressInfo_Stream{Stream: &livekit.StreamInfoList{Info: info.StreamResults}} //nolint:staticcheck // older clients read it
	case segments == 1 && files+streams == 0:
		info.Result = &livekit.EgressInfo_Segments{Segments: info.SegmentResults[0]} //nolint:staticcheck // older clients read it
	}
}

// note keeps the first manifest's place, and whether any output is in a backup.
func note(info *livekit.EgressInfo, files []recorder.FileResult, segments []recorder.SegmentsResult, images []recorder.ImagesResult) {
	one := func(manifest string, backup bool) {
		info.ManifestLocation = cmp.Or(info.ManifestLocation, manifest)
		info.BackupStorageUsed = info.BackupStorageUsed || backup
	}
	for _, f := range files {
		one(f.ManifestLocation, f.Backup)
	}
	for _, s := range segments {
		one(s.ManifestLocation, s.Backup)
	}
	for _, m := range images {
		one(m.ManifestLocation, m.Backup)
	}
}

func fileInfo(f recorder.FileResult) *livekit.FileInfo {
	return &livekit.FileInfo{
		Filename: f.Filename, StartedAt: f.StartedAt, EndedAt: f.EndedAt, Duration: f.Duration, Size: f.Size, Location: f.Location,
	}
}

func streamInfo(s recorder.StreamResult) *livekit.StreamInfo {
	info := &livekit.StreamInfo{
		Url: s.URL, StartedAt: s.StartedAt, EndedAt: s.EndedAt, Duration: s.Duration,
		LastRetryAt: s.LastRetryAt, Retries: uint32(min(max(s.Retries, 0), math.MaxInt32)), Error: recorder.ScrubText(s.Error),
	}
	switch s.State {
	case recorder.StreamFinished:
		info.Status = livekit.StreamInfo_FINISHED
	case recorder.StreamFailed:
		info.Status = livekit.StreamInfo_FAILED
	default: // one that connects again is active to LiveKit, with an error while it does
		info.Status = livekit.StreamInfo_ACTIVE
	}
	return info
}

func segmentsInfo(s recorder.SegmentsResult) *livekit.SegmentsInfo {
	return &livekit.SegmentsInfo{
		PlaylistName: s.PlaylistName, LivePlaylistName: s.LivePlaylistName,
		PlaylistLocation: s.PlaylistLocation, LivePlaylistLocation: s.LivePlaylistLocation,
		SegmentCount: s.SegmentCount, Duration: s.Duration, Size: s.Size, StartedAt: s.StartedAt, EndedAt: s.EndedAt,
	}
}
