package capture

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The names of sessions' directories: while one is made, and once its lock is held.
const (
	dirMaking = "new-"
	dirPrefix = "s-"
)

// makeDir makes a session's directory. It is locked for as long as the file is open, which is
// not longer than we live, so that others can tell whether it is of use to anybody.
func makeDir(base string) (dir string, lock *os.File, err error) {
	making, err := os.MkdirTemp(base, dirMaking)
	if err != nil {
		return "", nil, err
	}
	fail := func(err error) (string, *os.File, error) { return "", nil, errors.Join(err, os.RemoveAll(making)) }
	if lock, err = lockDir(making); err != nil {
		return fail(err)
	}
	dir = filepath.Join(base, dirPrefix+strings.TrimPrefix(filepath.Base(making), dirMaking))
	if err := os.Rename(making, dir); err != nil {
		return fail(errors.Join(err, lock.Close()))
	}
	return dir, lock, nil
}

// lockDir locks a directory, if nobody has. Whoever may write in it cannot put anything
// else in its place.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// sweepDirs removes what sessions left that had no janitor in the end: a power cut, or a
// container that was killed, takes that as well.
func sweepDirs(base string) {
	found, err := os.ReadDir(base)
	if err != nil {
		return
	}
	for _, d := range found {
		if d.IsDir() && (strings.HasPrefix(d.Name(), dirPrefix) || strings.HasPrefix(d.Name(), dirMaking) && isOld(d)) {
			sweepDir(filepath.Join(base, d.Name()))
		}
	}
}

// Sweep removes what earlier sessions left, as the next one would: for a worker that starts
// where one was killed with everything around it, and may wait long for its next job.
func Sweep(opts Options) {
	account, err := opts.account()
	if err != nil {
		return // no session was ever open here
	}
	if base, err := opts.runtimeBase(account); err == nil {
		sweepDirs(base)
	}
}

// isOld tells what somebody left from what somebody is about to lock.
func isOld(d os.DirEntry) bool {
	info, err := d.Info()
	return err == nil && time.Since(info.ModTime()) > time.Hour
}

func sweepDir(dir string) {
	lock, err := lockDir(dir)
	if err != nil {
		return // somebody's, or gone
	}
	defer lock.Close()
	endStrays(dir)
	removeDisplay(dir)
	_ = os.RemoveAll(dir) // what stays is tried again with the next session
}

// displayFile, in a session's directory, holds the number of its X display: an X server that
// is killed leaves its socket.
const displayFile = "display"

func noteDisplay(dir, number string) error {
	return writeNew(filepath.Join(dir, displayFile), []byte(number))
}

// writeNew writes a file that nobody has put there before us, nor a link: a session's directory is
// Chrome's user's.
func writeNew(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

// removeDisplay removes the socket of a dead session's display, unless another server has
// taken the number since. X servers hold an abstract socket as well, first: while we hold it,
// none begins to listen under this number.
func removeDisplay(dir string) {
	number, err := readDisplay(filepath.Join(dir, displayFile))
	if err != nil {
		return
	}
	socket := socketOf(strconv.FormatUint(uint64(number), 10))
	held, err := net.Listen("unix", "@"+socket)
	if err != nil {
		return
	}
	defer held.Close()
	conn, err := net.Dial("unix", socket)
	switch {
	case err == nil:
		_ = conn.Close()
	case errors.Is(err, unix.ECONNREFUSED): // nobody listens
		_ = os.Remove(socket)
	}
}

// readDisplay reads what noteDisplay wrote. The directory was Chrome's user's, which may
// have put anything in its place.
func readDisplay(file string) (uint16, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return 0, errors.Join(err, errors.ErrUnsupported)
	}
	text, err := io.ReadAll(io.LimitReader(f, 8))
	if err != nil {
		return 0, err
	}
	number, err := strconv.ParseUint(string(text), 10, 16)
	return uint16(number), err
}
