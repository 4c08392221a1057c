package upload

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/gofrs/flock"

	"tapedeck/recorder"
)

// ErrUndelivered is why Free keeps an entry.
var ErrUndelivered = errors.New("media in the spool are not delivered")

// entry implements recorder.SpoolEntry.
type entry struct {
	spool *Spool
	lock  *flock.Flock

	mu    sync.Mutex // guards what follows
	task  recorder.Task
	saved recorder.Recording

	growths map[int]*growth // files that are followed, by their number
}

// Task gives the task with the recording as last saved.
func (e *entry) Task() recorder.Task {
	e.mu.Lock()
	defer e.mu.Unlock()
	task := e.task
	task.Recording = e.saved.Clone()
	return task
}

// Save replaces recording.json and waits until it is on disk.
func (e *entry) Save(rec recorder.Recording) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	err := writeJSON(e.path(recordingFile), rec)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		// A full disk must not keep what is delivered from being noted and removed.
		if os.Remove(e.path(reserveFile)) == nil {
			err = writeJSON(e.path(recordingFile), rec)
		}
	}
	if err != nil {
		return spoolError(err)
	}
	e.saved = rec.Clone()
	return nil
}

func (e *entry) path(name string) string { return filepath.Join(e.task.Dir, name) }

// Free removes the entry, or all of it but the log with Options.KeepLogs. An
// error that Is ErrUndelivered when media are left; then nothing is removed. The
// entry is unlocked either way.
func (e *entry) Free() error {
	followed := e.release()
	e.mu.Lock()
	defer e.mu.Unlock()
	err := e.free()
	if err == nil {
		for _, g := range followed {
			g.abandon(g.life)
		}
	}
	return errors.Join(err, e.lock.Close())
}

func (e *entry) free() error {
	if left := e.undelivered(); len(left) > 0 {
		return spoolError(fmt.Errorf("%s: %w", strings.Join(left, ", "), ErrUndelivered))
	}
	if err := e.remove(); err != nil {
		return spoolError(err)
	}
	err := syncDir(e.spool.dir)
	e.spool.pruneLogs()
	return err
}

// undelivered names the media that no verified copy exists of. It trusts the
// state on disk, not the caller's. Media nobody has a result of count as well.
func (e *entry) undelivered() []string {
	freed := map[string]bool{}
	for i, f := range e.saved.Files {
		freed[recorder.MediaName(i, f)] = f.State == recorder.FileDelivered
	}
	for i, r := range e.saved.Segments {
		freed[recorder.SegmentsDir(i)] = r.State == recorder.FileDelivered
	}
	for i, r := range e.saved.Images {
		freed[recorder.ImagesDir(i)] = r.State == recorder.FileDelivered
	}
	found, err := os.ReadDir(e.task.Dir)
	if err != nil {
		return []string{err.Error()}
	}
	var left []string
	for _, d := range found {
		if !isMedia(d) || freed[d.Name()] || (d.IsDir() && !e.holdsClosed(d.Name())) {
			continue
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() && info.Size() == 0 {
			continue
		}
		left = append(left, d.Name())
	}
	return append(left, e.gone()...)
}

// holdsClosed reports whether a series' directory holds a closed file.
func (e *entry) holdsClosed(dir string) bool {
	found := false
	err := filepath.WalkDir(e.path(dir), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !strings.HasSuffix(d.Name(), recorder.PartSuffix) {
			found = true
			return fs.SkipAll
		}
		return err
	})
	return found || err != nil
}

func (e *entry) remove() error {
	found, err := os.ReadDir(e.task.Dir)
	if err != nil {
		return err
	}
	// Media while recording.json still says that they are delivered, task.json next,
	// for without it the entry is no more, and the lock last.
	rank := func(d fs.DirEntry) int {
		switch {
		case isMedia(d):
			return 0
		case d.Name() == taskFile:
			return 1
		case d.Name() == lockFile:
			return 3
		default:
			return 2
		}
	}
	slices.SortStableFunc(found, func(a, b fs.DirEntry) int { return rank(a) - rank(b) })
	keep := e.spool.opts.KeepLogs > 0
	for _, d := range found {
		if keep && isLog(d.Name()) {
			continue
		}
		if err := os.RemoveAll(e.path(d.Name())); err != nil {
			return err
		}
	}
	if keep {
		return syncDir(e.task.Dir)
	}
	return os.Remove(e.task.Dir)
}

func isLog(name string) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".log", ".png", ".jpg", ".jpeg":
		return true
	default:
		return name == recordingFile
	}
}

// Close unlocks the entry; Left finds it again.
func (e *entry) Close() error {
	e.release()
	return e.lock.Close()
}

// grown gives what was sent of a file while it grew, or nil.
func (e *entry) grown(i int) *growth {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.growths[i]
}

// release ends the senders of the files that were followed: of all, or of these.
func (e *entry) release(only ...int) (ended []*growth) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, g := range e.growths {
		if len(only) == 0 || slices.Contains(only, i) {
			g.close()
			delete(e.growths, i)
			ended = append(ended, g)
		}
	}
	return ended
}
