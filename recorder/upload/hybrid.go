package upload

import (
	"encoding/binary"
	"errors"
	"io"
	"sort"
	"time"
)

// hybrid follows an MP4 as mp4mux writes it with fragment-mode
// first-moov-then-finalise: ftyp, the media of the first fragment, its moov, and
// then the media and the moof of one fragment after the other. A fragment's mdat
// gets its size before its moof is written, so that all below a whole moov or
// moof stays as it is, but for two places that change when the file is finalised:
// the size of the first mdat, at byte 32 or 40, which then holds all fragments, and the
// type of the first moov.
type hybrid struct {
	next   int64         // the box to look at
	stable int64         // where the last whole fragment ends
	moov   int64         // where the first moov lies, 0 for none yet
	over   bool          // it is no growing file, or not any more
	final  time.Duration // length of a file that is finalised
	tracks map[uint32]*hybridTrack
	marks  []milestone
}

// milestone says how much media are whole below an offset.
type milestone struct {
	end   int64
	media time.Duration
}

type hybridTrack struct {
	scale    uint32 // units a second
	duration uint32 // of a sample that says nothing
}

// advance looks at what was written since the last time.
func (h *hybrid) advance(f io.ReaderAt, size int64) error {
	for !h.over && h.next+8 <= size {
		kind, length, err := boxAt(f, h.next, size)
		if err != nil {
			return err
		}
		switch {
		case length == 0:
			return nil // media that are being written
		case length < 8:
			h.over = true
			return nil
		case h.next+length > size:
			return nil
		}
		if err := h.take(f, kind, length); err != nil {
			return err
		}
		h.next += length
	}
	return nil
}

func (h *hybrid) take(f io.ReaderAt, kind string, length int64) error {
	const longest = 64 << 20 // a header of so many bytes is none
	if kind != "moov" && kind != "moof" {
		return nil
	}
	if length > longest {
		h.over = true
		return nil
	}
	body := make([]byte, length-8)
	if _, err := f.ReadAt(body, h.next+8); err != nil {
		return err
	}
	media := time.Duration(0)
	if kind == "moov" {
		if h.moov != 0 || child(body, "mvex") == nil {
			h.over = true
			if child(body, "mvex") == nil { // the last moov
				h.final = h.header(body)
			}
			return nil
		}
		h.moov = h.next
		media = h.header(body)
	} else {
		media = h.fragment(body)
	}
	h.stable = h.next + length
	if n := len(h.marks); n > 0 {
		media = max(media, h.marks[n-1].media)
	}
	h.marks = append(h.marks, milestone{h.stable, media})
	return nil
}

// isFinalised reports whether the first moov of an MP4 on its top level is one of a finalised file. It reads
// the headers of boxes only.
func isFinalised(f io.ReaderAt, size int64) (bool, error) {
	at, kind, length := int64(0), "", int64(0)
	for ; kind != "moov"; at += length {
		var err error
		if kind, length, err = wholeBoxAt(f, at, size); err != nil {
			return false, err
		}
	}
	for inside, end := at-length+8, at; inside < end; inside += length {
		var err error
		if kind, length, err = wholeBoxAt(f, inside, end); err != nil {
			return false, err
		}
		if kind == "mvex" {
			return false, nil
		}
	}
	return true, nil
}

// wholeBoxAt is boxAt for a box that ends at the latest where its parent does.
func wholeBoxAt(f io.ReaderAt, at, end int64) (kind string, length int64, err error) {
	if end-at >= 8 {
		kind, length, err = boxAt(f, at, end)
	}
	if err == nil && (length < 8 || length > end-at) {
		err = errors.New("this is no MP4 that is whole")
	}
	return kind, length, err
}

// boxAt reads the header of a box, of which eight bytes or more are there before end. What it says of the
// box's length is to be judged.
func boxAt(f io.ReaderAt, at, end int64) (kind string, length int64, err error) {
	var head [16]byte
	if n, err := f.ReadAt(head[:min(int64(len(head)), end-at)], at); err != nil && (!errors.Is(err, io.EOF) || n < 8) {
		return "", 0, err
	}
	length = int64(binary.BigEndian.Uint32(head[:]))
	if length == 1 {
		length = int64(binary.BigEndian.Uint64(head[8:])) //nolint:gosec // judged by the caller
	}
	return string(head[4:8]), length, nil
}

// mediaBelow gives how much media are whole below an offset.
func (h *hybrid) mediaBelow(at int64) time.Duration {
	n := sort.Search(len(h.marks), func(i int) bool { return h.marks[i].end > at })
	if n == 0 {
		return 0
	}
	return h.marks[n-1].media
}

// header reads a moov.
func (h *hybrid) header(moov []byte) (media time.Duration) {
	h.tracks = map[uint32]*hybridTrack{}
	for kind, trak := range children(moov) {
		if kind != "trak" {
			continue
		}
		id := number(child(trak, "tkhd"), 12, 20)
		scale, duration := clockOf(child(child(trak, "mdia"), "mdhd"))
		if scale == 0 {
			continue
		}
		h.tracks[uint32(id)] = &hybridTrack{scale: scale}
		media = max(media, span(duration, scale))
	}
	for kind, trex := range children(child(moov, "mvex")) {
		if t := h.tracks[word(trex, 4)]; kind == "trex" && t != nil {
			t.duration = word(trex, 12)
		}
	}
	return media
}

// fragment reads a moof and gives where its media end.
func (h *hybrid) fragment(moof []byte) (media time.Duration) {
	for kind, traf := range children(moof) {
		if kind != "traf" {
			continue
		}
		head := child(traf, "tfhd")
		t := h.tracks[word(head, 4)]
		if t == nil {
			continue
		}
		each := t.duration
		if own, ok := ownDuration(head); ok {
			each = own
		}
		end := number(child(traf, "tfdt"), 4, 4)
		for kind, run := range children(traf) {
			if kind == "trun" {
				end += runLength(run, each)
			}
		}
		media = max(media, span(end, t.scale))
	}
	return media
}

func span(units uint64, scale uint32) time.Duration {
	return time.Duration(float64(units) / float64(scale) * float64(time.Second))
}
