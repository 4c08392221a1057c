package pipeline

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"tapedeck/recorder"
)

// segmentOutput writes one HLS stream. The hub's goroutines fill its queue, run
// empties it onto the disk (segmenter.go), however slow that is.
type segmentOutput struct {
	id, dir string
	spec    recorder.SegmentOutput
	earlier recorder.MediaPlaylist // what it goes on in
	fps     int
	codecs  []codec
	wall    func(media time.Duration) time.Time // valid once begun is closed
	ts      *tsWriter                           // of run
	log     *zap.Logger

	fed    chan struct{} // holds one: the queue changed
	failed chan struct{} // closed with cause
	quit   chan struct{} // closed by finish
	done   chan struct{} // closed when run returned

	mu       sync.Mutex
	started  bool
	ended    bool // nothing is queued any more
	queue    []frame
	waiting  int // bytes
	dropping bool
	dropped  int64
	configs  map[codec][]byte
	cause    error
	total    recorder.OutputSeries
}

func (p *Pipeline) newSegmentOutput(o recorder.Output) (*segmentOutput, error) {
	s := o.Segments
	if o.Dir == "" || s.FilenamePrefix == "" || s.PlaylistName == "" {
		return nil, recorder.Errorf(recorder.CodeInvalid, "output %s: segments need a directory, a prefix and a playlist", o.ID)
	}
	earlier, err := readEarlier(o)
	if err != nil {
		return nil, err
	}
	ts, err := newTSWriter(p.streamCodecs(), o.Earlier != "")
	if err != nil {
		return nil, err
	}
	return &segmentOutput{
		ts: ts, id: o.ID, dir: o.Dir, spec: s, earlier: earlier, fps: p.spec.Options.Framerate, codecs: p.streamCodecs(), wall: p.wall, log: p.log,
		fed: make(chan struct{}, 1), failed: make(chan struct{}), quit: make(chan struct{}), done: make(chan struct{}),
		configs: map[codec][]byte{}, total: recorder.OutputSeries{ID: o.ID},
	}, nil
}

// check finds out early whether the directory can be written. A stream that is
// there is never overwritten.
func (s *segmentOutput) check() error {
	list := filepath.Join(s.dir, filepath.FromSlash(s.spec.PlaylistName))
	if _, err := os.Stat(list); err == nil {
		return recorder.Errorf(recorder.CodePipeline, "output file %s exists already", list)
	}
	return checkDirectory(filepath.Dir(list))
}

// checkDirectory makes a directory and sees that files can be made in it.
func checkDirectory(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // media is for other users' eyes too
		return recorder.Errorf(recorder.CodePipeline, "output directory: %w", err)
	}
	f, err := os.CreateTemp(dir, "*"+recorder.PartSuffix)
	if err != nil {
		return recorder.Errorf(recorder.CodePipeline, "output directory: %w", err)
	}
	_ = f.Close()
	return os.Remove(f.Name())
}

// start lets run begin. begun is closed with the first frame.
func (s *segmentOutput) start(begun <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = true
	go func() {
		defer close(s.done)
		select {
		case <-begun:
		case <-s.quit: // what was not begun has no frames either
		}
		if err := s.run(); err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.cause, s.queue = err, nil
			close(s.failed)
		}
	}()
}

func (s *segmentOutput) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
}

// accept queues a packet and never waits.
func (s *segmentOutput) accept(p packet) {
	if !slices.Contains(s.codecs, p.codec) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil || s.ended || !s.admit(p) {
		return
	}
	if s.configs[p.codec] == nil {
		s.configs[p.codec] = codecData(p.caps)
	}
	f := frame{codec: p.codec, data: p.buf.Bytes(), config: s.configs[p.codec], pts: p.pts, duration: p.duration, key: p.key, resumes: p.resumes}
	s.queue = append(s.queue, f)
	s.waiting += len(f.data)
	s.wake()
}

// admit decides whether the disk keeps up. What it does not take is left out up to
// a key frame, sound included, so that the rest plays.
func (s *segmentOutput) admit(p packet) bool {
	switch {
	case s.waiting > maxFileBacklog:
		s.dropping = true
	case p.codec == s.codecs[0] && p.key && s.waiting < maxFileBacklog/2:
		s.dropping = false
	}
	if s.dropping {
		s.dropped++
	}
	return !s.dropping
}

func (s *segmentOutput) wake() {
	select {
	case s.fed <- struct{}{}:
	default:
	}
}

// take empties the queue; last says that nothing follows.
func (s *segmentOutput) take() (frames []frame, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	frames, s.queue, s.waiting = s.queue, nil, 0
	return frames, s.ended
}

// run writes what is queued until the end.
func (s *segmentOutput) run() error {
	seg := newSegmenter(s)
	defer seg.abandon()
	order := interleaver{both: len(s.codecs) > 1}
	for {
		<-s.fed
		frames, last := s.take()
		for _, f := range frames {
			order.add(f)
		}
		for f, ok := order.next(last); ok; f, ok = order.next(last) {
			if err := seg.take(f); err != nil {
				return err
			}
		}
		if last {
			return seg.finish()
		}
	}
}

// closed counts a segment.
func (s *segmentOutput) closed(bytes int64, length time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total.Files++
	s.total.Bytes += bytes
	s.total.Duration = length
}

// finish closes the last segment and ends the playlists, or gives up at the deadline.
func (s *segmentOutput) finish(deadline <-chan time.Time) error {
	s.mu.Lock()
	s.ended = true
	started := s.started
	s.wake()
	s.mu.Unlock()
	close(s.quit)
	if !started {
		return nil
	}
	select {
	case <-s.done:
	case <-deadline:
		return recorder.Errorf(recorder.CodePipeline, "the segments of %s could not be closed in time; those that are listed play", s.spec.PlaylistName)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dropped > 0 {
		s.log.Warn("the disk did not keep up", zap.String("playlist", s.spec.PlaylistName), zap.Int64("packets_dropped", s.dropped))
	}
	return s.cause
}

func (s *segmentOutput) snapshot(startedAt time.Time) recorder.OutputSeries {
	s.mu.Lock()
	defer s.mu.Unlock()
	total := s.total
	total.StartedAt, total.Err = startedAt, s.cause
	return total
}
