package e2e

import (
	"testing"

	"tapedeck/recorder/recordertest"
)

// startNoise serves the barcode page with a patch that no encoder can make small,
// so that a stall of the network is felt at once.
func startNoise(t testing.TB) string {
	t.Helper()
	return recordertest.StartPage(t).URL + "/barcode?noise=1"
}
