package upload

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"tapedeck/recorder"
)

// How often a directory is looked at beside its notices, and without any (a
// machine may have no watches left).
const (
	lookEvery = 5 * time.Second
	pollEvery = 250 * time.Millisecond
)

// watch tells of files that appear below a directory. A notice may stand for many.
type watch struct {
	notices chan struct{}
	every   time.Duration
	watcher *fsnotify.Watcher
	ended   chan struct{}
}

func newWatch(dir string) *watch {
	w := &watch{notices: make(chan struct{}, 1), every: pollEvery, ended: make(chan struct{})}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		close(w.ended)
		return w
	}
	w.watcher = watcher
	if w.addAll(dir) == nil {
		w.every = lookEvery
	}
	go w.run()
	return w
}

// addAll watches dir and what is below it: prefixes may name directories.
func (w *watch) addAll(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return w.watcher.Add(path)
	})
}

func (w *watch) run() {
	defer close(w.ended)
	for {
		select {
		case e, ok := <-w.watcher.Events:
			if !ok {
				return
			}
			if !e.Has(fsnotify.Create) || strings.HasSuffix(e.Name, recorder.PartSuffix) {
				continue // a file under its final name was renamed to it, which is Create
			}
			if info, err := os.Lstat(e.Name); err == nil && info.IsDir() {
				_ = w.addAll(e.Name) // what cannot be watched is looked at in time
			}
			w.notice()
		case _, ok := <-w.watcher.Errors: // an overflow for one
			if !ok {
				return
			}
			w.notice()
		}
	}
}

func (w *watch) notice() {
	select {
	case w.notices <- struct{}{}:
	default:
	}
}

func (w *watch) close() {
	if w.watcher != nil {
		_ = w.watcher.Close()
	}
	<-w.ended
}
