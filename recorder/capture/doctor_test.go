package capture_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"tapedeck/recorder/capture"
)

func TestCheckFindsThisMachineFit(t *testing.T) {
	t.Parallel()
	findings := capture.Check(within(t), capture.Options{})
	assert.GreaterOrEqual(t, len(findings), 8)
	for _, f := range findings {
		t.Logf("%+v", f)
		assert.True(t, f.OK || f.Name == "/dev/shm", f.Name)
		assert.NotEmpty(t, f.Detail)
	}
}

func TestCheckSaysHowToMendWhatIsMissing(t *testing.T) {
	t.Parallel()
	for _, f := range capture.Check(within(t), capture.Options{ChromePath: "/no/such/chrome"}) {
		assert.NotEqual(t, "session", f.Name, "no session is tried without Chrome")
		if f.Name == "chrome" {
			assert.False(t, f.OK)
			assert.NotEmpty(t, f.Remedy)
		}
	}
}
