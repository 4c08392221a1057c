package pipeline

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"
)

// TestCutOffFilePlays ends a muxer without an end of stream, as a SIGKILL does.
// Silence and a still picture make samples of equal size, which is what the
// muxer gets wrong.
func TestCutOffFilePlays(t *testing.T) {
	t.Parallel()
	for name, source := range map[string]struct {
		picture, sound string
		fps            int
	}{
		"still and silent":  {"black", "silence", 30},
		"moving and silent": {"ball", "silence", 30},
		"noisy":             {"snow", "white-noise", 30},
		"moving with tone":  {"ball", "sine", 30},
		"ticking":           {"ball", "ticks", 30},
		"ticking at 15":     {"ball", "ticks", 15},
		"ticking at 10":     {"ball", "ticks", 10},
	} {
		t.Run(name, func(t *testing.T) {
			path := cutOff(t, source.picture, source.sound, source.fps)
			packets, err := exec.Command("ffprobe", "-v", "error", "-count_packets", "-show_entries", "stream=nb_read_packets", "-of", "csv=p=0", path).CombinedOutput()
			require.NoError(t, err, "%s", packets)
			var video, sound int
			_, err = fmt.Sscan(string(packets), &video, &sound)
			require.NoError(t, err, "%s", packets)
			assert.Greater(t, video, 100)
			assert.Greater(t, sound, 150)
			out, err := exec.Command("ffmpeg", "-nostdin", "-v", "error", "-xerror", "-i", path, "-f", "null", "-").CombinedOutput()
			require.NoError(t, err, "%s", out)
			assert.Empty(t, string(out))
		})
	}
}

func cutOff(t *testing.T, picture, sound string, fps int) string {
	t.Helper()
	gstInit()
	path := filepath.Join(t.TempDir(), "cut.mp4")
	c, err := containerOf(path, false, false)
	require.NoError(t, err)
	u, err := newUnit("test", fmt.Sprintf(
		"%s ! filesink name=file buffer-mode=unbuffered sync=false async=false location=%s"+
			" videotestsrc pattern=%s ! video/x-raw,width=160,height=160,framerate=%d/1 ! x264enc speed-preset=veryfast bframes=0 key-int-max=120"+
			" ! video/x-h264,profile=high ! queue ! mux.video_0"+
			" audiotestsrc wave=%s samplesperbuffer=1024 ! audio/x-raw,rate=48000,channels=2 ! avenc_aac ! queue ! mux.audio_0",
		c.mux, path, picture, fps, sound), zaptest.NewLogger(t))
	require.NoError(t, err)
	mendFragments(u.element("mux"), fps)
	require.NoError(t, u.play())
	require.Eventually(t, func() bool {
		data, err := os.ReadFile(path)
		return err == nil && bytes.Count(data, []byte("moof")) >= 12
	}, time.Minute, 20*time.Millisecond)
	u.stop()
	require.NoError(t, u.err())
	return path
}
