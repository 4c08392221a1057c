package pipeline

import (
	"fmt"
	"math"
	"runtime"
	"sync"
	"time"

	"github.com/go-gst/go-gst/gst"
	"github.com/go-gst/go-gst/gst/app"
	"go.uber.org/zap"

	"tapedeck/recorder"
)

// codec names what an encoder makes, as OutputFile.Codecs shows it.
type codec string

const (
	codecH264 codec = "h264"
	codecVP8  codec = "vp8"
	codecAAC  codec = "aac"
	codecOpus codec = "opus"
	codecMP3  codec = "mp3"
)

func (c codec) video() bool { return c == codecH264 || c == codecVP8 }

// aacPriming is the delay of avenc_aac in blocks: its first packet decodes to what
// was before the first sample. Neither avenc_aac nor FLV says so to a player, so the
// encoder gets no block 0 and the rest is stamped that much earlier.
const aacPriming = 1

// maxBacklog is how much picture may wait for an encoder before frames are dropped.
const maxBacklog = time.Second

// packet is one encoded access unit. The hub owns buf; outputs copy it. Its time is
// that of what is kept, or for streams theirs, which has the pauses with slates.
type packet struct {
	codec         codec
	buf           *gst.Buffer
	caps          *gst.Caps
	pts, duration time.Duration
	key           bool
	resumes       bool // a pause ended with this picture
}

// encoder is one codec's GStreamer pipeline.
type encoder struct {
	codec codec
	live  bool // its time is that of streams
	pace  pace // of what it gets
	unit  *unit
	src   *app.Source
	sink  *app.Sink
	enc   *gst.Element
	limit uint64 // bytes that may wait
	caps  *gst.Caps

	rhythm rhythm // where key frames must be
	keys   keyRequests
	done   chan struct{} // closed when run returned
	quit   chan struct{} // closed by close
	slated bool          // of run: the last packet was a slate
}

func newEncoder(c codec, o recorder.EncodingOptions, log *zap.Logger) (*encoder, error) {
	u, err := newUnit(string(c)+" encoder", encoderLaunch(c, o), log)
	if err != nil {
		return nil, err
	}
	e := &encoder{
		codec: c, unit: u, src: u.source(string(c)), sink: u.sink("sink"), enc: u.element("enc"),
		pace: pace{int64(o.AudioFrequency), blockFrames}, done: make(chan struct{}), quit: make(chan struct{}),
	}
	if c.video() {
		e.pace = pace{int64(o.Framerate), 1}
	}
	e.limit = uint64(o.Width*o.Height*3/2) * uint64(float64(o.Framerate)*maxBacklog.Seconds())
	return e, u.play()
}

func encoderLaunch(c codec, o recorder.EncodingOptions) string {
	in := fmt.Sprintf("video/x-raw,format=I420,width=%d,height=%d,framerate=%d/1,colorimetry=bt709,chroma-site=mpeg2,"+
		"interlace-mode=progressive,pixel-aspect-ratio=1/1", o.Width, o.Height, o.Framerate)
	if !c.video() {
		in = fmt.Sprintf("audio/x-raw,format=F32LE,layout=interleaved,rate=%d,channels=%d", o.AudioFrequency, channels)
	}
	// The appsrc's name is its thread's and the encoder's: `make bench` counts their CPU by it.
	return fmt.Sprintf("appsrc name=%s format=time is-live=false block=false max-bytes=0 caps=%q ! %s"+
		" ! appsink name=sink sync=false enable-last-sample=false", c, in, encoderElements(c, o))
}

// encoderElements chooses how each codec encodes.
//
// H.264: veryfast with its look-ahead and macroblock tree, not tune=zerolatency: that
// would cost about a tenth of the bitrate to save a third of a second that neither a
// file nor an ingest server notices. No B-frames: some ingest servers refuse them, and
// decoding order stays display order. Key frames come at regular intervals only
// (no scene cuts), in closed groups, as players and segmenters want it.
// CBR with a buffer of one second: ingest servers meter the bitrate.
func encoderElements(c codec, o recorder.EncodingOptions) string {
	gop := max(1, int(math.Round(float64(o.Framerate)*o.KeyFrameInterval)))
	switch c {
	case codecH264:
		return fmt.Sprintf("x264enc name=enc speed-preset=veryfast pass=cbr bitrate=%d vbv-buf-capacity=1000 key-int-max=%d"+
			" threads=%d bframes=0 rc-lookahead=10 sync-lookahead=0 b-adapt=false option-string=\"scenecut=0:open-gop=0\""+
			" ! video/x-h264,profile=high,stream-format=avc,alignment=au", o.VideoBitrate, gop, encoderThreads())
	case codecVP8:
		return fmt.Sprintf("vp8enc name=enc deadline=1 cpu-used=8 threads=%d token-partitions=2 end-usage=cbr target-bitrate=%d"+
			" keyframe-max-dist=%d lag-in-frames=0 static-threshold=100 max-intra-bitrate=300", encoderThreads(), o.VideoBitrate*1000, gop)
	case codecAAC:
		return fmt.Sprintf("avenc_aac name=enc bitrate=%d ! audio/mpeg,mpegversion=4,stream-format=raw", o.AudioBitrate*1000)
	case codecOpus:
		return fmt.Sprintf("audioconvert ! audioresample ! audio/x-raw,rate=48000 ! opusenc name=enc bitrate=%d", o.AudioBitrate*1000)
	default:
		return fmt.Sprintf("audioconvert ! lamemp3enc name=enc target=bitrate cbr=true bitrate=%d", mp3Bitrate(o.AudioBitrate))
	}
}

// encoderThreads bounds what x264 would take: one and a half a core, each of
// which delays the output by a frame.
func encoderThreads() int { return min(4, runtime.NumCPU()) }

// mp3Bitrate gives the nearest of MP3's bitrates: LAME refuses others.
func mp3Bitrate(kbps int) int {
	best := 128
	for _, b := range []int{32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320} {
		if abs(b-kbps) < abs(best-kbps) {
			best = b
		}
	}
	return best
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}

// behind reports whether so much waits already that a picture must not be added.
func (e *encoder) behind() bool { return e.src.GetCurrentLevelBytes() > e.limit }

// number gives the number of a unit in the encoder's own time.
func (e *encoder) number(p place) int64 {
	if e.live {
		return p.live
	}
	return p.kept
}

// pushPicture encodes a picture, as a key frame if it must be one.
func (e *encoder) pushPicture(b *gst.Buffer, p place, key bool) {
	n := e.number(p)
	at := e.pace.at(n)
	if due := p.fate == fateKept && e.rhythm.due(e.pace.at(p.kept)); due || key {
		forceKeyUnitAt(e.enc.GetStaticPad("src"), at)
	}
	c := stamped(b, at, e.pace.at(n+1)-at)
	e.src.PushBuffer(c)
	freeBuffer(c)
}

func (e *encoder) pushSound(block []float32, p place) {
	n := e.number(p)
	if e.codec == codecAAC {
		n -= aacPriming
	}
	if n < 0 {
		return
	}
	b := gst.NewBufferFromBytes(bytesOf(block))
	at := e.pace.at(n)
	c := stamped(b, at, e.pace.at(n+1)-at)
	e.src.PushBuffer(c)
	freeBuffer(c)
	freeBuffer(b)
}

// end asks for what is left; run returns after it.
func (e *encoder) end() { e.src.EndStream() }

// run hands packets to deliver until the end of stream or until quit is closed.
func (e *encoder) run(deliver func(*encoder, packet)) {
	defer close(e.done)
	for {
		sample := e.sink.TryPullSample(clockTime(pollEvery))
		if sample != nil {
			p, ok := e.packet(sample)
			if ok {
				if e.keys.seen(p.key, time.Now()) {
					forceKeyUnit(e.enc.GetStaticPad("src"))
				}
				deliver(e, p)
			}
			freeBuffer(p.buf)
			continue
		}
		if e.sink.IsEOS() {
			return
		}
		select {
		case <-e.quit:
			return
		default:
		}
	}
}

// packet takes a sample apart. x264enc counts from 1000 hours; running time
// takes that off.
func (e *encoder) packet(sample *gst.Sample) (packet, bool) {
	if e.caps == nil {
		e.caps = sample.GetCaps()
	}
	segment := sample.GetSegment()
	b := sample.GetBuffer()
	pts := b.PresentationTimestamp()
	at := segment.ToRunningTime(gst.FormatTime, uint64(pts))
	p := packet{codec: e.codec, buf: b, caps: e.caps, key: !b.HasFlags(gst.BufferFlagDeltaUnit)}
	if d := b.Duration().AsDuration(); d != nil {
		p.duration = *d
	}
	p.pts = time.Duration(at)
	freeSample(sample)
	return p, pts != gst.ClockTimeNone && at != uint64(gst.ClockTimeNone)
}

// close returns when run has.
func (e *encoder) close() {
	e.unit.stop()
	close(e.quit)
	<-e.done
	if e.caps != nil {
		freeCaps(e.caps)
	}
}

// rhythm is when segments begin: key frames are forced on the frames nearest to the
// multiples of each of its durations. It belongs to the goroutine that pushes pictures.
type rhythm struct {
	slack time.Duration
	aims  []time.Duration
	last  []int64 // multiple that was reached
}

// halfFrame is what makes a frame the nearest one to a time.
func halfFrame(fps int) time.Duration { return time.Second / time.Duration(2*fps) }

func newRhythm(fps int, aims []time.Duration) rhythm {
	return rhythm{slack: halfFrame(fps), aims: aims, last: make([]int64, len(aims))}
}

// due reports whether the frame at a time begins a segment.
func (r *rhythm) due(at time.Duration) (due bool) {
	for i, aim := range r.aims {
		if n := int64((at + r.slack) / aim); n > r.last[i] {
			r.last[i], due = n, true
		}
	}
	return due
}

// keyRequests keeps requests for key frames from wrecking the bitrate: they
// are granted keyEvery after the last key frame, whatever made that.
type keyRequests struct {
	mu     sync.Mutex
	last   time.Time
	wanted bool
}

const keyEvery = time.Second

func (k *keyRequests) want() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wanted = true
}

// seen is told of every packet and reports whether to ask for a key frame now.
func (k *keyRequests) seen(key bool, now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if key {
		k.last, k.wanted = now, false
	}
	if !k.wanted || now.Sub(k.last) < keyEvery {
		return false
	}
	k.last, k.wanted = now, false
	return true
}
