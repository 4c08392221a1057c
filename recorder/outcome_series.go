package recorder

import (
	"bufio"
	"bytes"
	"cmp"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const nothingRecorded = "nothing was recorded"

// result is what the results of files, segments and images have in common.
type result struct {
	name  string
	state *FileState
	err   *string
}

// results gives every result that is delivered, to be read and changed in place:
// r is one that nobody else looks at.
func (r *Recording) results() []result { return resultsOf(r.Files, r.Segments, r.Images) }

func resultsOf(files []FileResult, segments []SegmentsResult, images []ImagesResult) []result {
	var all []result
	for i := range files {
		all = append(all, result{files[i].Filename, &files[i].State, &files[i].Error})
	}
	for i := range segments {
		all = append(all, result{segments[i].PlaylistName, &segments[i].State, &segments[i].Error})
	}
	for i := range images {
		all = append(all, result{images[i].FilenamePrefix, &images[i].State, &images[i].Error})
	}
	return all
}

// series gives the outputs of segments and images, with the names that the
// recording announced. The pipeline learns nothing of storages.
func (l *life) series() []Output {
	var outs []Output
	at := time.Unix(0, l.rec.CreatedAt)
	for i := range l.job.Segments {
		o := l.rec.SegmentsOf(l.job, i)
		o.Storage = Storage{}
		out := Output{ID: SegmentsDir(i), Kind: KindSegments, Dir: filepath.Join(l.task.Dir, SegmentsDir(i)), Segments: o}
		if i < len(l.task.Playlists) {
			out.Earlier = l.task.Playlists[i]
		}
		outs = append(outs, out)
	}
	for i, o := range l.job.Images {
		o = ResolveImages(l.job, o, at, l.rec.Part)
		o.Storage = Storage{}
		outs = append(outs, Output{
			ID: ImagesDir(i), Kind: KindImages, Dir: filepath.Join(l.task.Dir, ImagesDir(i)), Images: o, Before: l.rec.imagesBefore(i),
		})
	}
	return outs
}

// applySeries copies a snapshot's account of segments and images.
func (l *life) applySeries(snap Snapshot) {
	for _, out := range snap.Series {
		for i := range l.rec.Segments {
			if s := &l.rec.Segments[i]; out.ID == SegmentsDir(i) {
				s.SegmentCount, s.Duration = out.Files, int64(out.Duration)
				l.span(&s.Series, out)
			}
		}
		for i := range l.rec.Images {
			if s := &l.rec.Images[i]; out.ID == ImagesDir(i) {
				s.ImageCount = out.Files
				l.span(&s.Series, out)
			}
		}
	}
}

func (l *life) span(s *Series, out OutputSeries) {
	s.Size = out.Bytes
	if out.Err != nil {
		s.Error = l.scrub().Text(out.Err.Error())
	}
	if !out.StartedAt.IsZero() {
		s.StartedAt, s.EndedAt = out.StartedAt.UnixNano(), l.rec.endOf(out.StartedAt, out.Duration)
		l.rec.StartedAt = s.StartedAt
	}
}

// accountSeries says what the end left of segments and images. Many of their
// files may be delivered already.
func (l *life) accountSeries() {
	for i := range l.rec.Segments {
		l.rec.Segments[i].account(l.rec.Segments[i].SegmentCount)
	}
	for i := range l.rec.Images {
		l.rec.Images[i].account(l.rec.Images[i].ImageCount)
	}
}

func (s *Series) account(files int64) {
	s.State = FilePending
	if files == 0 {
		s.State, s.Error = FileEmpty, cmp.Or(s.Error, nothingRecorded)
	}
}

// salvageSeries accounts for the series that a recording which was cut off left in
// dir, and ends their playlists, so that players do not wait for more.
func (r *Recording) salvageSeries(dir string) {
	for i := range r.Segments {
		s := &r.Segments[i]
		if s.State == FileDelivered || s.State == FileRefused {
			continue
		}
		for _, name := range []string{s.LivePlaylistName, s.PlaylistName} {
			if name == "" {
				continue
			}
			list := endPlaylist(filepath.Join(dir, SegmentsDir(i), filepath.FromSlash(name)))
			if name == s.PlaylistName && list.segments > 0 {
				s.SegmentCount, s.Duration = list.segments, int64(list.duration)
			}
		}
		s.account(s.SegmentCount)
	}
	for i := range r.Images {
		s := &r.Images[i]
		if s.State == FileDelivered || s.State == FileRefused {
			continue
		}
		found := countFiles(filepath.Join(dir, ImagesDir(i)))
		// The first picture is the first frame; those that are delivered are gone from here.
		s.account(max(found, s.ImageCount, min(r.StartedAt, 1)))
		s.ImageCount = max(found, s.ImageCount)
	}
}

// listed is what a playlist names.
type listed struct {
	segments int64
	duration time.Duration
}

// endPlaylist appends the end that a playlist lacks, and answers what it names of
// its last part: nothing when it cannot be read.
func endPlaylist(path string) listed {
	var l listed
	text, err := os.ReadFile(path) //nolint:gosec // within the recording's own directory
	if err != nil {
		return l
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		if lines.Text() == tagCut {
			l = listed{} // so far it is what another part recorded
		}
		length, ok := strings.CutPrefix(lines.Text(), tagLength)
		if !ok {
			continue
		}
		length, _, _ = strings.Cut(length, ",")
		seconds, err := strconv.ParseFloat(length, 64)
		if err != nil {
			continue
		}
		l.segments++
		l.duration += time.Duration(math.Round(seconds * float64(time.Second)))
	}
	if bytes.HasSuffix(text, []byte(TagEnd)) {
		return l
	}
	// Whoever uploads it meanwhile must see the old or the new one.
	if os.WriteFile(path+PartSuffix, append(text, TagEnd...), 0o644) == nil { //nolint:gosec // media is for other users' eyes too
		_ = os.Rename(path+PartSuffix, path) // without an end it plays as well
	}
	return l
}

// countFiles counts the closed files below dir.
func countFiles(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() && !strings.HasSuffix(path, PartSuffix) {
			n++
		}
		return nil
	})
	return n
}
