package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// failRecord runs a recording that must not start, and gives its result.
func (h *home) failRecord(args ...string) recorder.Recording {
	h.t.Helper()
	out := h.path("out.mp4")
	c := h.start(nil, append([]string{"record", "--json", "--log-format", "json", "-o", out}, args...)...)
	assert.Equal(h.t, 1, c.wait(time.Minute), "%s", c)
	rec := c.recording()
	assert.Equal(h.t, recorder.StatusFailed, rec.Status)
	assert.Equal(h.t, recorder.EndStartFailed, rec.EndReason)
	require.NotNil(h.t, rec.Error)
	require.NotNil(h.t, rec.Diagnosis)
	assert.NoFileExists(h.t, out, "nothing was recorded")
	return rec
}

func requireScreenshot(t *testing.T, d *recorder.Diagnosis) {
	t.Helper()
	m := probePartial(t, d.Screenshot)
	assert.Equal(t, "1280x720 png", strings.Join([]string{recordertest.Tool(t, "ffprobe", "-v", "error", "-show_entries", "stream=width,height", "-of", "csv=p=0:s=x", d.Screenshot), m.codecs()[0]}, " "))
}

func TestPageEndsTheRecording(t *testing.T) {
	t.Parallel()
	page := recordertest.StartPage(t)
	t.Run("END_RECORDING", func(t *testing.T) {
		h := newHome(t)
		rec, c := h.record(time.Minute, page.URL+"/markers?start=200&end=2200&level=warn", "-o", h.path("end.mp4"), "--await-start")
		assert.Zero(t, c.code, c.stderr)
		assert.Equal(t, recorder.StatusComplete, rec.Status)
		assert.Equal(t, recorder.EndSignal, rec.EndReason)
		assert.InDelta(t, 2*time.Second, probe(t, h.path("end.mp4")).duration(t), float64(500*time.Millisecond))
	})
	t.Run("window.close", func(t *testing.T) {
		h := newHome(t)
		rec, c := h.record(time.Minute, page.URL+"/close?after=2000", "-o", h.path("close.mp4"), "--await-start", "--duration", "8s")
		assert.Zero(t, c.code, c.stderr)
		assert.Equal(t, recorder.StatusComplete, rec.Status)
		assert.Equal(t, recorder.EndPageClosed, rec.EndReason)
		assert.InDelta(t, 2*time.Second, probe(t, h.path("close.mp4")).duration(t), float64(time.Second))
	})
}

func TestPageDoesNotStart(t *testing.T) {
	t.Parallel()
	page := recordertest.StartPage(t)
	t.Run("no marker", func(t *testing.T) {
		rec := newHome(t).failRecord(page.URL+"/never", "--await-start", "--start-timeout", "1500ms")
		assert.Equal(t, recorder.CodeStartTimeout, rec.Error.Code)
		assert.Contains(t, rec.Error.Message, "Start signal not received")
		assert.Len(t, page.Requests("/never"), 3, "loaded, and loaded again twice")
		assert.Equal(t, 200, rec.Diagnosis.HTTPStatus)
		requireScreenshot(t, rec.Diagnosis)
	})
	t.Run("console", func(t *testing.T) {
		rec := newHome(t).failRecord(page.URL+"/console", "--await-start", "--start-timeout", "1500ms", "--reload-attempts", "0")
		assert.Equal(t, recorder.CodeStartTimeout, rec.Error.Code)
		said := strings.Join(rec.Diagnosis.Console, "\n")
		for _, line := range []string{"plain 1", "careful", "bad", "boom in the page"} {
			assert.Contains(t, said, line)
		}
		assert.NotContains(t, said, "sesame-open-12345")
		requireScreenshot(t, rec.Diagnosis)
	})
	t.Run("HTTP status", func(t *testing.T) {
		rec := newHome(t).failRecord(page.URL+"/status/503", "--await-start", "--reload-attempts", "1")
		assert.Equal(t, recorder.CodePageLoad, rec.Error.Code)
		assert.Equal(t, 503, rec.Diagnosis.HTTPStatus)
		assert.Contains(t, rec.Error.Message, "503")
		assert.Len(t, page.Requests("/status/503"), 2)
	})
	t.Run("nobody there", func(t *testing.T) {
		rec := newHome(t).failRecord("http://127.0.0.1:1/", "--reload-attempts", "0")
		assert.Equal(t, recorder.CodePageLoad, rec.Error.Code)
		assert.Contains(t, rec.Diagnosis.NetError, "net::ERR_")
	})
	t.Run("div.error", func(t *testing.T) {
		rec := newHome(t).failRecord(page.URL+"/div-error?after=100", "--await-start", "--reload-attempts", "0")
		assert.Equal(t, recorder.CodePageError, rec.Error.Code)
		assert.Contains(t, rec.Error.Message, "no such room")
		assert.Equal(t, "no such room", rec.Diagnosis.PageError)
	})
}

// settledMedia is about two seconds of the barcode page: Chrome's other renderers, which
// are busy when it starts, are idle by then.
const settledMedia = 20_000

// TestCrashedTab kills the page's renderer in the middle of a recording.
func TestCrashedTab(t *testing.T) {
	t.Parallel()
	page, h := recordertest.StartPage(t), newHome(t)
	out := h.path("out.mp4")
	c := h.startRecord("--json", page.URL+"/barcode?end=9", "-o", out, "--await-start", "--duration", "60s")
	// The page ends by itself 9 s after its second start.
	c.awaitFile(filepath.Join(h.path("spool"), "*", "media-0.mp4"), settledMedia, 30*time.Second)
	require.NoError(t, syscall.Kill(recordertest.Renderer(t, h.look).PID, syscall.SIGKILL))
	killed := time.Now()
	c.await(c.stderr, "the page is lost, bringing it back", 10*time.Second)
	noticed := time.Since(killed)
	t.Logf("noticed after %v", noticed)
	assert.Less(t, noticed, 2*time.Second, "it is told, not found out")
	assert.Zero(t, c.wait(time.Minute), c.stderr)
	rec := c.recording()
	assert.Equal(t, recorder.StatusComplete, rec.Status)
	assert.Equal(t, recorder.EndSignal, rec.EndReason)
	assert.Len(t, page.Requests("/barcode"), 2)

	probe(t, out).requireWhole(t, 30)
	s := look(t, out)
	t.Logf("%d frames, %.1f %% distinct, %d unreadable, %d torn, %d loads", len(s.frames), 100*s.share(), s.unreadable, s.torn, s.resets+1)
	assert.Zero(t, s.unreadable, "every frame shows the page, none Chrome's own")
	assert.Equal(t, 1, s.resets, "the page was loaded again")
	assert.GreaterOrEqual(t, s.frames[len(s.frames)-1].PTS, 10500*time.Millisecond)
	requireBackground(t, out)
}

// TestCrashingTab is a page whose every life ends in a crash.
func TestCrashingTab(t *testing.T) {
	t.Parallel()
	page, h := recordertest.StartPage(t), newHome(t)
	out := h.path("out.mp4")
	c := h.startRecord("--json", page.URL+"/barcode", "-o", out, "--await-start", "--reload-attempts", "1")
	media := filepath.Join(h.path("spool"), "*", "media-0.mp4")
	c.awaitFile(media, settledMedia, 30*time.Second)
	require.NoError(t, syscall.Kill(recordertest.Renderer(t, h.look).PID, syscall.SIGKILL))
	c.await(c.stderr, "the page is lost, bringing it back", 10*time.Second)
	require.NoError(t, syscall.Kill(recordertest.Renderer(t, h.look).PID, syscall.SIGKILL))
	assert.Equal(t, 1, c.wait(30*time.Second))
	rec := c.recording()
	assert.Equal(t, recorder.StatusFailed, rec.Status)
	assert.Equal(t, recorder.EndPageCrashed, rec.EndReason)
	assert.Equal(t, recorder.CodePageCrashed, rec.Error.Code)
	assert.NotNil(t, rec.Diagnosis)
	assert.Equal(t, recorder.FileDelivered, rec.Files[0].State)
	probe(t, out).requireWhole(t, 30)
	s := look(t, out)
	assert.Equal(t, s.trailing, s.unreadable, "but for what its last renderer left half drawn")
	requireBackground(t, out)
}

// TestRoom opens a room's template page.
func TestRoom(t *testing.T) {
	t.Parallel()
	page, p := recordertest.StartPage(t), startPool(t)
	p.startWorker("w1", "TAPEDECK_LIVEKIT_URL=wss://livekit.example.com")
	job := recorder.Job{
		Source: recorder.Source{
			RoomName: "stand-up", Layout: "grid-dark", Token: "the-token-of-this-room",
			CustomBaseURL: page.URL + "/token?theme=b%20lue&x=1#/call?mode=quiet",
		},
		Files:  []recorder.FileOutput{{Filepath: "{room_name}/{id}"}},
		Limits: recorder.Limits{MaxDuration: recorder.Duration(2 * time.Second)},
	}
	id := p.enqueue(job)
	rec := p.awaitEnd(id, time.Minute)
	assert.Equal(t, recorder.StatusLimitReached, rec.Status)
	asked := page.Requests("/token")
	require.Len(t, asked, 1)
	assert.Equal(t, map[string][]string{
		"theme": {"b lue"}, "x": {"1"}, "url": {"wss://livekit.example.com"},
		"template": {"grid-dark"}, "layout": {"grid-dark"}, "token": {"the-token-of-this-room"},
	}, map[string][]string(asked[0].Query))
	assert.Equal(t, "stand-up/"+id+".mp4", rec.Files[0].Filename)
	probe(t, p.stored("stand-up/"+id+".mp4"))
	manifest, err := os.ReadFile(p.stored("stand-up/" + id + ".mp4.json"))
	require.NoError(t, err)
	for _, field := range []string{`"egress_id":"` + id, `"room_name":"stand-up"`, `"started_at":`} {
		assert.Contains(t, strings.ReplaceAll(string(manifest), `": `, `":`), field)
	}
	assert.NotContains(t, string(manifest), job.Token)
}
