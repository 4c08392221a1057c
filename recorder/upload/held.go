package upload

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tapedeck/recorder"
)

// Held is an entry as it lies in the spool, for whoever only looks.
type Held struct {
	// Task is the entry's, with Dir set and Recording as last saved; of a damaged entry
	// there is nothing but Dir and the job's id.
	Task recorder.Task
	// Damaged is why it cannot be read; it is kept as it is.
	Damaged error
	// Undelivered is the size of the media that no verified copy is noted of.
	Undelivered int64
	// Written is when media, or, where there are none, the entry's state were last
	// written.
	Written time.Time
}

// Survey looks at every entry there is work left with, those of running recordings
// included, oldest first. It takes no locks and changes nothing.
func (s *Spool) Survey() ([]Held, error) {
	found, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, spoolError(err)
	}
	var all []Held
	for _, d := range found {
		dir := filepath.Join(s.dir, d.Name())
		if d.IsDir() && entryName.MatchString(d.Name()) && hasWork(dir) {
			if h, ok := s.look(dir); ok {
				all = append(all, h)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Held) int { return a.Written.Compare(b.Written) })
	return all, nil
}

// look reads one entry; false for one that was freed meanwhile.
func (s *Spool) look(dir string) (Held, bool) {
	h := Held{Task: recorder.Task{Dir: dir}}
	e := &entry{spool: s}
	if h.Damaged = readJSON(filepath.Join(dir, taskFile), &e.task); h.Damaged != nil {
		name := filepath.Base(dir)
		e.task = recorder.Task{Job: recorder.Job{ID: name[:strings.LastIndexByte(name, '-')]}}
	}
	if readJSON(filepath.Join(dir, recordingFile), &e.saved) != nil {
		e.saved = e.task.Recording
	}
	e.task.Dir = dir
	h.Task = e.Task()
	for _, name := range e.undelivered() {
		size, written := weigh(filepath.Join(dir, name))
		h.Undelivered += size
		h.Written = later(h.Written, written)
	}
	if h.Written.IsZero() {
		for _, name := range []string{recordingFile, taskFile} {
			if info, err := os.Stat(filepath.Join(dir, name)); err == nil {
				h.Written = later(h.Written, info.ModTime())
			}
		}
	}
	return h, hasWork(dir)
}

// weigh gives the size of a file, or of what is below a directory, and when it was
// last written.
func weigh(path string) (size int64, written time.Time) {
	// What goes away while we look has no weight.
	_ = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			size += info.Size()
			written = later(written, info.ModTime())
		}
		return nil
	})
	return size, written
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Take locks one entry that nobody works on: nil, without an error, when a process
// has it or still writes its media, or when there is nothing left in it.
func (s *Spool) Take(dir string) (recorder.SpoolEntry, error) {
	if filepath.Dir(dir) != s.dir || !entryName.MatchString(filepath.Base(dir)) {
		return nil, recorder.Errorf(recorder.CodeInvalid, "%s: is no entry of the spool %s", dir, s.dir)
	}
	e, err := s.open(dir, true)
	if e == nil { // not an interface that holds nil
		return nil, err
	}
	return e, err
}

// Busy reports whether a process works on an entry, or still writes its media: in that
// case it has asked for a moment, for a worker that looks for work locks what it finds.
func (s *Spool) Busy(dir string) bool {
	lock := filepath.Join(dir, lockFile)
	for began := time.Now(); held(lock) || stillRecorded(dir); time.Sleep(askAgain) {
		if time.Since(began) > glance {
			return true
		}
	}
	return false
}
