package egress

import (
	"fmt"
	"slices"
	"strings"

	"tapedeck/recorder"
)

// LiveKit knows no parts: a recording that went on after a loss is one egress, with the
// results of all its parts.

// asBegun gives the recording with the outputs that its first part had: those that were
// asked for, and announced.
func asBegun(rec recorder.Recording) recorder.Recording {
	if len(rec.Earlier) > 0 {
		first := rec.Earlier[0]
		rec.Files, rec.Segments, rec.Images, rec.StartedAt = first.Files, first.Segments, first.Images, first.StartedAt
	}
	return rec
}

// allFiles gives the files of all parts in the order they were recorded.
func allFiles(rec recorder.Recording) []recorder.FileResult {
	var all []recorder.FileResult
	for _, p := range rec.Earlier {
		all = append(all, p.Files...)
	}
	return append(all, rec.Files...)
}

// allSegments gives the playlists of all parts in that order: one that a later part went
// on in is told once, with what all its parts recorded.
func allSegments(rec recorder.Recording) []recorder.SegmentsResult {
	var all []recorder.SegmentsResult
	carried := map[int]recorder.SegmentsResult{} // into the next part, by output
	add := func(results []recorder.SegmentsResult, last bool) {
		for i, s := range results {
			if before, ok := carried[i]; ok {
				delete(carried, i)
				s.SegmentCount, s.Duration = s.SegmentCount+before.SegmentCount, s.Duration+before.Duration
				s.Series = together(before.Series, s.Series)
			}
			if s.Continued && !last {
				carried[i] = s
				continue
			}
			all = append(all, s)
		}
	}
	for _, p := range rec.Earlier {
		add(p.Segments, false)
	}
	add(rec.Segments, true)
	return all
}

// allImages gives the images of all parts in that order: those that go on under one
// prefix are told once.
func allImages(rec recorder.Recording) []recorder.ImagesResult {
	var all []recorder.ImagesResult
	add := func(results []recorder.ImagesResult) {
		known := len(all)
		for _, m := range results {
			i := slices.IndexFunc(all[:known], func(b recorder.ImagesResult) bool { return b.FilenamePrefix == m.FilenamePrefix })
			if i < 0 {
				all = append(all, m)
				continue
			}
			all[i].ImageCount += m.ImageCount
			all[i].Series = together(all[i].Series, m.Series)
		}
	}
	for _, p := range rec.Earlier {
		add(p.Images)
	}
	add(rec.Images)
	return all
}

// together is the account of a series that b goes on with after a.
func together(a, b recorder.Series) recorder.Series {
	b.Size += a.Size
	if a.StartedAt != 0 {
		b.StartedAt = a.StartedAt
	}
	b.EndedAt = max(a.EndedAt, b.EndedAt)
	b.Backup = b.Backup || a.Backup
	if b.ManifestLocation == "" {
		b.ManifestLocation = a.ManifestLocation
	}
	return b
}

// incidents says what a recording lived through; "" for nothing.
func incidents(rec recorder.Recording) string {
	var reasons []recorder.EndReason
	times := map[recorder.EndReason]int{}
	for _, i := range rec.Incidents {
		if times[i.Reason]++; times[i.Reason] == 1 {
			reasons = append(reasons, i.Reason)
		}
	}
	if len(reasons) == 0 {
		return ""
	}
	words := make([]string, 0, len(reasons))
	for _, r := range reasons {
		word := string(r)
		if n := times[r]; n > 1 {
			word = fmt.Sprintf("%s (%d)", r, n)
		}
		words = append(words, word)
	}
	what := "incidents"
	if len(rec.Incidents) == 1 {
		what = "incident"
	}
	return fmt.Sprintf("%d %s: %s", len(rec.Incidents), what, strings.Join(words, ", "))
}
