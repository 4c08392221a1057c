package pipeline

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"tapedeck/recorder"
)

const (
	// lateKey is how far the sound may pass the time of a cut before the segment is
	// closed without waiting for the picture: it has a gap there, up to a key frame, for
	// the playlists promise that every segment can be decoded by itself.
	lateKey = 400 * time.Millisecond
	// gapBetween is from when on a hole between two segments is not part of the first.
	gapBetween = 500 * time.Millisecond
)

// segmenter cuts interleaved frames at the multiples of the segment duration,
// where the encoder was told to make key frames. Other key frames cut nothing. It
// belongs to one goroutine.
type segmenter struct {
	out   *segmentOutput
	ts    *tsWriter
	list  *playlist
	aim   time.Duration
	slack time.Duration // half a frame: see rhythm

	file       *os.File
	buf        *bufio.Writer
	name       string
	begin, end time.Duration // of the open segment
	cut        time.Duration // where it is to end
	listed     time.Duration // media time that the playlist has
	keyless    bool          // the open segment has no key frame yet
}

func newSegmenter(out *segmentOutput) *segmenter {
	return &segmenter{
		out: out, ts: out.ts, list: newPlaylist(out.dir, out.spec, out.earlier), aim: out.spec.Aim(),
		slack: halfFrame(out.fps), buf: bufio.NewWriterSize(nil, 64<<10),
	}
}

// take writes a frame, to the next segment where one begins.
func (s *segmenter) take(f frame) error {
	switch {
	case s.file == nil:
		if err := s.open(f); err != nil {
			return err
		}
	case s.begins(f):
		end := f.pts
		if end-s.end > gapBetween {
			end = s.end
		}
		if err := s.close(end, false); err != nil {
			return err
		}
		if err := s.open(f); err != nil {
			return err
		}
	}
	if s.keyless && f.codec.video() {
		if !f.key {
			return nil // needs the segment before, which the sound has cut: see lateKey
		}
		s.keyless = false
	}
	s.end = max(s.end, f.pts+f.duration)
	if err := s.ts.write(f); err != nil {
		return s.failure(err)
	}
	return nil
}

// begins reports whether a segment begins with f.
func (s *segmenter) begins(f frame) bool {
	switch {
	case f.codec.video():
		return f.key && (f.resumes || f.pts+s.slack >= s.cut) // after a pause the wall clock is another
	case !s.ts.video:
		return f.pts+f.duration/2 >= s.cut
	default:
		return f.pts >= s.cut+max(lateKey, 2*s.slack)
	}
}

func (s *segmenter) open(f frame) error {
	suffix := fmt.Sprintf("%05d", s.list.count)
	if s.out.spec.FilenameSuffix == recorder.SuffixTimestamp {
		suffix = recorder.Timestamp(s.out.wall(f.pts))
	}
	s.name = s.out.spec.FilenamePrefix + "_" + suffix + recorder.ExtSegment
	path := s.path()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // media is for other users' eyes too
		return s.failure(err)
	}
	file, err := os.Create(path + recorder.PartSuffix) //nolint:gosec // as above
	if err != nil {
		return s.failure(err)
	}
	s.file = file
	s.buf.Reset(file)
	s.begin, s.end, s.keyless = f.pts, f.pts, s.ts.video
	s.cut = ((f.pts+s.slack)/s.aim + 1) * s.aim
	if err := s.ts.begin(s.buf, f); err != nil {
		return s.failure(err)
	}
	return nil
}

func (s *segmenter) path() string { return filepath.Join(s.out.dir, filepath.FromSlash(s.name)) }

// close gives the open segment its name, and the playlists the segment.
func (s *segmenter) close(end time.Duration, last bool) error {
	if err := s.ts.flush(); err != nil {
		return s.failure(err)
	}
	if err := s.buf.Flush(); err != nil {
		return s.failure(err)
	}
	info, err := s.file.Stat()
	if err != nil {
		return s.failure(err)
	}
	err = s.file.Close()
	s.file = nil
	if err != nil {
		return s.failure(err)
	}
	if err := os.Rename(s.path()+recorder.PartSuffix, s.path()); err != nil {
		return s.failure(err)
	}
	s.list.add(s.name, s.begin, end, s.out.wall(s.begin))
	s.listed += end - s.begin
	if err := s.list.write(last); err != nil {
		return err
	}
	s.out.closed(info.Size(), s.listed)
	return nil
}

// finish closes the last segment; without one nothing was recorded.
func (s *segmenter) finish() error {
	if s.file == nil {
		return nil
	}
	return s.close(s.end, true)
}

func (s *segmenter) failure(err error) error {
	return recorder.Errorf(recorder.CodePipeline, "segment %s: %w", s.name, err)
}

// abandon lets go of a segment that was not closed.
func (s *segmenter) abandon() {
	if s.file != nil {
		_ = s.file.Close()
	}
}
