package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

func TestFormats(t *testing.T) {
	t.Parallel()
	page := recordertest.StartPage(t)
	for _, f := range []struct {
		file, flags string
		codecs      []string
		size        string // of the picture, with its rate; "" for none
	}{
		{"sound.mp3", "--audio-only", []string{"mp3"}, ""},
		{"sound.ogg", "--audio-only", []string{"opus"}, ""},
		{"sound.mp4", "--audio-only", []string{"aac"}, ""},
		{"picture.mp4", "--video-only", []string{"h264"}, "1280x720@30/1"},
		{"both.webm", "--size 640x360", []string{"vp8", "opus"}, "640x360@30/1"},
		{"portrait.mp4", "--size 720x1280 --fps 15", []string{"h264", "aac"}, "720x1280@15/1"},
		{"preset.mp4", "--preset PORTRAIT_H264_720P_30 --fps 24", []string{"h264", "aac"}, "720x1280@24/1"},
	} {
		t.Run(f.file+" "+f.flags, func(t *testing.T) {
			t.Parallel()
			h := newHome(t)
			out := h.path(f.file)
			// A page without sound has nothing to wait for before it starts.
			url := page.URL + "/barcode?audio=" + map[bool]string{true: "0", false: "1"}[f.flags == "--video-only"]
			rec, c := h.record(time.Minute, append([]string{url, "-o", out, "--await-start", "--duration", "3s"}, strings.Fields(f.flags)...)...)
			require.Zero(t, c.code, c.stderr)
			m := probe(t, out)
			assert.Equal(t, f.codecs, m.codecs())
			assert.Equal(t, f.codecs, rec.Files[0].Codecs)
			assert.InDelta(t, 3*time.Second, m.duration(t), float64(500*time.Millisecond))
			if f.size != "" {
				v := m.track(t, "video")
				assert.Equal(t, f.size, fmt.Sprintf("%dx%d@%s", v.Width, v.Height, v.FrameRate))
				assert.Zero(t, look(t, out).unreadable)
			}
			if f.flags != "--video-only" {
				assert.InDelta(t, 2, len(recordertest.BeepOnsets(t, out)), 1)
			}
		})
	}
}

// TestNeighbours records a page that beeps beside one that is silent.
func TestNeighbours(t *testing.T) {
	t.Parallel()
	page, p := recordertest.StartPage(t), startPool(t)
	p.startWorker("w1", "TAPEDECK_WORKER_MAX_JOBS=2")
	loud := p.enqueue(pageJob(page.URL+"/barcode", "loud.mp4", time.Minute))
	quiet := p.enqueue(pageJob(page.URL+"/barcode?audio=0", "quiet.mp4", time.Minute))
	p.awaitActive(loud)
	p.awaitActive(quiet)
	p.awaitElapsed(loud, 4*time.Second)
	p.awaitElapsed(quiet, 4*time.Second) // both at once
	for _, id := range []string{loud, quiet} {
		require.Zero(t, p.verb("stop", id).code)
		p.awaitStatus(id, recorder.StatusComplete, time.Minute)
	}
	length := probePartial(t, p.stored("loud.mp4")).duration(t)
	assert.InDelta(t, length.Seconds(), len(recordertest.BeepOnsets(t, p.stored("loud.mp4"))), 1.5, "a beep a second")
	assert.Empty(t, recordertest.BeepOnsets(t, p.stored("quiet.mp4")))
	volume := recordertest.Tool(t, "ffmpeg", "-nostdin", "-i", p.stored("quiet.mp4"), "-vn", "-af", "volumedetect", "-f", "null", "-")
	assert.Contains(t, volume, "max_volume: -91.0 dB", "digital silence")
	for _, file := range []string{"loud.mp4", "quiet.mp4"} {
		probe(t, p.stored(file)).requireWhole(t, 30)
		s := look(t, p.stored(file))
		assert.Zero(t, s.unreadable, file)
		assert.Zero(t, s.resets, file)
	}
}
