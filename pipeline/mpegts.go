package pipeline

import (
	"context"
	"encoding/binary"
	"io"
	"time"

	"github.com/asticode/go-astits"

	"tapedeck/recorder"
)

// frame is an encoded packet that Go owns.
type frame struct {
	codec         codec
	data          []byte
	config        []byte // codec_data of its caps: avcC or AudioSpecificConfig
	pts, duration time.Duration
	key           bool
	resumes       bool // a pause ended with it
}

// The streams of our transport streams.
const (
	pidVideo = 256
	pidAudio = 257
)

const (
	// tsOffset is the time stamp of media time zero: stamps must not be negative, and
	// the clock runs tsDelay ahead of them, so that a decoder's buffers can fill.
	tsOffset = time.Second
	tsDelay  = 700 * time.Millisecond
	// tsWrap is where 33 bits of 90 kHz end, after 26.5 hours.
	tsWrap = 1 << 33
	// soundPacket is how many AAC frames share a packet of the transport stream: one
	// each would cost a third more bytes.
	soundPacket = 4
	// tsFramesPerTable never comes: tables are written where a segment begins.
	tsFramesPerTable = 1 << 30
)

// tsWriter makes MPEG-TS of H.264 and AAC. Its output may be changed between two
// segments; continuity counters and time stamps run on. It belongs to one goroutine.
type tsWriter struct {
	out   io.Writer
	mux   *astits.Muxer
	video bool
	sound []frame // that wait for their packet
	// fresh has the streams whose next packet follows from nothing before it.
	fresh map[uint16]bool
}

// newTSWriter makes a writer for streams of these codecs. goesOn says that players have
// another writer's segments before the first one: counters and clock begin anew, which
// is marked (ISO/IEC 13818-1 §2.4.3.5), lest what came last be taken for damaged.
func newTSWriter(codecs []codec, goesOn bool) (*tsWriter, error) {
	w := &tsWriter{fresh: map[uint16]bool{pidVideo: goesOn, pidAudio: goesOn}}
	// The muxer keeps its context and never looks at it.
	w.mux = astits.NewMuxer(context.Background(), w, astits.MuxerOptTablesRetransmitPeriod(tsFramesPerTable)) //nolint:forbidigo // as said
	lead := uint16(pidAudio)
	for _, c := range codecs {
		es := astits.PMTElementaryStream{ElementaryPID: pidAudio, StreamType: astits.StreamTypeAACAudio}
		if c.video() {
			es = astits.PMTElementaryStream{ElementaryPID: pidVideo, StreamType: astits.StreamTypeH264Video}
			lead, w.video = pidVideo, true
		}
		if err := w.mux.AddElementaryStream(es); err != nil {
			return nil, recorder.Errorf(recorder.CodeInternal, "transport stream: %w", err)
		}
	}
	w.mux.SetPCRPID(lead)
	return w, nil
}

// Write is for the muxer.
func (w *tsWriter) Write(p []byte) (int, error) { return w.out.Write(p) }

// begin makes out the place of the next segment, whose first frame is f. What
// decodes it alone stands at its head.
func (w *tsWriter) begin(out io.Writer, f frame) error {
	w.out = out
	if f.codec.video() && f.key {
		return nil // the muxer does it
	}
	_, err := w.mux.WriteTables()
	return err
}

func (w *tsWriter) write(f frame) error {
	if f.codec.video() {
		au, err := annexB(f)
		if err != nil {
			return err
		}
		return w.packet(pidVideo, f.pts, au, f.key)
	}
	w.sound = append(w.sound, f)
	if len(w.sound) < soundPacket {
		return nil
	}
	return w.flush()
}

// flush writes the sound that waits.
func (w *tsWriter) flush() error {
	if len(w.sound) == 0 {
		return nil
	}
	var data []byte
	for _, f := range w.sound {
		header, err := adtsHeader(f)
		if err != nil {
			return err
		}
		data = append(append(data, header...), f.data...)
	}
	at := w.sound[0].pts
	w.sound = w.sound[:0]
	return w.packet(pidAudio, at, data, false)
}

func (w *tsWriter) packet(pid uint16, pts time.Duration, data []byte, key bool) error {
	d := &astits.MuxerData{PID: pid, PES: &astits.PESData{
		Data: data,
		Header: &astits.PESHeader{OptionalHeader: &astits.PESOptionalHeader{
			MarkerBits: 2, PTSDTSIndicator: astits.PTSDTSIndicatorOnlyPTS, DataAlignmentIndicator: true, PTS: tsClock(pts + tsOffset),
		}},
	}}
	if pid == pidVideo || !w.video {
		d.AdaptationField = &astits.PacketAdaptationField{
			HasPCR: true, PCR: tsClock(pts + tsOffset - tsDelay), RandomAccessIndicator: key,
		}
	}
	if w.fresh[pid] {
		if d.AdaptationField == nil {
			d.AdaptationField = &astits.PacketAdaptationField{}
		}
		d.AdaptationField.DiscontinuityIndicator, w.fresh[pid] = true, false
	}
	_, err := w.mux.WriteData(d)
	return err
}

// tsClock gives a time in 90 kHz, rounded.
func tsClock(d time.Duration) *astits.ClockReference {
	const rate = 90_000
	seconds, rest := d/time.Second, d%time.Second
	ticks := int64(seconds)*rate + (int64(rest)*rate+int64(time.Second)/2)/int64(time.Second)
	return &astits.ClockReference{Base: ticks % tsWrap}
}

var startCode = []byte{0, 0, 0, 1} //nolint:gochecknoglobals // never changed

// annexB turns an access unit from lengths to start codes, with a delimiter before
// it and, for a key frame, the parameter sets (ISO/IEC 14496-15 §5.3.3, H.264 B.1).
func annexB(f frame) ([]byte, error) {
	out := append(append(make([]byte, 0, len(f.data)+128), startCode...), 9, 0xf0)
	if f.key {
		sets, err := parameterSets(f.config)
		if err != nil {
			return nil, err
		}
		out = append(out, sets...)
	}
	for rest := f.data; len(rest) > 0; {
		if len(rest) < 4 {
			return nil, errMalformed("access unit")
		}
		n := int(binary.BigEndian.Uint32(rest))
		if n > len(rest)-4 {
			return nil, errMalformed("access unit")
		}
		out = append(append(out, startCode...), rest[4:4+n]...)
		rest = rest[4+n:]
	}
	return out, nil
}

// parameterSets gives those of an AVCDecoderConfigurationRecord, with start codes.
func parameterSets(avcC []byte) ([]byte, error) {
	var out []byte
	if len(avcC) < 7 || avcC[4]&3 != 3 {
		return nil, errMalformed("avcC")
	}
	rest := avcC[5:]
	for _, mask := range []byte{0x1f, 0xff} { // sequence, then picture parameter sets
		if len(rest) == 0 {
			return nil, errMalformed("avcC")
		}
		count := int(rest[0] & mask)
		rest = rest[1:]
		for range count {
			if len(rest) < 2 || len(rest) < 2+int(binary.BigEndian.Uint16(rest)) {
				return nil, errMalformed("avcC")
			}
			n := int(binary.BigEndian.Uint16(rest))
			out = append(append(out, startCode...), rest[2:2+n]...)
			rest = rest[2+n:]
		}
	}
	return out, nil
}

// adtsHeader gives what goes before a raw AAC frame (ISO/IEC 13818-7 §6.2).
func adtsHeader(f frame) ([]byte, error) {
	if len(f.config) < 2 {
		return nil, errMalformed("AudioSpecificConfig")
	}
	config := binary.BigEndian.Uint16(f.config)
	object, rate, channels := byte(config>>11), byte(config>>7&15), byte(config>>3&15)
	n := len(f.data) + 7
	if object == 0 || object > 4 || rate == 15 || n >= 1<<13 {
		return nil, errMalformed("AudioSpecificConfig")
	}
	return []byte{
		0xff, 0xf1, (object-1)<<6 | rate<<2 | channels>>2,
		channels<<6 | byte(n>>11), byte(n >> 3), byte(n<<5) | 0x1f, 0xfc,
	}, nil
}

func errMalformed(what string) error {
	return recorder.Errorf(recorder.CodePipeline, "transport stream: the encoder gave a malformed %s", what)
}
