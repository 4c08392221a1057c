package child

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"tapedeck/recorder"
)

// LogName is the file in a task's directory that keeps its child's log.
const LogName = "job.log"

// Runner runs each task in a child process. It is a recorder.Runner.
type Runner struct {
	// Command is the child's binary and arguments. It must call Serve with its
	// stdin and file descriptor 3.
	Command []string
	// Env is the child's whole environment; nil is our own. The child works for a
	// web page and C libraries, so what is secret in a worker's is not for it.
	Env []string
	// Settings are handed to every child as they are.
	Settings json.RawMessage
	// KillAfter is how long a child may take to end after it was told to; 60 s when zero.
	KillAfter time.Duration
	// Silence is how long an active child may send no report before it is taken
	// for hung and killed; 8 s when zero. A healthy one reports every second.
	Silence time.Duration
	// StartSlack is how much longer than its own limits allow a child may take to
	// record or to give up, before it is taken for hung; 60 s when zero.
	StartSlack time.Duration
	Now        func() time.Time
	Log        *zap.Logger
}

// Run starts the child and follows it. When the child dies, the answer is what
// it left in task.Dir, with an error of CodeChildDied.
func (r *Runner) Run(ctx context.Context, task recorder.Task, commands <-chan recorder.Command, report func(recorder.Recording)) recorder.Recording {
	last := task.Recording
	p, err := r.start(task)
	if err != nil {
		return r.salvage(task, last, recorder.Errorf(recorder.CodeUnavailable, "the recording's process did not start: %w", err))
	}
	following := p.follow(ctx, r.killAfter(), commands)
	hung := patience{act: func() {
		p.log.Error("the recording's process is silent, or does not get to record: killing it")
		p.kill()
	}}
	hung.give(r.startSlack() + task.Job.Limits.Starting())
	defer hung.end()
	final := false
	p.eachAnswer(func(a answer) {
		last, final = a.Recording, a.Final
		active, ending := last.Status == recorder.StatusActive, final || last.Status == recorder.StatusEnding
		if active || ending {
			hung.end()
		}
		if !final {
			report(last) // may wait for a disk or for Redis, which is no silence of the child's
		}
		switch {
		case ending:
			p.expectEnd()
		case active:
			hung.give(r.silence())
		}
	})
	p.expectEnd()
	<-p.exited
	<-following
	<-p.logged
	if final {
		return last
	}
	return r.salvage(task, last, recorder.Errorf(recorder.CodeChildDied, "the recording's process died: %s", describe(p.err)))
}

func (r *Runner) killAfter() time.Duration {
	if r.KillAfter > 0 {
		return r.KillAfter
	}
	return time.Minute
}

func (r *Runner) startSlack() time.Duration {
	if r.StartSlack != 0 {
		return r.StartSlack
	}
	return time.Minute
}

func (r *Runner) silence() time.Duration {
	if r.Silence > 0 {
		return r.Silence
	}
	return 8 * time.Second
}

func (r *Runner) salvage(task recorder.Task, last recorder.Recording, cause *recorder.Error) recorder.Recording {
	return recorder.Salvage(last, task.Dir, cause, recorder.EndChildDied, r.Now().UnixNano())
}

func describe(err error) string {
	if err == nil {
		return "it ended by itself, without an answer"
	}
	return err.Error()
}

// process is one child.
type process struct {
	cmd       *exec.Cmd
	stdin     *os.File
	report    *os.File
	stderr    *os.File
	expectEnd func()        // closes ending, once
	ending    chan struct{} // the child has begun to end by itself
	logged    chan struct{} // its log is complete
	exited    chan struct{} // it is reaped, and err says how it went
	err       error
	scrub     secrets
	log       *zap.Logger
}

// secrets knows what must not get into the child's log: the job's own secrets,
// and those that updates bring. It belongs to keepLog and follow.
type secrets struct {
	mu    sync.Mutex
	job   recorder.Job
	added []string
	scrub recorder.Scrubber
}

func (s *secrets) learn(streamURLs []string) {
	if len(streamURLs) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.added = append(s.added, streamURLs...)
	s.scrub = s.scrub.With(s.job, s.added...)
}

func (s *secrets) text(t string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.scrub.Text(t)
}

func (r *Runner) start(task recorder.Task) (*process, error) {
	p := &process{
		ending: make(chan struct{}), logged: make(chan struct{}), exited: make(chan struct{}),
		log:   r.Log.With(zap.String("job", task.Job.ID)),
		scrub: secrets{job: task.Job, scrub: task.Scrubber()},
	}
	p.expectEnd = sync.OnceFunc(func() { close(p.ending) })
	if err := p.spawn(r.Command, r.Env); err != nil {
		return nil, err
	}
	go p.reap()
	go p.keepLog(filepath.Join(task.Dir, LogName))
	task.Job = withoutStorage(task.Job)
	if err := p.send(hello{Task: task, Settings: r.Settings}); err != nil {
		// It has ended, and how says more than this, or it never reads.
		p.log.Warn("the recording's process did not take its task", zap.Error(err))
		p.kill()
	}
	return p, nil
}

// spawn starts the child. Its pipes are our own files, and not those of
// exec.Cmd, because only these have deadlines.
func (p *process) spawn(command, env []string) (err error) {
	var ours, theirs []*os.File
	defer func() {
		for _, f := range theirs {
			err = errors.Join(err, f.Close())
		}
		if p.cmd == nil {
			for _, f := range ours {
				err = errors.Join(err, f.Close())
			}
		}
	}()
	for range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		ours, theirs = append(ours, r), append(theirs, w)
	}
	ours[0], theirs[0] = theirs[0], ours[0] // stdin goes the other way
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = env
	cmd.Stdin, cmd.Stderr, cmd.ExtraFiles = theirs[0], theirs[1], []*os.File{theirs[2]}
	// No Pdeathsig: an orphan sees the end of stdin and finalises its file.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmd, p.stdin, p.stderr, p.report = cmd, ours[0], ours[1], ours[2]
	return nil
}

// withoutStorage keeps from the child what only the delivery needs: its process
// works for a web page and C libraries.
func withoutStorage(job recorder.Job) recorder.Job {
	job = job.Clone()
	for i := range job.Files {
		job.Files[i].Storage, job.Files[i].UploadURL = recorder.Storage{}, ""
	}
	for i := range job.Segments {
		job.Segments[i].Storage = recorder.Storage{}
	}
	for i := range job.Images {
		job.Images[i].Storage = recorder.Storage{}
	}
	job.Backup, job.Webhooks = nil, nil
	return job
}

const (
	longestAnswer = 4 << 20
	longestLog    = 64 << 10
	// A cut may go through a secret, which its scrubber then does not know.
	cutMargin = 16 << 10
)

func (p *process) eachAnswer(take func(answer)) {
	defer p.report.Close()
	eachLine(lastWords{p.report}, longestAnswer, func(line []byte, cut bool) {
		var a answer
		if err := json.Unmarshal(line, &a); err != nil {
			p.log.Warn("a line of the recording's process is no report", zap.Int("bytes", len(line)), zap.Bool("cut", cut))
			return
		}
		take(a)
	})
}

// keepLog writes the child's stderr, scrubbed, to the job's log.
func (p *process) keepLog(path string) {
	defer close(p.logged)
	defer p.stderr.Close()
	to, err := openJobLog(path, mostLog)
	if err != nil {
		p.log.Error("the job's log cannot be kept", zap.Error(err))
	} else {
		defer func() { _ = to.close() }()
	}
	eachLine(lastWords{p.stderr}, longestLog, func(line []byte, cut bool) {
		text := p.scrub.text(string(line))
		if cut {
			text = strings.ToValidUTF8(text[:max(len(text)-cutMargin, 0)], "") + "… (cut)"
		}
		if to != nil {
			to.line(text)
		}
		p.log.Debug("child", zap.String("line", text))
	})
}

// follow forwards commands and the end of ctx, and kills a child that does not
// end in time. The answer is closed when it does no more.
func (p *process) follow(ctx context.Context, killAfter time.Duration, commands <-chan recorder.Command) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer p.stdin.Close()
		ctxDone, ending := ctx.Done(), p.ending
		var deadline <-chan time.Time
		mustEnd := func() {
			if deadline == nil { // a further stop gives no further time
				deadline = time.After(killAfter)
			}
		}
		for {
			select {
			case <-p.exited:
				return
			case <-ending:
				ending = nil
				mustEnd()
			case <-ctxDone:
				ctxDone = nil
				mustEnd()
				p.tell(line{Cancel: stopFor(ctx)})
			case c, ok := <-commands:
				if !ok {
					commands = nil
					continue
				}
				if c.Kind == recorder.CommandStop {
					mustEnd()
				}
				p.scrub.learn(c.Update.AddStreamURLs)
				p.tell(line{Command: c})
			case <-deadline:
				p.log.Error("the recording's process did not end in time: killing it")
				p.kill()
			}
		}
	}()
	return done
}

func stopFor(ctx context.Context) *recorder.Stop {
	var stop recorder.Stop
	errors.As(context.Cause(ctx), &stop) // without one, somebody just wanted an end
	return &stop
}

func (p *process) tell(l line) {
	if err := p.send(l); err != nil {
		p.log.Warn("the recording's process takes no commands", zap.Error(err))
	}
}

// sendTimeout bounds a write to a child that does not read.
const sendTimeout = 10 * time.Second

func (p *process) send(v any) error {
	if err := p.stdin.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return err
	}
	return json.NewEncoder(p.stdin).Encode(v)
}

// reap waits for the child and ends what is left of its group while the child's
// pid cannot be given to anybody else.
func (p *process) reap() {
	defer close(p.exited)
	for {
		err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.kill()
	p.err = p.cmd.Wait()
	until := time.Now().Add(drainTime)
	// Errors: closed already, which is what the deadline is for.
	_ = p.report.SetReadDeadline(until)
	_ = p.stderr.SetReadDeadline(until)
}

func (p *process) kill() {
	// ESRCH: the group is gone already.
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
}
