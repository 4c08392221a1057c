package capture_test

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/capture"
	"tapedeck/recorder/recordertest"
)

// A page may leave as it likes: until we know, and while the recording is ended
// or the page loaded again, the last picture stands.
func TestLeavingPageIsNoticedAndItsPictureStands(t *testing.T) {
	page := recordertest.StartPage(t)
	for name, c := range map[string]struct {
		path string
		code recorder.Code
	}{
		"window.close":                    {"/close?after=1500", recorder.CodePageClosed},
		"left for one that does not load": {"/leave?after=1500", recorder.CodePageLoad},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, recorder.SessionSpec{Silent: true})
			startPage(t, s, page.URL+c.path)
			file, grabbed := film(t, s)
			err := s.Wait(within(t), recorder.MarkerEnd)
			assert.Equal(t, c.code, recorder.CodeOf(err), "%v", err)
			<-grabbed
			assert.Empty(t, strangePictures(t, file))
		})
	}
}

// film grabs the display for 3 s and returns when it does.
func film(t *testing.T, s *capture.Session) (file string, grabbed <-chan struct{}) {
	t.Helper()
	file, done := filepath.Join(t.TempDir(), "film.ts"), make(chan struct{})
	go func() {
		defer close(done)
		grab(t, s, "-video_size", "1280x720", "-i", s.Inputs().Display, "-t", "3", "-c:v", "libx264", "-preset", "ultrafast",
			"-tune", "zerolatency", "-flush_packets", "1", file)
	}()
	recordertest.AwaitNone(t, patience, func() []string {
		if info, err := os.Stat(file); err == nil && info.Size() > 10_000 {
			return nil
		}
		return []string{"the first frames"}
	})
	return file, done
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
