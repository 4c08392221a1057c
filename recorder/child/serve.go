package child

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"tapedeck/recorder"
)

// orphanTimeout is how long a child may take to finalise after its parent died.
const orphanTimeout = 15 * time.Second

// Prepare makes the runner of a task from the parent's settings.
type Prepare func(settings json.RawMessage, task recorder.Task) (recorder.Runner, error)

// Serve is the child's side: it reads a task and commands from in, has it run
// by what prepare gives, and writes reports to out. exit is called when an
// orphaned child does not end in time.
func Serve(ctx context.Context, in io.Reader, out io.Writer, prepare Prepare, exit func()) error {
	lines := bufio.NewReaderSize(in, 64<<10)
	stop := surviveParent(out)
	defer stop()
	var h hello
	if err := readLine(lines, &h); err != nil {
		return fmt.Errorf("read the task: %w", err)
	}
	lock := flock.New(filepath.Join(h.Task.Dir, recorder.MediaLock))
	defer lock.Close()
	switch ok, err := lock.TryLock(); {
	case err != nil:
		return fmt.Errorf("lock %s: %w", h.Task.Dir, err)
	case !ok:
		return fmt.Errorf("lock %s: somebody else records there", h.Task.Dir)
	}
	runner, err := prepare(h.Settings, h.Task)
	if err != nil {
		return fmt.Errorf("prepare the recorder: %w", err)
	}
	reports := newReporter(out)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	commands := make(chan recorder.Command, 16)
	go readCommands(lines, commands, cancel, exit)
	rec := runner.Run(ctx, h.Task, commands, func(rec recorder.Recording) { reports.tell(answer{Recording: rec}) })
	return reports.finish(answer{Recording: rec, Final: true})
}

// surviveParent keeps the parent's death from being the child's: a log line that
// nobody reads would end it by SIGPIPE before its file is finalised. Notify and
// not Ignore, for Chrome would inherit the latter. The report pipe is kept from
// what the child starts, so that its end is the child's.
func surviveParent(out io.Writer) (stop func()) {
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	if f, ok := out.(*os.File); ok {
		if raw, err := f.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { syscall.CloseOnExec(int(fd)) })
		}
	}
	return func() { signal.Stop(broken) }
}

// readCommands forwards what the parent says until stdin ends, which is the parent's death:
// then the recording is finalised at once.
func readCommands(lines *bufio.Reader, commands chan<- recorder.Command, cancel context.CancelCauseFunc, exit func()) {
	for {
		var l line
		err := readLine(lines, &l)
		switch {
		case err == nil && l.Cancel != nil:
			cancel(*l.Cancel)
		case err == nil:
			commands <- l.Command
		case errors.Is(err, errNoMessage):
			// The rest of a line its writer died in. The end follows.
		default:
			time.AfterFunc(orphanTimeout, exit)
			commands <- recorder.Command{Kind: recorder.CommandStop, Reason: recorder.EndWorkerLost, Now: true}
			return
		}
	}
}

var errNoMessage = errors.New("no message of the worker")

func readLine(lines *bufio.Reader, into any) error {
	data, err := lines.ReadBytes('\n')
	if err != nil && (!errors.Is(err, io.EOF) || len(data) == 0) {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%w: %w", errNoMessage, err)
	}
	return nil
}
