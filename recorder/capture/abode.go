package capture

import (
	"errors"
	"os"
	"path/filepath"
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
	_ = os.RemoveAll(dir) // what stays is tried again with the next session
}
