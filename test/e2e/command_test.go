package e2e

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// command is one run of a program.
type command struct {
	h              *home
	cmd            *exec.Cmd
	stdin          io.WriteCloser
	stdout, stderr *recordertest.Output
	done           chan struct{}
	code           int // valid after done; 128 + signal when killed
}

func (c *command) String() string { return strings.Join(c.cmd.Args, " ") }
func (c *command) pid() int       { return c.cmd.Process.Pid }

// start runs the binary in the background.
func (h *home) start(env []string, args ...string) *command {
	h.t.Helper()
	return h.startProgram(env, tapedeck, args...)
}

func (h *home) startProgram(env []string, name string, args ...string) *command {
	h.t.Helper()
	c := &command{h: h, cmd: exec.Command(name, args...), stdout: recordertest.NewOutput(), stderr: recordertest.NewOutput(), done: make(chan struct{})}
	c.cmd.Env, c.cmd.Dir = h.env(env...), h.dir
	c.cmd.Stdout, c.cmd.Stderr = c.stdout, c.stderr
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// What the command started may hold its pipes.
	c.cmd.WaitDelay = 5 * time.Second
	var err error
	c.stdin, err = c.cmd.StdinPipe()
	require.NoError(h.t, err)
	require.NoError(h.t, c.cmd.Start())
	h.mu.Lock()
	h.commands = append(h.commands, c)
	h.mu.Unlock()
	go func() {
		defer close(c.done)
		_ = c.cmd.Wait() // its status says it all
		status, _ := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
		c.code = status.ExitStatus()
		if status.Signaled() {
			c.code = 128 + int(status.Signal())
		}
	}()
	return c
}

func (c *command) signal(sig os.Signal) {
	c.h.t.Helper()
	if err := c.cmd.Process.Signal(sig); !errors.Is(err, os.ErrProcessDone) {
		require.NoError(c.h.t, err)
	}
}

// kill ends it as a crash would.
func (c *command) kill() {
	_ = c.cmd.Process.Kill()
	<-c.done
}

// wait gives the exit code, within the limit.
func (c *command) wait(limit time.Duration) int {
	c.h.t.Helper()
	select {
	case <-c.done:
	case <-time.After(limit):
		require.FailNow(c.h.t, "it does not end", "%s within %s\n%s", c, limit, lastLines(c.stderr.String(), 30))
	}
	c.requireCalm()
	return c.code
}

// requireCalm checks that it neither panicked nor raced nor lectured.
func (c *command) requireCalm() {
	c.h.t.Helper()
	for _, bad := range []string{"panic:", "goroutine ", "SIGSEGV", "DATA RACE", "CRITICAL **", "GLib-GObject"} {
		require.NotContains(c.h.t, c.stderr.String(), bad, "%s", c)
	}
}

// await waits until the output holds the text, and gives what followed it.
func (c *command) await(out *recordertest.Output, text string, limit time.Duration) string {
	c.h.t.Helper()
	return c.awaitLike(out, regexp.MustCompile(regexp.QuoteMeta(text)), limit)
}

// awaitLike waits until the output holds such a text, and gives what followed the first.
func (c *command) awaitLike(out *recordertest.Output, text *regexp.Regexp, limit time.Duration) string {
	c.h.t.Helper()
	deadline := time.After(limit)
	for {
		all, changed := out.Look()
		if at := text.FindStringIndex(all); at != nil {
			return all[at[1]:]
		}
		select {
		case <-changed:
		case <-c.done:
			if text.MatchString(out.String()) {
				continue
			}
			require.FailNow(c.h.t, "it ended", "%s: before it said %q\n%s", c, text, lastLines(c.stderr.String(), 30))
		case <-deadline:
			require.FailNow(c.h.t, "it does not say", "%s: %q within %s\n%s", c, text, limit, lastLines(c.stderr.String(), 30))
		}
	}
}

// result is a run that ended.
type result struct {
	code           int
	stdout, stderr string
}

const verbLimit = 30 * time.Second

// run runs the binary to its end, which must come soon.
func (h *home) run(args ...string) result { h.t.Helper(); return h.runWith("", nil, args...) }

func (h *home) runWith(stdin string, env []string, args ...string) result {
	h.t.Helper()
	c := h.start(env, args...)
	_, _ = io.WriteString(c.stdin, stdin) // it may have ended already
	_ = c.stdin.Close()
	code := c.wait(verbLimit)
	return result{code, c.stdout.String(), c.stderr.String()}
}

// recordStart bounds a session's start on a busy machine.
const recordStart = 45 * time.Second

// startRecord runs `tapedeck record` until it is active.
func (h *home) startRecord(args ...string) *command {
	h.t.Helper()
	c := h.start(nil, append([]string{"record", "--log-format", "json"}, args...)...)
	c.await(c.stderr, `"msg":"active"`, recordStart)
	h.look()
	return c
}

// record runs `tapedeck record --json` to its end, and gives its one JSON object.
func (h *home) record(limit time.Duration, args ...string) (recorder.Recording, *command) {
	h.t.Helper()
	c := h.startRecord(append([]string{"--json"}, args...)...)
	c.wait(limit)
	return c.recording(), c
}

// recording is the one JSON object on a command's stdout.
func (c *command) recording() recorder.Recording {
	c.h.t.Helper()
	var rec recorder.Recording
	dec := json.NewDecoder(strings.NewReader(c.stdout.String()))
	require.NoError(c.h.t, dec.Decode(&rec), "%s\nstdout: %q\n%s", c, c.stdout, lastLines(c.stderr.String(), 20))
	_, err := dec.Token()
	require.ErrorIs(c.h.t, err, io.EOF, "one JSON object on stdout: %s", c.stdout)
	return rec
}

// child finds the process of a worker's one recording.
func (c *command) child() recordertest.Process {
	c.h.t.Helper()
	var found []recordertest.Process
	for _, p := range c.h.look() {
		if p.Parent == c.pid() && strings.HasSuffix(p.Command, " child") {
			found = append(found, p)
		}
	}
	require.Len(c.h.t, found, 1, "one recording of %s", c)
	return found[0]
}

// killTree kills a worker and its recording's process at once, so that neither
// sees the other's death.
func (c *command) killTree() {
	c.h.t.Helper()
	child := c.child()
	require.NoError(c.h.t, syscall.Kill(c.pid(), syscall.SIGSTOP))
	require.NoError(c.h.t, syscall.Kill(child.PID, syscall.SIGKILL))
	c.kill()
}

// someMedia is about a second of the barcode page: a fragment of it is closed.
const someMedia = 8_000

// awaitFile waits until the file that matches is so large.
func (c *command) awaitFile(pattern string, size int64, limit time.Duration) {
	c.h.t.Helper()
	deadline := time.After(limit)
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for sizeOf(pattern) < size {
		select {
		case <-ticker.C:
		case <-c.done:
			require.FailNow(c.h.t, "it ended", "%s: before %s was large\n%s", c, pattern, lastLines(c.stderr.String(), 30))
		case <-deadline:
			require.FailNow(c.h.t, "it does not grow", "%s: %s to %d bytes within %s", c, pattern, size, limit)
		}
	}
}

// awaitMore waits until the file has grown by so much.
func (c *command) awaitMore(pattern string, by int64, limit time.Duration) {
	c.h.t.Helper()
	c.awaitFile(pattern, sizeOf(pattern)+by, limit)
}

func sizeOf(pattern string) int64 {
	found, _ := filepath.Glob(pattern)
	if len(found) == 0 {
		return 0
	}
	info, err := os.Stat(found[0])
	if err != nil {
		return 0
	}
	return info.Size()
}
