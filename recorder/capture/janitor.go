package capture

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"tapedeck/recorder"
)

// janitorScript is what is left when we are killed: it holds the reading end of
// a pipe whose other end only we have. While it can read it keeps the account
// of what a session owns; at end of file, because we closed the session or
// because we are gone, it ends the groups that are left and removes the paths.
//
// A group is struck off before its leader is reaped, so its id cannot be
// anybody else's. A display's socket is removed only when nobody listens on it:
// after our server ended, the next session may have taken the number. (A server
// that chooses its number itself writes no lock file.)
const janitorScript = `
trap '' HUP INT QUIT TERM
groups=' ' display=
set --
while IFS= read -r line; do
	value=${line#* }
	case $line in
	'group '*) groups="$groups$value " ;;
	'ended '*) case $groups in *" $value "*) groups="${groups%%" $value "*} ${groups#*" $value "}" ;; esac ;;
	'display '*) display=$value ;;
	'path '*) set -- "$@" "$value" ;;
	esac
done
alive() {
	for g in $groups; do kill -s 0 -- "-$g" && return 0; done
	return 1
}
bury() {
	for g in $groups; do kill -s "$1" -- "-$g"; done
	turns=0
	while [ $turns -lt 20 ] && alive; do sleep 0.1; turns=$((turns + 1)); done
}
if alive; then bury TERM; fi
if alive; then bury KILL; fi
if [ $# -gt 0 ]; then
	for stray in $(grep -lszxF "TAPEDECK_SESSION=$1" /proc/[0-9]*/environ); do
		stray=${stray#/proc/}
		kill -s KILL "${stray%/environ}"
	done
fi
socket=/tmp/.X11-unix/X$display
if [ -n "$display" ] && [ -e "$socket" ] && ! grep -q " $socket\$" /proc/net/unix; then
	rm -f "$socket"
fi
turns=0
until rm -rf -- "$@" || [ $turns -ge 20 ]; do sleep 0.1; turns=$((turns + 1)); done
`

// janitor cleans up after a session, also when we are killed.
type janitor struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it ended
	err  error         // valid after done

	mu   sync.Mutex
	pipe io.WriteCloser
}

func startJanitor() (*janitor, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, recorder.Errorf(recorder.CodeUnavailable, "starting a session's janitor: %w", err)
	}
	defer r.Close()
	j := &janitor{cmd: exec.Command("/bin/sh", "-c", janitorScript, "tapedeck-janitor"), done: make(chan struct{}), pipe: w}
	j.cmd.Stdin = r
	j.cmd.Dir = "/"
	j.cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
	// A session of its own: what is sent to our group, by a terminal or a
	// supervisor, is not meant for it.
	j.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := j.cmd.Start(); err != nil {
		_ = w.Close()
		return nil, recorder.Errorf(recorder.CodeUnavailable, "starting a session's janitor: %w", err)
	}
	go j.wait()
	return j, nil
}

func (j *janitor) wait() {
	defer close(j.done)
	j.err = j.cmd.Wait()
}

func (j *janitor) note(format string, args ...any) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := fmt.Fprintf(j.pipe, format+"\n", args...); err != nil {
		return recorder.Errorf(recorder.CodeSessionDied, "the session's janitor is gone: %w", err)
	}
	return nil
}

// path registers a file or directory to be removed; the first is the session's own.
func (j *janitor) path(p string) error { return j.note("path %s", p) }

// group registers a process group; ended strikes it off.
func (j *janitor) group(pgid int) error { return j.note("group %d", pgid) }
func (j *janitor) ended(pgid int)       { _ = j.note("ended %d", pgid) }

// display registers the socket of an X server.
func (j *janitor) display(number string) error { return j.note("display %s", number) }

// finish lets it clean up and waits for it; it bounds itself.
func (j *janitor) finish() error {
	j.mu.Lock()
	_ = j.pipe.Close()
	j.mu.Unlock()
	<-j.done
	return j.err
}
