package queue

import (
	"slices"

	"tapedeck/recorder"
)

// noteworthy reports whether a change is an event, rather than figures that
// grow: those are in the hash alone.
func noteworthy(a, b recorder.Recording) bool {
	return a.Status != b.Status || a.EndReason != b.EndReason || a.Part != b.Part || a.StartedAt != b.StartedAt || a.RoomID != b.RoomID ||
		(a.Diagnosis == nil) != (b.Diagnosis == nil) || errorTurned(a.Error, b.Error) ||
		!slices.Equal(a.Pauses, b.Pauses) || differ(a.Incidents, b.Incidents, incidentTurned) ||
		differ(a.Files, b.Files, fileTurned) || differ(a.Streams, b.Streams, streamTurned) ||
		differ(a.Segments, b.Segments, segmentsTurned) || differ(a.Images, b.Images, imagesTurned) ||
		differ(a.Earlier, b.Earlier, partTurned)
}

// differ reports whether any of a list turned into something else.
func differ[T any](a, b []T, turned func(a, b T) bool) bool {
	return !slices.EqualFunc(a, b, func(x, y T) bool { return !turned(x, y) })
}

func errorTurned(a, b *recorder.Error) bool {
	if a == nil || b == nil {
		return a != b
	}
	return a.Code != b.Code || a.Message != b.Message
}

func fileTurned(a, b recorder.FileResult) bool {
	return a.Filename != b.Filename || a.State != b.State || a.Error != b.Error || a.Location != b.Location ||
		a.ManifestLocation != b.ManifestLocation || a.Backup != b.Backup
}

func streamTurned(a, b recorder.StreamResult) bool {
	return a.ID != b.ID || a.State != b.State || a.Error != b.Error
}

func segmentsTurned(a, b recorder.SegmentsResult) bool {
	return a.PlaylistName != b.PlaylistName || a.LivePlaylistName != b.LivePlaylistName || a.PlaylistLocation != b.PlaylistLocation ||
		a.LivePlaylistLocation != b.LivePlaylistLocation || seriesTurned(a.Series, b.Series)
}

func imagesTurned(a, b recorder.ImagesResult) bool {
	return a.FilenamePrefix != b.FilenamePrefix || seriesTurned(a.Series, b.Series)
}

func seriesTurned(a, b recorder.Series) bool {
	return a.State != b.State || a.Error != b.Error || a.Backup != b.Backup
}

func partTurned(a, b recorder.Part) bool {
	return a.Part != b.Part || a.Worker != b.Worker || a.EndReason != b.EndReason || errorTurned(a.Error, b.Error) ||
		differ(a.Files, b.Files, fileTurned) || differ(a.Segments, b.Segments, segmentsTurned) || differ(a.Images, b.Images, imagesTurned)
}

func incidentTurned(a, b recorder.Incident) bool {
	return a.Reason != b.Reason || a.At != b.At || a.Text != b.Text || (a.Lost == 0) != (b.Lost == 0)
}
