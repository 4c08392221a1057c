package queue

import "tapedeck/recorder"

// scrubResults gives a recording whose results quote nothing that text would hide.
func scrubResults(rec recorder.Recording, text func(string) string) recorder.Recording {
	rec = rec.Clone()
	rec.Error = scrubError(rec.Error, text)
	scrubFiles(rec.Files, text)
	scrubSegments(rec.Segments, text)
	scrubImages(rec.Images, text)
	for i := range rec.Streams {
		rec.Streams[i].Error = text(rec.Streams[i].Error)
	}
	for i := range rec.Earlier {
		p := &rec.Earlier[i]
		p.Error = scrubError(p.Error, text)
		scrubFiles(p.Files, text)
		scrubSegments(p.Segments, text)
		scrubImages(p.Images, text)
	}
	for i := range rec.Incidents {
		rec.Incidents[i].Text = text(rec.Incidents[i].Text)
	}
	return rec
}

func scrubError(err *recorder.Error, text func(string) string) *recorder.Error {
	if err == nil {
		return nil
	}
	return &recorder.Error{Code: err.Code, Message: text(err.Message)}
}

func scrubFiles(files []recorder.FileResult, text func(string) string) {
	for i := range files {
		f := &files[i]
		f.Error, f.Location, f.ManifestLocation = text(f.Error), text(f.Location), text(f.ManifestLocation)
	}
}

func scrubSegments(segments []recorder.SegmentsResult, text func(string) string) {
	for i := range segments {
		s := &segments[i]
		s.Error, s.PlaylistLocation, s.ManifestLocation = text(s.Error), text(s.PlaylistLocation), text(s.ManifestLocation)
		s.LivePlaylistLocation = text(s.LivePlaylistLocation)
	}
}

func scrubImages(images []recorder.ImagesResult, text func(string) string) {
	for i := range images {
		images[i].Error, images[i].ManifestLocation = text(images[i].Error), text(images[i].ManifestLocation)
	}
}
