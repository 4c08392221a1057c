package recorder

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// What series may ask for.
const (
	shortestSegment, longestSegment = time.Second, time.Minute
	shortestCapture, longestCapture = time.Second, time.Hour
	smallestImage, largestImage     = 16, 3840
)

func (j Job) validateSeries(f *Faults, taken names) {
	if len(j.Segments) > MaxSeries {
		f.add("segment_outputs", len(j.Segments), "at most %d per job: remove some", MaxSeries)
	}
	if len(j.Images) > MaxSeries {
		f.add("image_outputs", len(j.Images), "at most %d per job: remove some", MaxSeries)
	}
	if j.AudioOnly && len(j.Images) > 0 {
		f.add("image_outputs", len(j.Images), "audio_only records no picture: drop it, or the images")
	}
	for i, out := range j.Segments {
		out.validate(f, fmt.Sprintf("segment_outputs[%d]", i), j, taken)
	}
	for i, out := range j.Images {
		out.validate(f, fmt.Sprintf("image_outputs[%d]", i), j, taken)
	}
}

func (o SegmentOutput) validate(f *Faults, field string, j Job, taken names) {
	validateFilepath(f, field+".filename_prefix", o.FilenamePrefix)
	validateFilepath(f, field+".playlist_name", o.PlaylistName)
	validateFilepath(f, field+".live_playlist_name", o.LivePlaylistName)
	validateSpan(f, field+".segment_duration", o.SegmentDuration, shortestSegment, longestSegment)
	validateSuffix(f, field+".filename_suffix", o.FilenameSuffix, SuffixIndex, SuffixTimestamp)
	o.Storage.validate(f, field)

	named := ResolveSegments(j, o, time.Time{}, 1)
	if dir, name := path.Split(o.LivePlaylistName); name == "" && dir != "" {
		f.add(field+".live_playlist_name", o.LivePlaylistName, "names a directory: name a playlist, or leave it out")
	} else if listDir, _ := path.Split(o.PlaylistName); dir != "" && dir != listDir && dir != path.Dir(named.PlaylistName)+"/" {
		f.add(field+".live_playlist_name", o.LivePlaylistName, "lies in another directory than the playlist: leave its directory out")
	}
	if named.LivePlaylistName == named.PlaylistName {
		f.add(field+".live_playlist_name", o.LivePlaylistName, "is the playlist's own name: give the live playlist another")
	} else if named.LivePlaylistName != "" {
		taken.take(f, field+".live_playlist_name", o.LivePlaylistName, named.LivePlaylistName)
	}
	taken.take(f, field+".playlist_name", o.PlaylistName, named.PlaylistName)
	taken.take(f, field+".filename_prefix", o.FilenamePrefix, named.FilenamePrefix+"_*"+ExtSegment)
}

func (o ImageOutput) validate(f *Faults, field string, j Job, taken names) {
	validateFilepath(f, field+".filename_prefix", o.FilenamePrefix)
	validateSpan(f, field+".capture_interval", o.CaptureInterval, shortestCapture, longestCapture)
	validateSuffix(f, field+".filename_suffix", o.FilenameSuffix, SuffixIndex, SuffixTimestamp, SuffixNone)
	between(f, field+".width", o.Width, smallestImage, largestImage, "pixels")
	between(f, field+".height", o.Height, smallestImage, largestImage, "pixels")
	o.Storage.validate(f, field)
	named := ResolveImages(j, o, time.Time{}, 1)
	o.validateRatio(f, field, named)
	taken.take(f, field+".filename_prefix", o.FilenamePrefix, named.FilenamePrefix+"*"+ExtImage)
}

// validateRatio looks at the side that follows from the one that is given.
func (o ImageOutput) validateRatio(f *Faults, field string, resolved ImageOutput) {
	fits := func(v int) bool { return v >= smallestImage && v <= largestImage }
	const remedy = "makes %dx%d of the recording's ratio, and sides have %d to %d pixels: use another, or give width and height"
	switch {
	case o.Height == 0 && fits(o.Width) && !fits(resolved.Height):
		f.add(field+".width", o.Width, remedy, resolved.Width, resolved.Height, smallestImage, largestImage)
	case o.Width == 0 && fits(o.Height) && !fits(resolved.Width):
		f.add(field+".height", o.Height, remedy, resolved.Width, resolved.Height, smallestImage, largestImage)
	}
}

func validateSpan(f *Faults, field string, d Duration, shortest, longest time.Duration) {
	if d != 0 && (d.Std() < shortest || d.Std() > longest) {
		f.add(field, d, "use %s to %s", shortest, longest)
	}
}

func validateSuffix(f *Faults, field string, s Suffix, allowed ...Suffix) {
	if s == "" || slices.Contains(allowed, s) {
		return
	}
	texts := make([]string, len(allowed))
	for i, a := range allowed {
		texts[i] = string(a)
	}
	f.add(field, string(s), "use %s", strings.Join(texts, " or "))
}
