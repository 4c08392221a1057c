package capture

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tapedeck/recorder"
)

// launcher starts processes from one thread that lives as long as the session:
// the death signal of a child is sent when the thread that forked it ends, not
// the process (prctl(2), PR_SET_PDEATHSIG).
type launcher struct {
	work chan func()
	done chan struct{}
}

func startLauncher() *launcher {
	l := &launcher{work: make(chan func()), done: make(chan struct{})}
	go l.run()
	return l
}

func (l *launcher) run() {
	defer close(l.done)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for f := range l.work {
		f()
	}
}

func (l *launcher) start(cmd *exec.Cmd) error {
	result := make(chan error)
	l.work <- func() { result <- cmd.Start() }
	return <-result
}

func (l *launcher) stop() {
	close(l.work)
	<-l.done
}

// command describes a process of a session.
type command struct {
	name   string // for people: "Chrome"
	path   string
	args   []string
	env    []string
	dir    string
	as     account
	files  []*os.File        // descriptors 3 and up; ours are closed once it runs
	dies   syscall.Signal    // what it gets when we are gone
	onLine func(line string) // called for every line of its stderr
}

// process is one child, the leader of a process group.
type process struct {
	name string
	cmd  *exec.Cmd
	tail *tail
	jan  *janitor

	died chan struct{} // closed when the leader ended; its status is known then
	done chan struct{} // closed when the group is empty and everything is released

	mu     sync.Mutex
	reaped bool // the group's id may be anybody's
}

func startProcess(l *launcher, j *janitor, c command) (*process, error) {
	defer closeAll(c.files)
	r, w, err := os.Pipe()
	if err != nil {
		return nil, recorder.Errorf(recorder.CodeUnavailable, "starting %s: %w", c.name, err)
	}
	defer w.Close()
	p := &process{name: c.name, tail: &tail{}, jan: j, died: make(chan struct{}), done: make(chan struct{})}
	p.cmd = exec.Command(c.path, c.args...)
	p.cmd.Env, p.cmd.Dir, p.cmd.Stderr, p.cmd.ExtraFiles = c.env, c.dir, w, c.files
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: c.dies, Credential: c.as.credential()}
	if err := l.start(p.cmd); err != nil {
		_ = r.Close()
		return nil, recorder.Errorf(recorder.CodeUnavailable, "starting %s: %w", c.name, err)
	}
	read := make(chan struct{})
	go p.readLog(r, c.onLine, read)
	err = j.group(p.pid())
	go p.reap(r, read)
	if err != nil {
		p.signal(syscall.SIGKILL)
		<-p.done
		return nil, err
	}
	return p, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// readLog keeps the last lines of stderr.
func (p *process) readLog(r *os.File, onLine func(string), done chan<- struct{}) {
	defer close(done)
	lines := bufio.NewReaderSize(r, 16<<10)
	for {
		// What is longer than the buffer is cut into several lines.
		text, _, err := lines.ReadLine()
		if err != nil {
			return
		}
		line := strings.TrimSpace(string(text))
		if line == "" {
			continue
		}
		p.tail.add(line)
		if onLine != nil {
			onLine(line)
		}
	}
}

// reap waits for the leader, then ends what is left of the group. The leader is
// waited for in two steps: as long as it is a zombie the group's id is ours, so
// the group can be killed without hitting a stranger.
func (p *process) reap(log *os.File, read <-chan struct{}) {
	defer close(p.done)
	for errors.Is(unix.Waitid(unix.P_PID, p.pid(), nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
		continue
	}
	p.mu.Lock()
	_ = unix.Kill(-p.pid(), unix.SIGKILL)
	rest := groupMembers(p.pid())
	p.jan.ended(p.pid())
	p.reaped = true
	_ = p.cmd.Wait()
	p.mu.Unlock()
	close(p.died)

	awaitExits(rest, killWait)
	// A process that left the group may hold the pipe; it is not waited for.
	_ = log.SetReadDeadline(time.Now().Add(killWait))
	<-read
	_ = log.Close()
}

// How long to wait for a killed process to be gone.
const killWait = 2 * time.Second

// signal signals the whole group, unless it is gone.
func (p *process) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		_ = unix.Kill(-p.pid(), sig)
	}
}

// stop asks the process to end with ask, gives it some time, then kills its
// group. It returns when everything of it is gone.
func (p *process) stop(grace time.Duration, ask func()) {
	timer := time.NewTimer(grace)
	defer timer.Stop()
	ask()
	select {
	case <-p.died:
	case <-timer.C:
		p.signal(syscall.SIGKILL)
	}
	<-p.done
}

// has reports whether a process belongs to the group.
func (p *process) has(pid int) bool {
	group, err := unix.Getpgid(pid)
	return err == nil && group == p.pid()
}

func (p *process) terminate() { p.signal(syscall.SIGTERM) }

// obituary says how the process ended; it is valid after died.
func (p *process) obituary() *recorder.Error {
	message := fmt.Sprintf("%s ended: %s", p.name, p.cmd.ProcessState)
	if line := p.tail.telling(); line != "" {
		message += ": " + line
	}
	return &recorder.Error{Code: recorder.CodeSessionDied, Message: message}
}

// await waits for ready, which the process announces, or for its end.
func (p *process) await(ctx context.Context, ready <-chan struct{}) error {
	select {
	case <-ready:
		return nil
	case <-p.done:
		return recorder.Errorf(recorder.CodeUnavailable, "%s did not start: %w", p.name, p.obituary())
	case <-ctx.Done():
		return recorder.Errorf(recorder.CodeUnavailable, "%s is not ready: %w%s", p.name, context.Cause(ctx), p.tail.suffix())
	}
}

// groupMembers opens a handle on every living process of a group.
func groupMembers(pgid int) []unix.PollFd {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var members []unix.PollFd
	for _, e := range entries {
		var pid int
		if _, err := fmt.Sscan(e.Name(), &pid); err != nil || pid == pgid {
			continue
		}
		if group, err := unix.Getpgid(pid); err != nil || group != pgid {
			continue
		}
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			members = append(members, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		}
	}
	return members
}

// awaitExits waits until the processes of all handles ended, and closes them.
func awaitExits(members []unix.PollFd, limit time.Duration) {
	deadline := time.Now().Add(limit)
	for len(members) > 0 {
		left := time.Until(deadline)
		n, err := unix.Poll(members[:1], int(left.Milliseconds()))
		if errors.Is(err, unix.EINTR) && left > 0 {
			continue
		}
		if n == 0 || err != nil {
			break
		}
		_ = unix.Close(int(members[0].Fd))
		members = members[1:]
	}
	for _, m := range members {
		_ = unix.Close(int(m.Fd))
	}
}

// tail is the last lines of a log.
type tail struct {
	mu    sync.Mutex
	lines []string
}

const (
	tailLines   = 20
	longestLine = 400
)

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, cut(line, longestLine))
	if len(t.lines) > tailLines {
		t.lines = t.lines[1:]
	}
}

// telling gives the line that says most: the last fatal one, else the last that is
// no noise.
func (t *tail) telling() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := len(t.lines) - 1; i >= 0; i-- {
		if strings.Contains(t.lines[i], "FATAL") || strings.Contains(t.lines[i], "Fatal") {
			return recorder.ScrubText(t.lines[i])
		}
	}
	for _, line := range slices.Backward(t.lines) {
		if !strings.Contains(line, noise) {
			return recorder.ScrubText(line)
		}
	}
	return ""
}

// noise is what Chrome says all the time where there is no desktop.
const noise = ":ERROR:dbus/"

func (t *tail) all() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.lines)
}

func (t *tail) suffix() string {
	if line := t.telling(); line != "" {
		return ": " + line
	}
	return ""
}

// cut shortens text to so many bytes, at a rune's border.
func cut(text string, longest int) string {
	if len(text) <= longest {
		return text
	}
	return strings.ToValidUTF8(text[:longest], "") + "…"
}

// cutWords is cut for what a page says: the word at the cut goes as a whole, for
// half a secret is not known to be one.
func cutWords(text string, longest int) string {
	if len(text) <= longest {
		return text
	}
	const between = " \t\n\"'`<>"
	if strings.ContainsRune(between, rune(text[longest])) {
		return cut(text, longest)
	}
	return text[:strings.LastIndexAny(text[:longest], between)+1] + "…"
}

// plain gives text as recorder.PlainText does, with its words apart where a line or a tab parted them.
func plain(text string) string {
	return recorder.PlainText(strings.Map(func(r rune) rune {
		switch r {
		case '\t', '\n', '\r':
			return ' '
		}
		return r
	}, text))
}
