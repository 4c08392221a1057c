package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder/recordertest"
)

// home is where what one test starts lives: its files, and the temp directory
// by which its processes are told from everybody else's.
type home struct {
	t   testing.TB
	dir string
	tmp string

	mu       sync.Mutex
	commands []*command
	seen     map[recordertest.Process]bool
	displays map[string]bool // that were ours
}

func newHome(t testing.TB) *home {
	t.Helper()
	name := regexp.MustCompile(`[^A-Za-z0-9]+`).ReplaceAllString(t.Name(), "-")
	h := &home{t: t, dir: filepath.Join(ground, name), seen: map[recordertest.Process]bool{}, displays: map[string]bool{}}
	require.NoError(t, os.MkdirAll(h.dir, 0o755))
	// Short, for sockets are made in it, and passable for Chrome's user.
	var err error
	h.tmp, err = os.MkdirTemp("/tmp", "td-e2e-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(h.tmp, 0o711)) //nolint:gosec // see above
	t.Cleanup(h.end)
	return h
}

// path is that of a file in this home.
func (h *home) path(parts ...string) string {
	return filepath.Join(append([]string{h.dir}, parts...)...)
}

// env is what every process gets: nothing of the caller's configuration.
func (h *home) env(more ...string) []string {
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + h.dir, "TMPDIR=" + h.tmp, "LANG=C.UTF-8",
		"TAPEDECK_SPOOL=" + h.path("spool"),
		// GStreamer need not look for its plugins in every home anew.
		"GST_REGISTRY=" + filepath.Join(ground, "gstreamer-registry.bin"),
	}
	return append(env, more...)
}

// look notes which processes and displays are there, for the end to compare.
func (h *home) look() []recordertest.Process {
	h.t.Helper()
	found := recordertest.Processes(h.t, h.tmp)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range found {
		h.seen[p] = true
	}
	for _, p := range found {
		if display := recordertest.DisplayOf(p.PID); display != "" {
			h.displays[display] = true
		}
	}
	return found
}

// sessions lists the directories of sessions that are there.
func (h *home) sessions() []string {
	found, _ := filepath.Glob(filepath.Join(h.tmp, "tapedeck-*", "s-*"))
	return found
}

// displayFiles lists locks and sockets of displays of ours that are there.
func (h *home) displayFiles() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var left []string
	for display := range h.displays {
		left = append(left, recordertest.StaleDisplay(h.t, display)...)
	}
	return left
}

// vanish is how long what a recording started may take to be gone after its end
// or death. An orphaned child has 15 s to finalise.
const vanish = 20 * time.Second

// requireNothingLeft waits until no process, directory, lock or socket of ours
// is there, but for the processes that keep.
func (h *home) requireNothingLeft(keep ...*command) {
	h.t.Helper()
	mine := func(p recordertest.Process) bool {
		for _, c := range keep {
			if c.pid() == p.PID {
				return true
			}
		}
		return false
	}
	recordertest.AwaitNone(h.t, vanish, func() []string {
		var left []string
		h.mu.Lock()
		for p := range h.seen {
			if !mine(p) && p.Alive() {
				left = append(left, p.String())
			}
		}
		h.mu.Unlock()
		if len(left) > 0 {
			return left
		}
		for _, p := range recordertest.Processes(h.t, h.tmp) {
			if !mine(p) {
				left = append(left, p.String())
			}
		}
		return append(append(left, h.sessions()...), h.displayFiles()...)
	})
}

// end ends what still runs, sees that it is gone, and says what it said when the test failed.
func (h *home) end() {
	h.look()
	h.mu.Lock()
	commands := h.commands
	h.mu.Unlock()
	for _, c := range commands {
		c.kill()
	}
	h.requireNothingLeft()
	if h.t.Failed() {
		for _, c := range commands {
			h.t.Logf("%s\n%s", c, lastLines(c.stderr.String(), 40))
		}
		logs, _ := filepath.Glob(h.path("*", "*", "job.log"))
		for _, log := range logs {
			text, _ := os.ReadFile(log)
			h.t.Logf("%s\n%s", log, lastLines(string(text), 40))
		}
	}
	assert.NoError(h.t, os.RemoveAll(h.tmp))
	if os.Getenv("TAPEDECK_E2E_KEEP") == "" {
		assert.NoError(h.t, os.RemoveAll(h.dir))
	}
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) > n {
		lines = append([]string{fmt.Sprintf("… %d lines", len(lines)-n)}, lines[len(lines)-n:]...)
	}
	return strings.Join(lines, "\n")
}
