package pipeline_test

import (
	"encoding/binary"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/pipeline"
)

// ticks gives the time of each beginning of a sound.
func ticks(t testing.TB, path string) []time.Duration {
	t.Helper()
	const rate = 48000
	pcm, err := exec.Command("ffmpeg", "-nostdin", "-v", "error", "-i", path, "-f", "s16le", "-ac", "1", "-ar", "48000", "-").Output()
	require.NoError(t, err)
	var at []time.Duration
	quiet := rate
	for i := range len(pcm) / 2 {
		v := int(int16(binary.LittleEndian.Uint16(pcm[2*i:]))) //nolint:gosec // samples are signed
		if v > -3000 && v < 3000 {
			quiet++
			continue
		}
		if quiet > rate/10 {
			at = append(at, time.Duration(i)*time.Second/rate)
		}
		quiet = 0
	}
	return at
}

// The sound server plays a tick each second of the system's clock, and the
// picture is stamped by that clock: ticks that stay on the second prove that
// the two do not drift. TAPEDECK_LONG=10m measures for longer than the default.
func TestNoDrift(t *testing.T) {
	length := 13 * time.Second
	if s := os.Getenv("TAPEDECK_LONG"); s != "" {
		length = 90 * time.Second
		if d, err := time.ParseDuration(s); err == nil {
			length = d
		}
	}
	r := &rig{t: t, dir: t.TempDir()}
	r.startX("640x360x24")
	r.startPulse()
	r.player("audiotestsrc is-live=true wave=ticks freq=1000 volume=0.5 ! audio/x-raw,rate=48000,channels=2 ! pulsesink server=%s", r.inputs.PulseServer)
	r.judged(func() {
		out := r.file("a.mp4")
		k := record(t, r.spec(out), pipeline.Options{})
		k.hear()
		k.begin()
		k.until(length)
		require.NoError(t, k.end())
		m := probe(t, out.Path)
		m.requireEven(30, time.Microsecond)
		at := ticks(t, out.Path)
		// The player settles in its first seconds.
		at = at[min(len(at), 4):]
		require.GreaterOrEqual(t, len(at), int(length/time.Second)-6)
		drift := at[len(at)-1] - at[0] - time.Duration(len(at)-1)*time.Second
		t.Logf("%v in %d s", drift, len(at)-1)
		assert.Less(&r.late, drift.Abs(), 5*time.Millisecond)
	})
}
