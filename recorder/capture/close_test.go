package capture_test

import (
	"fmt"
	"math"
	"os/exec"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// A page may leave as it likes: until we know, and while the recording is ended
// or the page loaded again, the last picture stands.
func TestLeavingPageIsNoticedAndItsPictureStands(t *testing.T) {
	page := recordertest.StartPage(t)
	for name, c := range map[string]struct {
		leave string
		code  recorder.Code
	}{
		"window.close":                    {"window.close()", recorder.CodePageClosed},
		"left for one that does not load": {"location.href = 'http://127.0.0.1:1/'", recorder.CodePageLoad},
	} {
		t.Run(name, func(t *testing.T) {
			recordertest.Judged(t, func() []string {
				s := open(t, recorder.SessionSpec{Silent: true})
				defer s.Close()
				startPage(t, s, page.URL+"/size")
				file, stop := filmOn(t, s, 10_000)
				require.NoError(t, s.RunScript(within(t), c.leave))
				err := s.Wait(within(t), recorder.MarkerEnd)
				assert.Equal(t, c.code, recorder.CodeOf(err), "%v", err)
				awaitPictures(t, file)
				stop()
				return strangePictures(t, file)
			})
		})
	}
}

// awaitPictures waits for another second of a film.
func awaitPictures(t *testing.T, file string) {
	t.Helper()
	count := func() int {
		out, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "quiet", "-count_packets", "-select_streams", "v:0",
			"-show_entries", "stream=nb_read_packets", "-of", "csv=p=0", file).Output()
		require.NoError(t, err)
		var n int
		_, err = fmt.Sscan(string(out), &n)
		require.NoError(t, err, "%s", out)
		return n
	}
	from := count()
	recordertest.AwaitNone(t, patience, func() []string {
		if count() >= from+60 {
			return nil
		}
		return []string{"the next pictures"}
	})
}

// strangePictures names the pictures whose colour is not the page's background.
func strangePictures(t *testing.T, file string) []string {
	t.Helper()
	pixels, err := exec.CommandContext(t.Context(), "ffmpeg", "-nostdin", "-loglevel", "error", "-i", file,
		"-vf", "scale=1:1:flags=area", "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1").Output()
	require.NoError(t, err)
	require.NotEmpty(t, pixels)
	var strange []string
	for i, own := range slices.Collect(slices.Chunk(pixels, 3)) {
		if math.Abs(float64(own[0])-0x22) > 16 || math.Abs(float64(own[1])-0x44) > 16 || math.Abs(float64(own[2])-0x66) > 16 {
			strange = append(strange, fmt.Sprintf("picture %d is #%x", i, own))
		}
	}
	return strange
}
