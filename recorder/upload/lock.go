package upload

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"tapedeck/recorder"
)

// A lock of the spool is exclusive for who works on an entry, and shared for who asks
// whether somebody does: those disturb nobody who asks as well, and keep nobody from
// work, who waits until they have seen.

const (
	// glance is longer than a worker has a lock that locks all it finds to choose from.
	glance = 200 * time.Millisecond
	// stalled is how long whoever only asks may have one: he is not expected to stop there.
	stalled  = 2 * time.Second
	askAgain = 5 * time.Millisecond
)

var errLocked = errors.New("locked by another process")

func newLock(dir string) *flock.Flock {
	return flock.New(filepath.Join(dir, lockFile), flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o600))
}

// seize takes a lock for work. It waits for those who ask; with patient, for a moment,
// also for one who may turn out not to work on it.
func seize(lock *flock.Flock, patient bool) (bool, error) {
	for began := time.Now(); ; time.Sleep(askAgain) {
		got, err := lock.TryLock()
		if got || err != nil {
			return got, err
		}
		waited := time.Since(began)
		if waited > stalled || (held(lock.Path()) && (!patient || waited > glance)) {
			return false, nil
		}
	}
}

// held reports whether somebody has a lock for himself.
func held(path string) bool {
	lock := flock.New(path, flock.SetFlag(os.O_RDWR))
	defer lock.Close()
	shared, err := lock.TryRLock()
	return err == nil && !shared
}

// stillRecorded reports whether a child that lost its worker finalises its media.
func stillRecorded(dir string) bool { return held(filepath.Join(dir, recorder.MediaLock)) }
