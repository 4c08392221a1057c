package e2e

import (
	"testing"

	"tapedeck/recorder/recordertest"
)

// judged runs a timed measurement; see recordertest.Judged.
func judged(t *testing.T, try func() (complaints []string)) {
	t.Helper()
	recordertest.Judged(t, try)
}
