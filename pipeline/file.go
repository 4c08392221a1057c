package pipeline

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/go-gst/go-gst/gst/app"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"tapedeck/recorder"
)

// maxFileBacklog is how many bytes may wait for a disk that does not keep up
// before packets are dropped, up to the next key frame.
const maxFileBacklog = 64 << 20

// container is what a file's extension asks for.
type container struct {
	mux    string // elements from the muxer to the file
	codecs []codec
	pads   map[codec]string
	mend   bool // mp4mux: see fragmentMender
}

// containerOf chooses container and codecs by extension.
func containerOf(path string, audioOnly, videoOnly bool) (container, error) {
	var c container
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case recorder.ExtMP4:
		// Fragments while it grows, so that it plays after a SIGKILL; an ordinary
		// MP4 once finalised.
		c = container{
			mux:    "mp4mux name=mux fragment-duration=1000 fragment-mode=first-moov-then-finalise",
			codecs: []codec{codecH264, codecAAC}, pads: map[codec]string{codecH264: "mux.video_0", codecAAC: "mux.audio_0"},
			mend: true,
		}
	case recorder.ExtWebM:
		c = container{
			mux:    "webmmux name=mux streamable=false writing-app=tapedeck",
			codecs: []codec{codecVP8, codecOpus}, pads: map[codec]string{codecVP8: "mux.video_0", codecOpus: "mux.audio_0"},
		}
	case recorder.ExtOGG:
		c = container{mux: "oggmux name=mux", codecs: []codec{codecOpus}, pads: map[codec]string{codecOpus: "mux.audio_%u"}}
	case recorder.ExtMP3:
		c = container{mux: "xingmux name=mux", codecs: []codec{codecMP3}, pads: map[codec]string{codecMP3: "mux.sink"}}
	default:
		return c, recorder.Errorf(recorder.CodeInvalid, "%s: no container for the extension %q: use .mp4, .webm, .ogg or .mp3", path, ext)
	}
	var codecs []codec
	for _, k := range c.codecs {
		if (k.video() && !audioOnly) || (!k.video() && !videoOnly) {
			codecs = append(codecs, k)
		}
	}
	c.codecs = codecs
	if len(codecs) == 0 {
		return c, recorder.Errorf(recorder.CodeInvalid, "%s: this container holds sound only, and the job records none", path)
	}
	return c, nil
}

// fileOutput writes one file. Its GStreamer pipeline starts with Begin.
type fileOutput struct {
	id, path string
	container
	unit *unit
	srcs map[codec]*app.Source
	log  *zap.Logger

	mu      sync.Mutex
	capped  map[codec]bool
	wantKey bool // packets were dropped: go on at a key frame
	length  time.Duration
	packets int64
	dropped int64
	started bool
	over    bool // finished before it started: it must not start any more
	final   bool
}

func newFileOutput(o recorder.Output, fps int, audioOnly, videoOnly bool, log *zap.Logger) (*fileOutput, error) {
	c, err := containerOf(o.Path, audioOnly, videoOnly)
	if err != nil {
		return nil, err
	}
	launch := c.mux + " ! filesink name=file buffer-mode=unbuffered sync=false async=false"
	for _, k := range c.codecs {
		launch += " appsrc name=" + string(k) + " format=time is-live=false block=false max-bytes=0 ! " + c.pads[k]
	}
	u, err := newUnit("file "+filepath.Base(o.Path), launch, log)
	if err != nil {
		return nil, err
	}
	if err := u.set("file", "location", o.Path); err != nil {
		return nil, err
	}
	if c.mend {
		mendFragments(u.element("mux"), fps)
	}
	f := &fileOutput{id: o.ID, path: o.Path, container: c, unit: u, srcs: map[codec]*app.Source{}, capped: map[codec]bool{}, log: log}
	for _, k := range c.codecs {
		f.srcs[k] = u.source(string(k))
	}
	return f, nil
}

// check finds out early whether the file can be written, and leaves nothing. A
// file that holds something is never overwritten.
func (f *fileOutput) check() error {
	file, err := os.OpenFile(f.path, os.O_CREATE|os.O_WRONLY, 0o644) //nolint:gosec // media is for other users' eyes too
	if err != nil {
		return recorder.Errorf(recorder.CodePipeline, "output file: %w", err)
	}
	defer file.Close() //nolint:errcheck // nothing was written
	switch info, err := file.Stat(); {
	case err != nil:
		return recorder.Errorf(recorder.CodePipeline, "output file: %w", err)
	case !info.Mode().IsRegular():
		return nil
	case info.Size() > 0:
		return recorder.Errorf(recorder.CodePipeline, "output file %s holds %d bytes already", f.path, info.Size())
	}
	return os.Remove(f.path)
}

func (f *fileOutput) start() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over {
		return errEnded()
	}
	f.started = true
	return f.unit.play()
}

// accept queues a packet and never waits.
func (f *fileOutput) accept(p packet) {
	src := f.srcs[p.codec]
	if src == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if src.GetCurrentLevelBytes() > maxFileBacklog {
		f.wantKey = true
	}
	if f.wantKey && p.codec.video() {
		if !p.key || src.GetCurrentLevelBytes() > maxFileBacklog {
			f.dropped++
			return
		}
		f.wantKey = false
	}
	if !f.capped[p.codec] {
		f.capped[p.codec] = true
		src.SetCaps(p.caps)
	}
	b := stamped(p.buf, p.pts, p.duration)
	src.PushBuffer(b)
	freeBuffer(b)
	f.packets++
	f.length = max(f.length, p.pts+p.duration)
}

// finish ends the file and waits until it is final, or until the deadline.
func (f *fileOutput) finish(deadline <-chan time.Time) error {
	f.mu.Lock()
	started, packets := f.started, f.packets
	f.over = true
	f.mu.Unlock()
	if !started {
		f.unit.stop()
		return nil
	}
	if packets == 0 {
		f.unit.stop()
		_ = os.Remove(f.path) // nothing was recorded
		return f.failure()
	}
	for _, src := range f.srcs {
		src.EndStream()
	}
	var late error
	select {
	case <-f.unit.ended:
	case <-f.unit.failed:
	case <-deadline:
		late = recorder.Errorf(recorder.CodePipeline, "file %s could not be finalised in time; it plays up to its last whole second", filepath.Base(f.path))
	}
	f.unit.stop()      // closes the file
	err := f.failure() // a failure may have passed for an end
	if err == nil {
		err = late
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.final = err == nil
	if f.dropped > 0 {
		f.log.Warn("the disk did not keep up", zap.String("file", f.path), zap.Int64("packets_dropped", f.dropped))
	}
	return err
}

// failure gives what the unit failed of, nil for nothing. go-gst does not pass GStreamer's
// error codes on, so that a full disk is looked for.
func (f *fileOutput) failure() error {
	err := f.unit.err()
	if err == nil {
		return nil
	}
	const least = 64 << 10 // less has no room for a write
	var disk unix.Statfs_t
	if unix.Statfs(filepath.Dir(f.path), &disk) == nil && int64(disk.Bavail)*disk.Bsize < least {
		return recorder.Errorf(recorder.CodePipeline, "%s (%w)", err, unix.ENOSPC)
	}
	return err
}

func (f *fileOutput) snapshot(startedAt time.Time) recorder.OutputFile {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := recorder.OutputFile{ID: f.id, Duration: f.length, Final: f.final, StartedAt: startedAt}
	for _, k := range f.codecs {
		out.Codecs = append(out.Codecs, string(k))
	}
	if st, err := os.Stat(f.path); err == nil {
		out.Bytes = st.Size()
	}
	return out
}
