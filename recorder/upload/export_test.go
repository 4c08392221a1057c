package upload

import (
	"context"

	"tapedeck/recorder"
)

// RescueSeries is the part of a rescue that is about series.
func (s *Spool) RescueSeries(ctx context.Context, job recorder.Job, rec recorder.Recording) (recorder.Recording, []string) {
	return s.rescueSeries(ctx, job, rec)
}
