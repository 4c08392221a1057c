package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// TestBarcode records a page that draws 60 frames a second, flashes and beeps: a minute of
// it in the long form. What drifts apart in hours is looked for in pipeline's long tests.
func TestBarcode(t *testing.T) {
	const fps = 30
	length := lengthOf(30 * time.Second)
	page, h := recordertest.StartPage(t), newHome(t)
	out := h.path("out.mp4")
	judged(t, func() []string {
		rec, c := h.record(2*length, page.URL+"/barcode", "-o", out, "--await-start", "--duration", length.String(), "--size", "1280x720", "--fps", "30")
		require.Zero(t, c.code, c.stderr)
		assert.Equal(t, recorder.StatusLimitReached, rec.Status)
		assert.Equal(t, recorder.EndMaxDuration, rec.EndReason)

		m := probe(t, out)
		m.requireWhole(t, fps)
		assert.Equal(t, []string{"h264", "aac"}, m.codecs())
		assert.InDelta(t, length, m.duration(t), float64(time.Second)/2)
		s := look(t, out)
		t.Logf("%d frames, %.2f %% distinct, at most %d page frames apart, stats %+v", len(s.frames), 100*s.share(), s.gap, rec.Stats)
		assert.Zero(t, s.unreadable)
		assert.Zero(t, s.resets, "no counter goes back")
		return slices.Concat(timely(t, out, s, length), distinct(s), m.gaps(t, fps))
	})
}

func distinct(s sight) []string {
	if s.share() >= 0.99 {
		return nil
	}
	return []string{fmt.Sprintf("%.2f %% of the frames are distinct, should be 99", 100*s.share())}
}

// timely compares picture and sound, and both with the page's clock.
func timely(t *testing.T, path string, s sight, length time.Duration) (complaints []string) {
	complain := func(format string, args ...any) { complaints = append(complaints, fmt.Sprintf(format, args...)) }
	flashes, behind := skew(t, path, s.frames)
	require.NotEmpty(t, flashes)
	if !aSecond(len(flashes), length) {
		complain("%d flashes in %v", len(flashes), length)
	}
	low, middle, high := spread(behind)
	// The page flashes a second after it logged the marker; what is missing of the
	// second was not recorded. A flash is in the first frame after it.
	late := time.Second - flashes[0]
	t.Logf("%d flashes; picture behind sound: %v to %v, median %v, at the first %v; first frame %v after the marker",
		len(flashes), low, high, middle, behind[0], late)
	for i := range behind {
		if behind[i].Abs() > 40*time.Millisecond {
			complain("the flash at %v is %v behind its beep", flashes[i], behind[i])
		}
	}
	if late > 100*time.Millisecond || late < -100*time.Millisecond {
		complain("the first frame is %v after the marker", late)
	}
	return complaints
}
