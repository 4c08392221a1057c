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

	"tapedeck/recorder/recordertest"
)

// TestNothingIsLeft ends recordings in every way there is, and looks for what
// is left of each.
func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	page, h := recordertest.StartPage(t), newHome(t)
	out := h.path("out.mp4")
	start := func(path string) *command {
		t.Helper()
		return h.start(nil, "record", "--log-format", "json", page.URL+path, "-o", out, "--await-start", "--reload-attempts", "0", "--start-timeout", "30s")
	}
	ways := []struct {
		name string
		way  func()
	}{
		{"a good end", func() {
			c := start("/markers?start=0&end=500")
			c.await(c.stderr, `"msg":"active"`, recordStart)
			h.look()
			assert.Zero(t, c.wait(30*time.Second))
		}},
		{"a page that is not there", func() { assert.Equal(t, 1, start("/status/404").wait(30*time.Second)) }},
		{"killed while it starts", func() {
			c := start("/never")
			c.await(c.stderr, `"msg":"starting"`, recordStart)
			for deadline := time.Now().Add(20 * time.Second); len(h.sessions()) == 0; time.Sleep(time.Millisecond) {
				require.True(t, time.Now().Before(deadline))
			}
			h.look()
			c.kill()
		}},
		{"killed while the page loads", func() {
			c := start("/never")
			c.await(c.stderr, "session opened", recordStart)
			assert.NotEmpty(t, h.look())
			c.kill()
		}},
		{"killed while it records", func() {
			c := start("/barcode")
			c.await(c.stderr, `"msg":"active"`, recordStart)
			c.awaitFile(h.path("spool", "*", "media-0.mp4"), someMedia, 30*time.Second)
			assert.Greater(t, len(h.look()), 5)
			assert.NotEmpty(t, h.displays, "the display is known, or nobody would miss its socket")
			c.kill()
		}},
		{"terminated", func() {
			c := start("/barcode")
			c.await(c.stderr, `"msg":"active"`, recordStart)
			h.look()
			c.signal(syscall.SIGTERM)
			assert.Zero(t, c.wait(30*time.Second))
		}},
		{"Chrome killed", func() {
			c := start("/barcode")
			c.await(c.stderr, `"msg":"active"`, recordStart)
			for _, p := range h.look() {
				if p.Parent == c.pid() && strings.Contains(p.Command, "--user-data-dir=") {
					require.NoError(t, syscall.Kill(p.PID, syscall.SIGKILL))
				}
			}
			assert.Equal(t, 1, c.wait(30*time.Second))
		}},
	}
	for _, w := range ways {
		began := time.Now()
		w.way()
		h.requireNothingLeft()
		t.Logf("%s: nothing is left, after %v in all", w.name, time.Since(began).Round(time.Millisecond))
	}
	// What a SIGKILL left in the spool plays.
	var left []string
	matches, err := filepath.Glob(h.path("spool", "*", "media-0.mp4"))
	require.NoError(t, err)
	for _, file := range matches {
		if info, err := os.Stat(file); err == nil && info.Size() > 0 {
			left = append(left, file)
		}
	}
	require.Len(t, left, 1, "one recording was killed after it began")
	requirePlays(t, left[0], 500*time.Millisecond)
}
