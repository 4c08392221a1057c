package pipeline

import (
	"encoding/binary"
	"iter"

	"github.com/go-gst/go-gst/gst"
)

// mp4mux of GStreamer 1.22 writes fragments that nobody can read (in
// gstqtmux's atom_traf_add_samples). The first sample of a fragment gives its
// size, duration and flags as the track's defaults. When a later sample
// differs, the default is taken back, and the runs so far get explicit values;
// but a further run whose sample happens to equal the first one again gets
// none: its size is read as 0, and every frame after it from the wrong place.
// Sound has such a coincidence in most fragments. A recording would then be
// unreadable as long as it grows, and after a SIGKILL.
//
// The values that are missing are those of the fragment's first sample. A
// fragmentMender puts them where a reader looks, without changing the length of
// a fragment: durations and flags, which are the same for all samples of our
// tracks, go into the movie's header (trex), and the place that one of them has in the
// fragment's header (tfhd) takes the size. Where neither has one, as in the longer runs of
// sound between the pictures of a low frame rate, runs repeat the durations that trex
// gives: they make room.
type fragmentMender struct {
	fps    uint32 // of the video track
	tracks map[uint32]trackDefaults
}

// mendFragments corrects the headers that mux writes, before anybody has them.
func mendFragments(mux *gst.Element, fps int) {
	m := &fragmentMender{fps: uint32(fps)}
	mux.GetStaticPad("src").AddProbe(gst.PadProbeTypeBuffer, func(_ *gst.Pad, info *gst.PadProbeInfo) gst.PadProbeReturn {
		b := info.GetBuffer()
		m.mend(rawBytes(b))
		return gst.PadProbeOK
	})
}

// trackDefaults are what trex says of a track (ISO 14496-12, 8.8.3).
type trackDefaults struct{ duration, flags uint32 }

// Flags of tfhd and trun (8.8.7, 8.8.8).
const (
	tfhdBaseOffset  = 0x01
	tfhdDescription = 0x02
	tfhdDuration    = 0x08
	tfhdSize        = 0x10
	tfhdFlags       = 0x20

	trunOffset     = 0x001
	trunFirstFlags = 0x004
	trunDuration   = 0x100
	trunSize       = 0x200
)

// What mp4mux calls a sample that depends on others, and one of sound.
const (
	differenceSample = 0x100c0
	soundSample      = 0xc0
	aacFrame         = 1024 // samples
)

// box is one box of data: its type and what it holds.
type box struct {
	kind string
	body []byte
}

// boxes gives the boxes in data, as far as they are whole.
func boxes(data []byte) iter.Seq[box] {
	return func(yield func(box) bool) {
		for len(data) >= 8 {
			size := int(binary.BigEndian.Uint32(data))
			if size < 8 || size > len(data) || !yield(box{string(data[4:8]), data[8:size]}) {
				return
			}
			data = data[size:]
		}
	}
}

func kindOf(data []byte) string {
	if len(data) < 8 {
		return ""
	}
	return string(data[4:8])
}

// find gives the first box at the path below data, or nil.
func find(data []byte, path ...string) []byte {
	for b := range boxes(data) {
		if b.kind != path[0] {
			continue
		}
		if len(path) == 1 {
			return b.body
		}
		return find(b.body, path[1:]...)
	}
	return nil
}

// mend corrects what the muxer is about to write, in place.
func (m *fragmentMender) mend(data []byte) {
	if kind := kindOf(data); kind != "moov" && kind != "moof" {
		return // media, which is not only ours
	}
	for b := range boxes(data) {
		switch b.kind {
		case "moov":
			m.header(b.body)
		case "moof":
			for t := range boxes(b.body) {
				if t.kind == "traf" {
					m.fragment(t.body)
				}
			}
		}
	}
}

// header sets the defaults of the movie's tracks.
func (m *fragmentMender) header(moov []byte) {
	m.tracks = map[uint32]trackDefaults{}
	for b := range boxes(moov) {
		if b.kind != "trak" {
			continue
		}
		tkhd, mdhd, hdlr := find(b.body, "tkhd"), find(b.body, "mdia", "mdhd"), find(b.body, "mdia", "hdlr")
		if len(tkhd) < 24 || len(mdhd) < 24 || len(hdlr) < 12 || tkhd[0] != 0 || mdhd[0] != 0 {
			continue
		}
		id, timescale := binary.BigEndian.Uint32(tkhd[12:]), binary.BigEndian.Uint32(mdhd[12:])
		switch string(hdlr[8:12]) {
		case "soun":
			m.tracks[id] = trackDefaults{duration: aacFrame, flags: soundSample} // its timescale is the sample rate
		case "vide":
			m.tracks[id] = trackDefaults{duration: timescale / max(m.fps, 1), flags: differenceSample}
		}
	}
	for b := range boxes(find(moov, "mvex")) {
		if b.kind != "trex" || len(b.body) < 24 {
			continue
		}
		if d, ok := m.tracks[binary.BigEndian.Uint32(b.body[4:])]; ok {
			binary.BigEndian.PutUint32(b.body[12:], d.duration)
			binary.BigEndian.PutUint32(b.body[20:], d.flags)
		}
	}
}

// fragment gives the runs of one track that have no sizes theirs.
func (m *fragmentMender) fragment(traf []byte) {
	tfhd := find(traf, "tfhd")
	if len(tfhd) < 8 {
		return
	}
	flags := binary.BigEndian.Uint32(tfhd) & 0xffffff
	size, missing := runSizes(traf)
	defaults, known := m.tracks[binary.BigEndian.Uint32(tfhd[4:])]
	if flags&tfhdSize != 0 || !missing || !known {
		return
	}
	at := 8
	if flags&tfhdBaseOffset != 0 {
		at += 8
	}
	if flags&tfhdDescription != 0 {
		at += 4
	}
	// A default that trex repeats is not needed here. Durations come before sizes, and flags after
	// them, so either's place is where a reader looks for the size once it is gone.
	for _, slot := range []struct{ flag, inherited uint32 }{{tfhdDuration, defaults.duration}, {tfhdFlags, defaults.flags}} {
		if flags&slot.flag == 0 {
			continue
		}
		if len(tfhd) < at+4 {
			return
		}
		if binary.BigEndian.Uint32(tfhd[at:]) == slot.inherited {
			binary.BigEndian.PutUint32(tfhd, flags&^slot.flag|tfhdSize)
			binary.BigEndian.PutUint32(tfhd[at:], size)
			return
		}
		at += 4
	}
	m.makeRoom(traf, size, defaults.duration)
}

// makeRoom adds the size to a tfhd that has no defaults at all, in place of durations that
// runs repeat. What is too much becomes a box that readers skip, of 8 bytes at least.
func (m *fragmentMender) makeRoom(traf []byte, size, duration uint32) {
	const added, least = 4, 8
	var mended []byte
	freed := 0
	for b := range boxes(traf) {
		body := b.body
		switch {
		case b.kind == "tfhd":
			body = binary.BigEndian.AppendUint32(append([]byte(nil), body...), size)
			body[3] |= tfhdSize
		case b.kind == "trun" && freed != added && freed < added+least:
			body = withoutDurations(body, duration)
			freed += len(b.body) - len(body)
		}
		mended = appendBox(mended, b.kind, body)
	}
	switch spare := len(traf) - len(mended); {
	case spare == 0:
	case spare >= least:
		mended = appendBox(mended, "free", make([]byte, spare-least))
	default:
		return
	}
	copy(traf, mended)
}

func appendBox(to []byte, kind string, body []byte) []byte {
	to = binary.BigEndian.AppendUint32(to, uint32(8+len(body)))
	return append(append(to, kind...), body...)
}

// withoutDurations gives a run whose samples have no durations of their own, or the run
// as it is when one has another duration than the given one.
func withoutDurations(trun []byte, duration uint32) []byte {
	flags := binary.BigEndian.Uint32(trun) & 0xffffff
	if len(trun) < 8 || flags&trunDuration == 0 {
		return trun
	}
	head := 8
	for _, field := range []uint32{trunOffset, trunFirstFlags} {
		if flags&field != 0 {
			head += 4
		}
	}
	count := int(binary.BigEndian.Uint32(trun[4:]))
	if count == 0 || len(trun) < head || (len(trun)-head)%count != 0 {
		return trun
	}
	sample := (len(trun) - head) / count
	run := append([]byte(nil), trun[:head]...)
	binary.BigEndian.PutUint32(run, binary.BigEndian.Uint32(trun)&^trunDuration)
	for rest := trun[head:]; len(rest) > 0; rest = rest[sample:] {
		if sample < 4 || binary.BigEndian.Uint32(rest) != duration {
			return trun
		}
		run = append(run, rest[4:sample]...)
	}
	return run
}

// runSizes gives the size of the fragment's first sample, and whether a run
// lacks sizes.
func runSizes(traf []byte) (first uint32, missing bool) {
	begun := false
	for b := range boxes(traf) {
		if b.kind != "trun" || len(b.body) < 8 {
			continue
		}
		flags := binary.BigEndian.Uint32(b.body) & 0xffffff
		if flags&trunSize == 0 {
			missing = true
		} else if !begun {
			at := 8
			for _, field := range []uint32{trunOffset, trunFirstFlags, trunDuration} {
				if flags&field != 0 {
					at += 4
				}
			}
			if len(b.body) >= at+4 {
				first, begun = binary.BigEndian.Uint32(b.body[at:]), true
			}
		}
	}
	return first, missing && begun
}
