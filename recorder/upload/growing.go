package upload

import (
	"io"
	"path/filepath"
	"strings"
	"time"

	"tapedeck/recorder"
)

// scan finds out how much of a file that is being written stays as it is.
type scan interface {
	// advance looks at what was written since the last time.
	advance(f io.ReaderAt, size int64) error
	// fixed gives where that ends.
	fixed() int64
	// mediaBelow gives how much media are whole below an offset, 0 where nobody knows.
	mediaBelow(at int64) time.Duration
}

// scanOf gives the scan of files of a kind; nil for those that are changed all over
// when they are finalised.
func scanOf(media string) scan {
	switch strings.ToLower(filepath.Ext(media)) {
	case recorder.ExtMP4:
		return &hybrid{}
	case recorder.ExtOGG, recorder.ExtMP3:
		return &appended{}
	default:
		return nil // webmmux goes back to the size of each cluster
	}
}

func (h *hybrid) fixed() int64 { return h.stable }

// appended is a file to which is only added; of an MP3 the first frame, which tells
// its length, is written again at the end.
type appended struct{ size int64 }

func (a *appended) advance(_ io.ReaderAt, size int64) error {
	a.size = size
	return nil
}

func (a *appended) fixed() int64 { return a.size }

func (a *appended) mediaBelow(int64) time.Duration { return 0 }

// expectedSize gives how large a file of the job may become.
func expectedSize(job recorder.Job) int64 {
	const unbounded, margin = 24 * time.Hour, 1.1
	opts := job.Options()
	rate := opts.AudioBitrate
	if !job.AudioOnly {
		rate += opts.VideoBitrate
	}
	length := job.Limits.MaxDuration.Std()
	if length <= 0 {
		length = unbounded
	}
	expected := float64(rate) * 1000 / 8 * length.Seconds() * margin
	if most := job.Limits.MaxSize; most > 0 {
		expected = min(expected, float64(most)*margin)
	}
	return int64(expected)
}
