package upload

import (
	"context"
	"os"
	"time"

	"tapedeck/recorder"
)

// RescueSeries is the part of a rescue that is about series.
func (s *Spool) RescueSeries(ctx context.Context, job recorder.Job, rec recorder.Recording) (recorder.Recording, []string) {
	return s.rescueSeries(ctx, job, rec)
}

// HoldReading makes the reading of a whole file that was followed last for ever.
func HoldReading(e recorder.SpoolEntry, i int) {
	if held, ok := e.(*entry); ok {
		held.grown(i).pass = &pass{done: make(chan struct{})}
	}
}

// LengthOf measures an MP4.
func LengthOf(f *os.File) (length time.Duration, whole bool, err error) {
	return (&hybrid{}).lengthOf(f)
}
