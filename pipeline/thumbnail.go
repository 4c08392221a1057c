package pipeline

import (
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-gst/go-gst/gst"
	"github.com/go-gst/go-gst/gst/app"
	"go.uber.org/zap"

	"tapedeck/recorder"
)

// maxImages is how many pictures may wait for the encoder and the disk before
// one is left out.
const maxImages = 2

// imageOutput writes a series of JPEG pictures. Between two of them nothing runs:
// a picture is pushed when it is due, and run sleeps until it is encoded.
type imageOutput struct {
	id, dir string
	spec    recorder.ImageOutput
	before  int64                               // pictures of earlier parts
	wall    func(media time.Duration) time.Time // valid once there is a picture
	unit    *unit
	src     *app.Source
	sink    *app.Sink
	log     *zap.Logger

	slack time.Duration
	limit uint64 // bytes that may wait
	due   int64  // number of the next picture; of the goroutine that offers

	failed chan struct{} // closed with cause
	done   chan struct{} // closed when run returned

	mu      sync.Mutex
	started bool
	over    bool // finished before it started: it must not start any more
	cause   error
	left    int64 // pictures that were left out
	total   recorder.OutputSeries
}

func (p *Pipeline) newImageOutput(o recorder.Output) (*imageOutput, error) {
	s, opts := o.Images, p.spec.Options
	if o.Dir == "" || s.FilenamePrefix == "" || s.Width <= 0 || s.Height <= 0 || p.spec.AudioOnly {
		return nil, recorder.Errorf(recorder.CodeInvalid, "output %s: images need a directory, a prefix, a size and a picture", o.ID)
	}
	// JPEG is full range BT.601. Scaled first: then there is less to convert.
	u, err := newUnit("images "+o.ID, fmt.Sprintf("appsrc name=picture format=time is-live=false block=false max-bytes=0"+
		" caps=\"video/x-raw,format=I420,width=%d,height=%d,framerate=%d/1,colorimetry=bt709,chroma-site=mpeg2,"+
		"interlace-mode=progressive,pixel-aspect-ratio=1/1\""+
		" ! videoscale add-borders=false ! video/x-raw,width=%d,height=%d,pixel-aspect-ratio=1/1 ! videoconvert"+
		" ! video/x-raw,format=I420,colorimetry=1:4:7:1 ! jpegenc quality=85"+
		" ! appsink name=sink sync=false enable-last-sample=false max-buffers=1",
		opts.Width, opts.Height, opts.Framerate, s.Width, s.Height), p.log)
	if err != nil {
		return nil, err
	}
	return &imageOutput{
		id: o.ID, dir: o.Dir, spec: s, before: o.Before, wall: p.wall, unit: u, src: u.source("picture"), sink: u.sink("sink"), log: p.log,
		slack: halfFrame(opts.Framerate), limit: uint64(maxImages*opts.Width*opts.Height*3/2) - 1, //nolint:gosec // positive
		failed: make(chan struct{}), done: make(chan struct{}), total: recorder.OutputSeries{ID: o.ID},
	}, nil
}

// check finds out early whether the directory can be written.
func (i *imageOutput) check() error {
	return checkDirectory(filepath.Join(i.dir, filepath.FromSlash(filepath.Dir(i.spec.FilenamePrefix))))
}

func (i *imageOutput) start() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.over {
		return errEnded()
	}
	i.started = true
	if err := i.unit.play(); err != nil {
		close(i.done)
		return err
	}
	go func() {
		defer close(i.done)
		if err := i.run(); err != nil {
			i.mu.Lock()
			defer i.mu.Unlock()
			i.cause = err
			close(i.failed)
		}
	}()
	return nil
}

func (i *imageOutput) err() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.cause
}

// offer takes a picture that is due, and never waits.
func (i *imageOutput) offer(b *gst.Buffer, at, duration time.Duration) {
	n := int64((at + i.slack) / i.spec.Interval())
	if n < i.due || i.err() != nil {
		return
	}
	i.due = n + 1
	if i.src.GetCurrentLevelBytes() > i.limit {
		i.mu.Lock()
		i.left++
		i.mu.Unlock()
		return
	}
	c := stamped(b, at, duration)
	i.src.PushBuffer(c)
	freeBuffer(c)
}

// run writes what is encoded until the end of stream.
func (i *imageOutput) run() error {
	for {
		sample := i.sink.PullSample()
		if sample == nil {
			return i.unit.err()
		}
		b := takeBuffer(sample)
		at, data := *b.PresentationTimestamp().AsDuration(), b.Bytes()
		freeBuffer(b)
		if err := writeWhole(filepath.Join(i.dir, filepath.FromSlash(i.name(at))), data); err != nil {
			return err
		}
		i.mu.Lock()
		i.total.Files++
		i.total.Bytes += int64(len(data))
		if i.spec.FilenameSuffix == recorder.SuffixNone {
			i.total.Bytes = int64(len(data))
		}
		i.total.Duration = at
		i.mu.Unlock()
	}
}

func (i *imageOutput) name(at time.Duration) string {
	switch i.spec.FilenameSuffix {
	case recorder.SuffixNone:
		return i.spec.FilenamePrefix + recorder.ExtImage
	case recorder.SuffixTimestamp:
		return i.spec.FilenamePrefix + "_" + recorder.Timestamp(i.wall(at)) + recorder.ExtImage
	default:
		i.mu.Lock()
		defer i.mu.Unlock()
		return fmt.Sprintf("%s_%05d%s", i.spec.FilenamePrefix, i.before+i.total.Files, recorder.ExtImage)
	}
}

// finish writes the last picture, or gives up at the deadline.
func (i *imageOutput) finish(deadline <-chan time.Time) error {
	i.mu.Lock()
	started := i.started
	i.over = true
	i.mu.Unlock()
	if !started {
		i.unit.stop()
		return nil
	}
	i.src.EndStream()
	var late error
	select {
	case <-i.done:
	case <-deadline:
		late = recorder.Errorf(recorder.CodePipeline, "the pictures of %s could not be written in time", i.spec.FilenamePrefix)
	}
	i.unit.stop()
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.left > 0 {
		i.log.Warn("pictures were left out: processor or disk did not keep up", zap.String("prefix", i.spec.FilenamePrefix), zap.Int64("pictures", i.left))
	}
	if i.cause != nil {
		return i.cause
	}
	return late
}

func (i *imageOutput) snapshot(startedAt time.Time) recorder.OutputSeries {
	i.mu.Lock()
	defer i.mu.Unlock()
	total := i.total
	total.StartedAt, total.Err = startedAt, i.cause
	return total
}
