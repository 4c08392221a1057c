package upload

import (
	"encoding/binary"
	"iter"
)

// children gives the boxes in data (ISO 14496-12), as far as they are whole. Of
// data that are damaged there may be fewer, and numbers in them are 0.
func children(data []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for len(data) >= 8 {
			size := int64(word(data, 0))
			if size < 8 || size > int64(len(data)) || !yield(string(data[4:8]), data[8:size]) {
				return
			}
			data = data[size:]
		}
	}
}

// child gives what the first box of a kind holds, or nil.
func child(data []byte, kind string) []byte {
	for k, body := range children(data) {
		if k == kind {
			return body
		}
	}
	return nil
}

func word(data []byte, at int) uint32 {
	if at+4 > len(data) {
		return 0
	}
	return binary.BigEndian.Uint32(data[at:])
}

func long(data []byte, at int) uint64 { return uint64(word(data, at))<<32 | uint64(word(data, at+4)) }

// number gives a value that lies at one offset in boxes of version 0 and at
// another in those of version 1. In tfdt it is longer in these as well.
func number(data []byte, at, at1 int) uint64 {
	switch {
	case len(data) == 0:
		return 0
	case data[0] != 1:
		return uint64(word(data, at))
	case at == at1:
		return long(data, at1)
	default:
		return uint64(word(data, at1))
	}
}

// clockOf gives a track's units a second and its length in them (8.4.2).
func clockOf(mdhd []byte) (scale uint32, duration uint64) {
	if len(mdhd) > 0 && mdhd[0] == 1 {
		return word(mdhd, 20), long(mdhd, 24)
	}
	return word(mdhd, 12), uint64(word(mdhd, 16))
}

// Flags of tfhd and trun (8.8.7, 8.8.8).
const (
	tfhdBaseOffset  = 0x01
	tfhdDescription = 0x02
	tfhdDuration    = 0x08

	trunOffset     = 0x001
	trunFirstFlags = 0x004
	trunDuration   = 0x100
)

// ownDuration gives what a fragment says of samples that say nothing.
func ownDuration(tfhd []byte) (uint32, bool) {
	flags, at := word(tfhd, 0), 8
	if flags&tfhdDuration == 0 {
		return 0, false
	}
	if flags&tfhdBaseOffset != 0 {
		at += 8
	}
	if flags&tfhdDescription != 0 {
		at += 4
	}
	return word(tfhd, at), true
}

// runLength adds up the samples of a run.
func runLength(trun []byte, each uint32) uint64 {
	flags, count, at := word(trun, 0), word(trun, 4), 8
	if flags&trunDuration == 0 {
		return uint64(count) * uint64(each)
	}
	if flags&trunOffset != 0 {
		at += 4
	}
	if flags&trunFirstFlags != 0 {
		at += 4
	}
	stride := 0
	for bit := uint32(trunDuration); bit <= 0x800; bit <<= 1 {
		if flags&bit != 0 {
			stride += 4
		}
	}
	sum := uint64(0)
	for ; count > 0 && at+4 <= len(trun); count, at = count-1, at+stride {
		sum += uint64(word(trun, at))
	}
	return sum
}
