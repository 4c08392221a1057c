package upload

import (
	"os"
	"time"

	"go.uber.org/zap"
)

// measure finds out how long an MP4 is that was cut off, as far as anybody knew: whoever recorded
// it last told seconds before, and may have finalised it after all.
func (d *delivery) measure() {
	h, ok := scanOf(d.media).(*hybrid)
	if !ok || !d.file.Partial {
		return
	}
	length, whole, err := h.measure(d.media)
	if err != nil {
		d.log.Warn("the file's length is not known", zap.Error(err)) // sending it will tell more
		return
	}
	if length > 0 {
		d.file = d.rec.Measured(d.file, length)
		d.file.Partial = !whole
	}
}

// measure gives how long a file is, and whether it was finalised.
func (h *hybrid) measure(path string) (length time.Duration, whole bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, false, err
	}
	defer f.Close() //nolint:errcheck // only read
	return h.lengthOf(f)
}

// lengthOf is measure of an open file.
func (h *hybrid) lengthOf(f *os.File) (length time.Duration, whole bool, err error) {
	info, err := f.Stat()
	if err == nil {
		err = h.advance(f, info.Size())
	}
	switch {
	case err != nil: // a sick disk
		return 0, false, err
	case h.final > 0:
		return h.final, true, nil
	default:
		return h.mediaBelow(info.Size()), false, nil
	}
}
