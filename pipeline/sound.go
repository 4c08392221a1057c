package pipeline

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/go-gst/go-gst/gst"
	"github.com/go-gst/go-gst/gst/app"
	"go.uber.org/zap"

	"tapedeck/recorder"
)

// What makes sound arrive earlier than the picture it belongs to. Measured with a
// page in Chrome that flashes and beeps (recordertest's /barcode): without
// these the beep came 20 to 65 ms before the flash at 30 fps, depending on how long
// the flash waits for the next frame time; with them it is within a frame, either way.
const (
	// A null sink renders blocks ahead of time, as long as the latency its
	// quickest client asks for: pulsesrc's latency-time below.
	soundAhead = 10 * time.Millisecond
	// From the time a page draws for until the X screen shows it, at 60 Hz. In the
	// middle: eight quiet recordings of 5 s read -24 to +25 ms, each steady in itself
	// (its flashes keep their distance to the frame times).
	chromePresentation = 15 * time.Millisecond
)

// soundDelay is how much later than it arrives sound belongs in a recording.
func soundDelay(o recorder.EncodingOptions, picture bool) time.Duration {
	if !picture {
		return 0
	}
	halfFrame := time.Second / time.Duration(2*o.Framerate) // the mean wait for the next frame
	return soundAhead + chromePresentation + halfFrame
}

// peakEvery is the interval of AudioPeak; silentPeak is its floor in dBFS.
const (
	peakEvery  = time.Second
	silentPeak = -100.0
)

// audioSource captures the sound server and puts samples on the clock.
// Everything but the atomics belongs to the goroutine of run.
type audioSource struct {
	unit *unit
	sink *app.Sink
	time timeline
	line *soundLine
	log  *zap.Logger

	// push hands captured block n to the encoders.
	push   func(block []float32, n int64)
	blocks int64

	running chan struct{}
	base    chan time.Duration // gets the base time, once
	halted  atomic.Bool        // the time of the end is about to be taken
	stopAt  atomic.Int64       // time of the end on the clock, 0 while there is none

	emitted         atomic.Int64  // frames given to the encoders and kept
	peak            atomic.Uint64 // float64 bits, dBFS
	loudest, before float32
	peakFrom, heard time.Duration
}

// newAudioSource opens nothing yet. pulsesrc keeps its hands off the times
// (slave-method=none, no clock of its own): soundLine does that, from the
// device position, which also counts what pulsesrc's ring buffer lost. That holds as much
// as soundLine waits for (soundGap) on a machine that lets nobody read; what the sound
// server sends at once is latency-time.
func newAudioSource(spec recorder.PipelineSpec, t timeline, log *zap.Logger) (*audioSource, error) {
	rate := spec.Options.AudioFrequency
	u, err := newUnit("sound "+spec.Inputs.PulseSource, fmt.Sprintf(
		"pulsesrc name=src client-name=tapedeck provide-clock=false slave-method=none buffer-time=1000000 latency-time=10000"+
			" ! audio/x-raw,format=F32LE,layout=interleaved,rate=%d,channels=%d"+
			" ! appsink name=sink sync=false enable-last-sample=false max-buffers=100", rate, channels), log)
	if err != nil {
		return nil, err
	}
	for property, value := range map[string]string{"server": spec.Inputs.PulseServer, "device": spec.Inputs.PulseSource} {
		if value == "" {
			continue // libpulse's own default
		}
		if err := u.set("src", property, value); err != nil {
			return nil, err
		}
	}
	t.drive(u)
	a := &audioSource{
		unit: u, sink: u.sink("sink"), time: t, line: newSoundLine(rate, soundDelay(spec.Options, !spec.AudioOnly)), log: log,
		running: make(chan struct{}), base: make(chan time.Duration, 1),
	}
	a.setPeak(silentPeak)
	return a, nil
}

// run takes samples until the end that stop sets. The error is why
// there are no more; finish fills the line with silence to its end all the same.
func (a *audioSource) run() error {
	var failure error
	for failure == nil {
		sample := a.sink.TryPullSample(clockTime(pollEvery))
		now := a.time.now()
		if sample != nil {
			a.receive(sample, now)
		}
		select {
		case base := <-a.base:
			a.line.begin(base)
		default:
		}
		// Nothing goes to the encoders any more once there is an end: finish cuts there.
		if stop := a.stopAt.Load(); stop != 0 {
			if !a.line.based || a.reached(time.Duration(stop)) || now > time.Duration(stop)+endGrace {
				break
			}
		} else if !a.halted.Load() {
			if now-a.heard > soundGap {
				a.line.fill(now - soundGap/2)
			}
			a.flush(now)
		}
		failure = a.unit.err()
	}
	return failure
}

func (a *audioSource) reached(stop time.Duration) bool {
	return a.line.base+a.line.duration(a.line.placed) > stop+frameGap/10
}

// finish makes the sound as long as the picture, or as near as whole blocks get.
func (a *audioSource) finish(length time.Duration) {
	if !a.line.based {
		return
	}
	blocks := (a.line.frames(length) + blockFrames/2) / blockFrames
	a.line.finish(max(blocks, a.blocks) * blockFrames)
	a.flush(math.MaxInt64)
	if a.line.inserted > 0 || a.line.removed > 0 {
		a.log.Debug("sound was mended", zap.Int64("frames_inserted", a.line.inserted), zap.Int64("frames_removed", a.line.removed))
	}
}

func (a *audioSource) receive(sample *gst.Sample, now time.Duration) {
	b := takeBuffer(sample)
	defer freeBuffer(b)
	data := b.Bytes()
	if len(data) < 4*channels {
		return
	}
	pcm := unsafe.Slice((*float32)(unsafe.Pointer(&data[0])), len(data)/4)
	if a.heard == 0 {
		close(a.running)
	}
	a.heard = now
	a.meter(pcm, now)
	a.line.feed(now, b.Offset(), pcm)
}

// flush pushes what belongs before a time. Sound arrives before its picture: what was
// pushed ahead of it could not be taken back at an end.
func (a *audioSource) flush(until time.Duration) {
	for until-a.line.base >= a.line.duration((a.blocks+1)*blockFrames) {
		block := a.line.take()
		if block == nil {
			return
		}
		a.push(block, a.blocks)
		a.blocks++
	}
}

// meter keeps the peak over the last one to two intervals.
func (a *audioSource) meter(pcm []float32, now time.Duration) {
	if now-a.peakFrom >= peakEvery {
		a.before, a.loudest, a.peakFrom = a.loudest, 0, now
	}
	for _, s := range pcm {
		a.loudest = max(a.loudest, s, -s)
	}
	db := silentPeak
	if p := float64(max(a.loudest, a.before)); p > 0 {
		db = max(silentPeak, 20*math.Log10(p))
	}
	a.setPeak(db)
}

// setPeak keeps 0 for "no sound is recorded".
func (a *audioSource) setPeak(db float64) { a.peak.Store(math.Float64bits(min(db, -0.01))) }
func (a *audioSource) peakDB() float64    { return math.Float64frombits(a.peak.Load()) }

// halt lets nothing pass that belongs later than the time which is read after it.
func (a *audioSource) halt() { a.halted.Store(true) }

// stop ends run once it has the sound captured before the given time.
func (a *audioSource) stop(at time.Duration) { a.stopAt.CompareAndSwap(0, int64(at)) }

func (a *audioSource) close() { a.unit.stop() }

// bytesOf views samples as bytes.
func bytesOf(pcm []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&pcm[0])), len(pcm)*4)
}
