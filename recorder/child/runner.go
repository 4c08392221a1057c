package child

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"go.uber.org/zap"

	"tapedeck/recorder"
)

// LogName is the file in a task's directory that keeps its child's log.
const LogName = "job.log"

// Runner runs each task in a child process. It is a recorder.Runner.
type Runner struct {
	// Command is the child's binary and arguments. It must call Serve with its
	// stdin and file descriptor 3.
	Command []string
	// Settings are handed to every child as they are.
	Settings json.RawMessage
	// KillAfter is how long a child may take to end after it was told to; 60 s when zero.
	KillAfter time.Duration
	Now       func() time.Time
	Log       *zap.Logger
}

// Run starts the child and follows it. When the child dies, the answer is what
// it left in task.Dir, with an error of CodeChildDied.
func (r *Runner) Run(ctx context.Context, task recorder.Task, commands <-chan recorder.Command, report func(recorder.Recording)) recorder.Recording {
	last := task.Recording
	p, err := r.start(task)
	if err != nil {
		return r.salvage(task, last, recorder.Errorf(recorder.CodeUnavailable, "the recording's process did not start: %w", err))
	}
	answers := make(chan answer)
	go p.readAnswers(answers)
	stopping := p.follow(ctx, r.killAfter(), commands)
	final := false
	for a := range answers {
		last = a.Recording
		if final = a.Final; !final {
			report(last)
		}
	}
	err = p.wait()
	close(p.ended)
	<-stopping
	if final {
		return last
	}
	return r.salvage(task, last, recorder.Errorf(recorder.CodeChildDied, "the recording's process died: %s", describe(err)))
}

func (r *Runner) killAfter() time.Duration {
	if r.KillAfter > 0 {
		return r.KillAfter
	}
	return time.Minute
}

func (r *Runner) salvage(task recorder.Task, last recorder.Recording, cause *recorder.Error) recorder.Recording {
	return recorder.Salvage(last, task.Dir, cause, recorder.EndChildDied, r.Now().UnixNano())
}

func describe(err error) string {
	if err == nil {
		return "it ended without an answer"
	}
	return err.Error()
}

// process is one child.
type process struct {
	cmd    *exec.Cmd
	stdin  *json.Encoder
	pipe   io.Closer
	report *os.File
	logged chan struct{}
	ended  chan struct{}
	log    *zap.Logger
}

func (r *Runner) start(task recorder.Task) (*process, error) {
	reportR, reportW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer reportW.Close()
	cmd := exec.Command(r.Command[0], r.Command[1:]...)
	cmd.ExtraFiles = []*os.File{reportW}
	// No Pdeathsig: an orphan sees the end of stdin and finalises its file.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, errors.Join(err, reportR.Close())
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, errors.Join(err, reportR.Close())
	}
	p := &process{
		cmd: cmd, stdin: json.NewEncoder(stdin), pipe: stdin, report: reportR,
		logged: make(chan struct{}), ended: make(chan struct{}), log: r.Log.With(zap.String("job", task.Job.ID)),
	}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, reportR.Close())
	}
	go p.keepLog(stderr, filepath.Join(task.Dir, LogName), recorder.NewScrubber(task.Job))
	task.Job = withoutStorage(task.Job)
	if err := p.stdin.Encode(hello{Task: task, Settings: r.Settings}); err != nil {
		p.kill()
		<-p.logged
		return nil, errors.Join(fmt.Errorf("hand over the task: %w", err), cmd.Wait(), reportR.Close())
	}
	return p, nil
}

// withoutStorage keeps from the child what only the delivery needs: its process
// works for a web page and C libraries.
func withoutStorage(job recorder.Job) recorder.Job {
	job = job.Clone()
	for i := range job.Files {
		job.Files[i].S3, job.Files[i].UploadURL = nil, ""
	}
	return job
}

func (p *process) readAnswers(answers chan<- answer) {
	defer close(answers)
	dec := json.NewDecoder(p.report)
	for {
		var a answer
		if err := dec.Decode(&a); err != nil {
			return
		}
		answers <- a
	}
}

// keepLog writes the child's stderr, scrubbed, to the job's log.
func (p *process) keepLog(stderr io.Reader, path string, scrub recorder.Scrubber) {
	defer close(p.logged)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.log.Error("the job's log cannot be kept", zap.Error(err))
		_, _ = io.Copy(io.Discard, stderr)
		return
	}
	defer file.Close()
	lines := bufio.NewScanner(stderr)
	lines.Buffer(make([]byte, 0, 64<<10), 1<<20)
	for lines.Scan() {
		text := scrub.Text(lines.Text())
		fmt.Fprintln(file, text)
		p.log.Debug("child", zap.String("line", text))
	}
	_, _ = io.Copy(io.Discard, stderr) // a line beyond the buffer must not block the child
}

// follow forwards commands, turns the end of ctx into a stop, and kills a child
// that does not end in time. The answer is closed when it does no more.
func (p *process) follow(ctx context.Context, killAfter time.Duration, commands <-chan recorder.Command) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer p.pipe.Close()
		ctxDone := ctx.Done()
		var deadline <-chan time.Time
		for {
			select {
			case <-p.ended:
				return
			case <-ctxDone:
				ctxDone = nil
				deadline = time.After(killAfter)
				p.send(stopFor(ctx))
			case c, ok := <-commands:
				if !ok {
					commands = nil
					continue
				}
				if c.Kind == recorder.CommandStop {
					deadline = time.After(killAfter)
				}
				p.send(c)
			case <-deadline:
				p.log.Error("the recording's process did not end in time: killing it")
				p.kill()
			}
		}
	}()
	return done
}

func stopFor(ctx context.Context) recorder.Command {
	var stop recorder.Stop
	if errors.As(context.Cause(ctx), &stop) {
		return recorder.Command{Kind: recorder.CommandStop, Reason: stop.Reason, Now: stop.Now}
	}
	return recorder.Command{Kind: recorder.CommandStop, Reason: recorder.EndDrained}
}

func (p *process) send(c recorder.Command) {
	if err := p.stdin.Encode(line{Command: c}); err != nil {
		p.log.Warn("the recording's process takes no commands", zap.Error(err))
	}
}

// wait reaps the child after its report pipe ended. What it started is its own
// to end; its group is killed in case it could not.
func (p *process) wait() error {
	<-p.logged
	err := p.cmd.Wait()
	p.kill()
	return errors.Join(err, p.report.Close())
}

func (p *process) kill() {
	// ESRCH: the group is gone already.
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
}
