package rehearsal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"go.uber.org/zap"

	"tapedeck/recorder"
)

// errPortTaken says that a port was taken by somebody else after it had been found free.
var errPortTaken = errors.New("the port is taken")

// serverLife is one process of a Server.
type serverLife struct {
	cmd   *exec.Cmd
	tail  *logTail
	ended chan struct{} // closed when the process is gone and its log read
}

// startLife starts the server. The configuration, which holds the secret, goes
// through a pipe: it is in no file that a crash could leave behind.
func startLife(o ServerOptions, config []byte, secrets ...string) (*serverLife, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, recorder.Errorf(recorder.CodeUnavailable, "starting livekit-server: %w", err)
	}
	defer r.Close()
	// A pipe holds 64 KiB before anybody reads it.
	_, err = w.Write(config)
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, recorder.Errorf(recorder.CodeUnavailable, "configuring livekit-server: %w", err)
	}
	l := &serverLife{
		cmd: exec.Command(o.Binary, "--config", "/dev/fd/3"), ended: make(chan struct{}),
		tail: &logTail{log: o.Log, hide: redactor(secrets)},
	}
	l.cmd.ExtraFiles = []*os.File{r}
	l.cmd.Stdout, l.cmd.Stderr = l.tail, l.tail
	// Not ours: LIVEKIT_* and others would change the configuration.
	l.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "TZ=" + os.Getenv("TZ")}
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go l.run(started)
	if err := <-started; err != nil {
		return nil, recorder.Errorf(recorder.CodeUnavailable, "starting %s: %w", o.Binary, err)
	}
	return l, nil
}

// run starts the process and waits for it, on one thread: the death signal comes
// when the thread that forked ends, not the process (prctl(2), PR_SET_PDEATHSIG).
func (l *serverLife) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := l.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	_ = l.cmd.Wait()
	close(l.ended)
}

// kill returns when the process is gone. It has no children.
func (l *serverLife) kill() {
	_ = l.cmd.Process.Kill()
	<-l.ended
}

// obituary is for a server that ended by itself; it is valid after ended.
func (l *serverLife) obituary() error {
	if l.tail.has("address already in use") {
		return recorder.Errorf(recorder.CodeUnavailable, "livekit-server: %w", errPortTaken)
	}
	return recorder.Errorf(recorder.CodeUnavailable, "livekit-server ended: %s%s", l.cmd.ProcessState, l.tail.suffix())
}

func redactor(secrets []string) *strings.Replacer {
	var pairs []string
	for _, s := range secrets {
		pairs = append(pairs, s, "{…}")
	}
	return strings.NewReplacer(pairs...)
}

// logTail keeps the last lines of a log and passes all of them on.
type logTail struct {
	log  *zap.Logger
	hide *strings.Replacer

	mu    sync.Mutex
	part  []byte // of a line that has not ended
	lines []string
}

const (
	tailLines   = 20
	longestLine = 400
)

// Write takes a piece of the log.
func (t *logTail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.part = append(t.part, p...)
	for {
		line, rest, found := bytes.Cut(t.part, []byte("\n"))
		if !found && len(line) < longestLine {
			return len(p), nil
		}
		t.part = rest
		t.add(string(line))
	}
}

func (t *logTail) add(line string) {
	if len(line) > longestLine {
		line = strings.ToValidUTF8(line[:longestLine], "") + "…"
	}
	line = recorder.ScrubText(t.hide.Replace(strings.TrimSpace(line)))
	if line == "" {
		return
	}
	t.log.Debug("livekit-server", zap.String("line", line))
	t.lines = append(t.lines, line)
	if len(t.lines) > tailLines {
		t.lines = t.lines[1:]
	}
}

// has reports whether one of the last lines holds the text.
func (t *logTail) has(text string) bool { return strings.Contains(t.suffix(), text) }

// suffix is the end of the log, for the end of an error.
func (t *logTail) suffix() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := t.lines
	if len(t.part) > 0 {
		lines = append(lines[:len(lines):len(lines)], t.hide.Replace(string(t.part)))
	}
	if len(lines) == 0 {
		return ""
	}
	return fmt.Sprintf(": its log ends in\n%s", strings.Join(lines, "\n"))
}
