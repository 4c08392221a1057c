//go:build bench

package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

// take is one recording and what its processes used while it ran.
type take struct {
	file  string
	rec   recorder.Recording
	began time.Time // of the command
	ended time.Time // of the command
	span  time.Duration
	// During span, which is the middle of the recording, in seconds of CPU: what the
	// recording used, and everything that ran on the machine.
	used    usage
	machine float64
}

// record runs `tapedeck record` for the length that was asked for.
func record(t *testing.T, env []string, args ...string) take {
	t.Helper()
	r := take{file: filepath.Join(t.TempDir(), "out.mp4"), span: time.Duration(*seconds-3) * time.Second}
	args = append([]string{"record", "-o", r.file, "--json", "--log-format", "json", "--duration", fmt.Sprintf("%ds", *seconds)}, args...)
	cmd := exec.Command(*binary, args...)
	cmd.Env = append(os.Environ(), env...)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	r.began = time.Now()
	require.NoError(t, cmd.Start())
	active := make(chan struct{})
	go followLog(stderr, active)
	select {
	case <-active:
	case <-time.After(time.Minute):
		_ = cmd.Process.Signal(os.Interrupt)
		require.FailNow(t, "the recording is not active after a minute")
	}
	before, err := measure(cmd.Process.Pid)
	require.NoError(t, err)
	machine := machineSeconds(t)
	time.Sleep(r.span) // the measured span itself
	r.machine = machineSeconds(t) - machine
	after, err := measure(cmd.Process.Pid)
	require.NoError(t, err)
	r.used = after.since(before)
	require.NoError(t, json.NewDecoder(stdout).Decode(&r.rec))
	require.NoError(t, cmd.Wait())
	r.ended = time.Now()
	return r
}

// machineSeconds is what all processors have worked so far (proc(5), /proc/stat).
func machineSeconds(t *testing.T) float64 {
	t.Helper()
	stat, err := os.ReadFile("/proc/stat")
	require.NoError(t, err)
	const user, idle, iowait, softirq = 1, 4, 5, 7
	ticks := 0.0
	for i, field := range strings.Fields(string(stat))[user : softirq+1] {
		if n := i + user; n != idle && n != iowait {
			value, err := strconv.ParseFloat(field, 64)
			require.NoError(t, err)
			ticks += value
		}
	}
	return ticks / ticksPerSecond
}

// toFirstFrame is how long who ran the command waited for the first picture.
func (r take) toFirstFrame() time.Duration {
	return time.Unix(0, r.rec.StartedAt).Sub(r.began).Round(10 * time.Millisecond)
}

// toFile is how long after the last picture the file was whole and in its place.
func (r take) toFile() time.Duration {
	return r.ended.Sub(time.Unix(0, r.rec.EndedAt)).Round(10 * time.Millisecond)
}

// followLog closes active when the log says so, and passes on what is no log.
func followLog(r io.Reader, active chan<- struct{}) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var entry struct{ Msg string }
		switch {
		case json.Unmarshal(lines.Bytes(), &entry) != nil:
			fmt.Fprintln(os.Stderr, strings.TrimSpace(lines.Text()))
		case entry.Msg == "active" && active != nil:
			close(active)
			active = nil
		}
	}
}
