package upload

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"tapedeck/recorder"
)

// The files of an entry; media are named by recorder.MediaName.
const (
	lockFile      = "lock"
	taskFile      = "task.json"
	recordingFile = "recording.json"
	reserveFile   = "reserve" // room for recording.json on a full disk
	mediaPrefix   = "media-"
	newPrefix     = ".new-"

	reserveSize = 64 << 10
)

// Spool is a directory of entries. It implements recorder.Spool and is safe for
// concurrent use, also by several processes.
type Spool struct {
	dir   string
	opts  Options
	slots chan struct{} // one per file's upload that runs
	rest  chan struct{} // of what is left of series at the end, which cannot wait for large files
	told  sync.Map      // damaged entries that were logged
}

var (
	_ recorder.Spool    = (*Spool)(nil)
	_ recorder.Follower = (*entry)(nil)
)

// NewSpool opens the spool in dir and makes the directory when it is missing.
// An Error of CodeInvalid when dir is a place where recordings would be lost.
func NewSpool(dir string, opts Options) (*Spool, error) {
	if dir == "" {
		return nil, recorder.Errorf(recorder.CodeInvalid, "spool directory: none is given")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, recorder.Errorf(recorder.CodeInvalid, "spool directory %q: %w", dir, err)
	}
	opts = opts.withDefaults()
	if err := opts.Default.validate("storage"); err != nil {
		return nil, err
	}
	if err := opts.Backup.validate("storage.backup"); err != nil {
		return nil, err
	}
	if !opts.AllowTemp {
		if err := refuseTemp(abs); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return nil, recorder.Errorf(recorder.CodeInvalid, "spool directory: %w", err)
	}
	info, err := os.Stat(abs)
	if err != nil {
		return nil, recorder.Errorf(recorder.CodeInvalid, "spool directory: %w", err)
	}
	if info.Mode().Perm()&0o002 != 0 {
		return nil, recorder.Errorf(recorder.CodeInvalid, "spool directory %s: every user may write in it: chmod 700 %s", abs, abs)
	}
	if !opts.AllowTemp {
		if err := refuseMemory(abs); err != nil {
			return nil, err
		}
	}
	return &Spool{dir: abs, opts: opts, slots: make(chan struct{}, opts.Parallel), rest: make(chan struct{}, opts.Parallel)}, nil
}

// Dir is the spool's absolute path.
func (s *Spool) Dir() string { return s.dir }

// refuseTemp refuses directories that are cleaned behind everybody's back.
func refuseTemp(dir string) error {
	target := resolve(dir)
	for _, temp := range []string{os.TempDir(), "/tmp", "/var/tmp", "/dev/shm", "/run"} {
		if under(dir, temp) || under(target, resolve(temp)) {
			return recorder.Errorf(recorder.CodeInvalid,
				"spool directory %s: lies below %s, where files are deleted without asking: choose one such as /var/lib/tapedeck/spool", dir, temp)
		}
	}
	return nil
}

// refuseMemory refuses file systems that a restart empties.
func refuseMemory(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return recorder.Errorf(recorder.CodeInvalid, "spool directory %s: %w", dir, err)
	}
	if st.Type == unix.TMPFS_MAGIC || st.Type == unix.RAMFS_MAGIC {
		return recorder.Errorf(recorder.CodeInvalid,
			"spool directory %s: its file system is in memory and does not survive a restart: choose one on disk", dir)
	}
	return nil
}

// resolve follows the symbolic links of what exists of path.
func resolve(path string) string {
	rest := ""
	for p := path; ; p = filepath.Dir(p) {
		if target, err := filepath.EvalSymlinks(p); err == nil {
			return filepath.Join(target, rest)
		}
		if p == filepath.Dir(p) {
			return path
		}
		rest = filepath.Join(filepath.Base(p), rest)
	}
}

func under(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

var (
	validID   = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	entryName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}-[0-9]+(\.[0-9]+)?$`)
)

// Create makes the entry of one attempt and locks it. The directory appears
// under its name only when task.json is on disk and the lock is held, so that
// no other process sees half an entry.
func (s *Spool) Create(task recorder.Task) (recorder.SpoolEntry, error) {
	if !validID.MatchString(task.Job.ID) {
		return nil, recorder.Errorf(recorder.CodeInvalid, "job id %q: must be 1 to 64 characters of A-Z, a-z, 0-9, _ and -", task.Job.ID)
	}
	building, err := os.MkdirTemp(s.dir, newPrefix)
	if err != nil {
		return nil, spoolError(err)
	}
	lock := newLock(building)
	e, err := s.create(task, building, lock)
	if err != nil {
		_ = lock.Close()
		_ = os.RemoveAll(building)
		return nil, spoolError(err)
	}
	return e, nil
}

func (s *Spool) create(task recorder.Task, building string, lock *flock.Flock) (*entry, error) {
	if ok, err := lock.TryLock(); err != nil || !ok {
		return nil, fmt.Errorf("lock of a new entry: %w", errors.Join(err, errLocked))
	}
	e := &entry{spool: s, lock: lock, task: task, saved: task.Recording.Clone()}
	if err := writeFile(filepath.Join(building, reserveFile), make([]byte, reserveSize)); err != nil {
		return nil, err
	}
	write := func(dir string) error {
		e.task.Dir = dir
		if err := writeJSON(filepath.Join(building, recordingFile), task.Recording); err != nil {
			return err
		}
		// What a page enters a room with is of no use to whoever delivers.
		kept := e.task
		kept.Pass, kept.Job.Token = recorder.Pass{}, ""
		return writeJSON(filepath.Join(building, taskFile), kept)
	}
	base := fmt.Sprintf("%s-%d", task.Job.ID, max(task.Recording.Attempt, 1))
	// The same attempt may exist already when Redis lost its data and an id came again.
	for n := 1; ; n++ {
		dir := filepath.Join(s.dir, base)
		if n > 1 {
			dir = fmt.Sprintf("%s.%d", dir, n)
		}
		if err := write(dir); err != nil {
			return nil, err
		}
		err := os.Rename(building, dir)
		if errors.Is(err, fs.ErrExist) || errors.Is(err, unix.ENOTEMPTY) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return e, syncDir(s.dir)
	}
}

// Left lists and locks the entries that earlier processes left. An entry that
// cannot be read is logged, once, and stays as it is; it holds up no other.
func (s *Spool) Left() ([]recorder.SpoolEntry, error) {
	found, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, spoolError(err)
	}
	var left []recorder.SpoolEntry
	for _, d := range found {
		path := filepath.Join(s.dir, d.Name())
		switch {
		case d.IsDir() && strings.HasPrefix(d.Name(), newPrefix):
			s.sweepUnborn(path)
		case d.IsDir() && entryName.MatchString(d.Name()):
			e, err := s.open(path, false)
			if _, told := s.told.Load(path); err != nil && !told {
				s.told.Store(path, nil)
				s.opts.Log.Warn("entry of the spool is damaged and kept as it is", zap.String("entry", path), zap.Error(err))
			}
			if e != nil {
				left = append(left, e)
			}
		}
	}
	return left, nil
}

// open locks one entry and reads it. Neither an entry nor an error means:
// another process has it, or there is nothing in it to deliver.
func (s *Spool) open(dir string, patient bool) (*entry, error) {
	if !hasWork(dir) {
		return nil, nil
	}
	lock := newLock(dir)
	if ok, err := seize(lock, patient); err != nil || !ok {
		_ = lock.Close()
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return nil, err
	}
	if stillRecorded(dir) {
		return nil, lock.Close()
	}
	e, err := s.read(dir, lock)
	if e == nil {
		_ = lock.Close()
	}
	return e, err
}

func (s *Spool) read(dir string, lock *flock.Flock) (*entry, error) {
	// Whoever had the lock may have freed the entry in the meantime.
	if !hasWork(dir) {
		return nil, nil
	}
	e := &entry{spool: s, lock: lock}
	if err := readJSON(filepath.Join(dir, taskFile), &e.task); err != nil {
		return nil, err
	}
	if !validID.MatchString(e.task.Job.ID) {
		return nil, fmt.Errorf("%s: job id %q is not valid", taskFile, e.task.Job.ID)
	}
	if err := readJSON(filepath.Join(dir, recordingFile), &e.saved); err != nil {
		s.opts.Log.Warn("state of an entry is damaged; going on from the state at its start", zap.String("entry", dir), zap.Error(err))
		e.saved = e.task.Recording
	}
	e.task.Dir = dir
	return e, nil
}

// hasWork tells an entry from what Free leaves of it with KeepLogs.
func hasWork(dir string) bool {
	if _, err := os.Stat(filepath.Join(dir, taskFile)); err == nil {
		return true
	}
	found, err := os.ReadDir(dir)
	return err == nil && slices.ContainsFunc(found, isMedia)
}

// isMedia tells what a pipeline wrote from what lies beside it.
func isMedia(d fs.DirEntry) bool { return strings.HasPrefix(d.Name(), mediaPrefix) || isSeries(d) }

func isSeries(d fs.DirEntry) bool {
	return d.IsDir() && (strings.HasPrefix(d.Name(), segmentsPrefix) || strings.HasPrefix(d.Name(), imagesPrefix))
}

// sweepUnborn removes what a crash inside Create left: no media was ever in it.
func (s *Spool) sweepUnborn(dir string) {
	info, err := os.Stat(dir)
	if err != nil || time.Since(info.ModTime()) < time.Hour {
		return
	}
	lock := newLock(dir)
	defer lock.Close()
	if ok, err := lock.TryLock(); err == nil && ok {
		_ = os.RemoveAll(dir)
	}
}

// pruneLogs keeps the newest KeepLogs of the freed entries.
func (s *Spool) pruneLogs() {
	found, _ := os.ReadDir(s.dir)
	type kept struct {
		path string
		at   time.Time
	}
	var logs []kept
	for _, d := range found {
		path := filepath.Join(s.dir, d.Name())
		if !d.IsDir() || !entryName.MatchString(d.Name()) || hasWork(path) {
			continue
		}
		if info, err := d.Info(); err == nil {
			logs = append(logs, kept{path, info.ModTime()})
		}
	}
	slices.SortFunc(logs, func(a, b kept) int { return b.at.Compare(a.at) })
	for i := s.opts.KeepLogs; i < len(logs); i++ {
		_ = os.RemoveAll(logs[i].path)
	}
}

func spoolError(err error) error {
	return &recorder.Error{Code: recorder.CodeUpload, Message: "spool: " + err.Error(), Err: err}
}

func readJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		// The decoder's own message may quote a value of the file, and with it a secret.
		return fmt.Errorf("%s cannot be parsed (%T)", filepath.Base(path), err)
	}
	return nil
}
