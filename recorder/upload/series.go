package upload

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"time"

	"go.uber.org/zap"

	"tapedeck/recorder"
)

const (
	segmentsPrefix = "segments-"
	imagesPrefix   = "images-"
)

// series is the way of one directory of segments or images to its storage,
// while the recording goes on and after it. All of it belongs to run's
// goroutine; each upload has one of its own and answers on results.
//
// A playlist goes when all the files it names are verified; of each playlist
// there is one upload at a time. Files that never change are removed from the
// spool when they are noted in the book; with a backup behind the storage they
// stay, so that the whole series can go there.
type series struct {
	entry    *entry
	task     recorder.Task
	dirName  string // "segments-0"
	images   bool
	i        int
	names    set // Main, Live and Prefix
	replaced bool
	silent   bool // no manifest
	earlier  *earlier
	// continued says that a later part lists these segments; final, that nothing more is
	// recorded; ousted, that another worker has the job, and orphan, that nothing may be replaced.
	continued, final, ousted, orphan bool
	unbegun                          int // recorder.Recording.Unbegun
	// ceded says that another worker was found to go on in the playlists: they are left
	// alone until the end, which says what is listed nowhere else.
	ceded bool
	route route
	log   *zap.Logger
	scrub recorder.Scrubber

	book     *book
	wrote    map[string]digest // the playlists as they were sent the last time
	store    store
	results  chan outcome
	busy     map[string]bool
	failed   map[string]*failure // by name; "" is the claim
	failing  time.Time           // since when nothing succeeded
	retries  int
	last     string        // the last error
	turning  string        // why the storage is being given up
	slots    chan struct{} // one per upload that runs
	atOnce   int           // how many may
	giveUp   func(*failure) bool
	onChange func()
	onMove   func() // names or locations are others
	told     whereabouts
}

// outcome is how one upload, or the claim of a place, ended.
type outcome struct {
	name    string
	set     *set // under which it was sent
	claimed *set
	file    sentFile
	digest  digest
	store   store
	journal *journal
	err     error
}

// failure is a file that is tried again.
type failure struct {
	since  time.Time
	next   time.Time
	pause  interface{ NextBackOff() time.Duration }
	tries  map[class]int
	class  class
	text   string
	over   bool     // given up
	before *journal // what the storage has of it may be our own failed try
}

// allSeries lists the series of rec that the entry has or should have.
func (e *entry) allSeries(task recorder.Task, rec recorder.Recording) []*series {
	var all []*series
	for i, r := range rec.Segments {
		var out recorder.SegmentOutput
		if i < len(task.Job.Segments) {
			out = task.Job.Segments[i]
		}
		s := e.newSeries(task, recorder.SegmentsDir(i), out.Storage)
		s.i, s.silent, s.names = i, out.DisableManifest, set{Main: r.PlaylistName, Live: r.LivePlaylistName}
		s.earlier, s.continued, s.ousted = earlierOf(task, i), r.Continued, rec.EndReason == recorder.EndLeaseLost
		s.unbegun = rec.Unbegun
		all = append(all, s)
	}
	for i, r := range rec.Images {
		var out recorder.ImageOutput
		if i < len(task.Job.Images) {
			out = task.Job.Images[i]
		}
		s := e.newSeries(task, recorder.ImagesDir(i), out.Storage)
		s.i, s.images, s.silent, s.names = i, true, out.DisableManifest, set{Prefix: r.FilenamePrefix}
		s.replaced = out.FilenameSuffix == recorder.SuffixNone
		all = append(all, s)
	}
	for _, s := range all {
		if rec.Orphan {
			s.route, s.orphan = s.route.beside(), true
			s.unbegun = 0 // somebody may begin one now
		}
	}
	return all
}

func (e *entry) newSeries(task recorder.Task, dirName string, named recorder.Storage) *series {
	return &series{
		entry: e, task: task, dirName: dirName, route: e.spool.route(task, named, ""),
		log:     e.spool.opts.Log.With(zap.String("job", task.Job.ID), zap.String("series", dirName)),
		scrub:   e.spool.scrubber(task.Job),
		results: make(chan outcome), busy: map[string]bool{}, failed: map[string]*failure{}, wrote: map[string]digest{},
		giveUp: func(*failure) bool { return false }, onChange: func() {}, onMove: func() {},
	}
}

func (s *series) dir() string { return s.entry.path(s.dirName) }

// open reads the book.
func (s *series) open() error {
	b, err := openBook(s.entry.path(bookName(s.dirName)), s.entry.path(reserveFile))
	if err != nil {
		return err
	}
	s.book = b
	if b.set != nil {
		s.names.Main, s.names.Live, s.names.Prefix = b.set.Main, b.set.Live, b.set.Prefix
		if s.isVoid(b) {
			b.set, b.sent, b.order = nil, map[string]sentFile{}, nil
		}
	}
	if b.set == nil && s.earlier != nil {
		return s.settle()
	}
	return nil
}

// isVoid reports whether a book belongs to a storage that is not used any more,
// or to a backup that refused it all.
func (s *series) isVoid(b *book) bool {
	return b.set.Target != s.route.where(b.set.Backup).String() ||
		(b.set.Backup && len(b.sent) == 0 && s.savedState() == recorder.FileRefused)
}

func (s *series) follow(ctx context.Context) {
	err := s.open()
	if err == nil {
		err = os.MkdirAll(s.dir(), 0o700) // or there is nothing to watch yet
	}
	if err != nil {
		s.log.Error("the series is delivered at the end, for its directory cannot be followed", zap.Error(err))
		return
	}
	w := newWatch(s.dir())
	defer w.close()
	s.run(ctx, w, false)
}

// run starts what can go and takes in what ended, until ctx is done or, at the
// end of a recording, nothing is left that could change anything.
func (s *series) run(ctx context.Context, w *watch, final bool) {
	tick := time.NewTimer(w.every)
	defer tick.Stop()
	for {
		next, done := w.every, ctx.Done()
		stopped := ctx.Err() != nil // asked once: an end between two questions would be slept through
		if stopped {
			done = nil // what is under way was cancelled with it
		}
		if !stopped {
			var idle bool
			if next, idle = s.advance(ctx); final && idle {
				return
			}
			s.announce()
		} else if len(s.busy) == 0 {
			return
		}
		tick.Reset(min(max(next, time.Millisecond), w.every))
		select {
		case <-done:
		case <-w.notices:
		case <-tick.C:
		case o := <-s.results:
			s.take(ctx, o)
			s.announce()
		}
	}
}

// advance starts uploads. It gives when the next one is due, and whether none is
// under way or to come.
func (s *series) advance(ctx context.Context) (next time.Duration, idle bool) {
	if s.turning != "" && len(s.busy) == 0 {
		s.turn()
	}
	if s.turning != "" {
		return time.Hour, false
	}
	files, err := s.pending()
	if err != nil {
		s.log.Warn("the series' directory cannot be read", zap.Error(err))
		s.last = s.scrub.Text(err.Error())
		return time.Second, len(s.busy) == 0
	}
	if len(files) == 0 {
		return time.Hour, len(s.busy) == 0
	}
	if s.book.set == nil || s.book.set.Unclaimed {
		files = []localFile{{claim: true, claimFor: files[0].name}}
	} else if len(s.book.sent) == 0 {
		files = s.pioneer(files)
	}
	return s.launch(ctx, files)
}

// pioneer gives the one file that goes ahead: should its name have been taken
// meanwhile, nothing lies about yet when the series moves to other names.
func (s *series) pioneer(files []localFile) []localFile {
	for i, f := range files {
		if fail := s.failed[f.name]; fail == nil || !fail.over {
			return files[i : i+1]
		}
	}
	return files
}

// launch starts as many as may run at once, the oldest first.
func (s *series) launch(ctx context.Context, files []localFile) (next time.Duration, idle bool) {
	next = time.Hour
	idle = true
	for _, f := range files {
		fail := s.failed[f.name]
		switch {
		case s.busy[f.name]:
			idle = false
			continue
		case fail != nil && fail.over:
			continue
		case fail != nil && time.Until(fail.next) > 0:
			idle, next = false, min(next, time.Until(fail.next))
			continue
		}
		idle = false
		if len(s.busy) >= s.most() {
			return next, false
		}
		s.busy[f.name] = true
		go s.upload(ctx, s.job(f, fail))
	}
	return next, idle && len(s.busy) == 0
}

// most is how many uploads may run: while the storage fails, one tries it.
func (s *series) most() int {
	if !s.failing.IsZero() {
		return 1
	}
	return s.atOnce
}

// take notes what became of an upload.
func (s *series) take(ctx context.Context, o outcome) {
	delete(s.busy, o.name)
	if o.set != s.book.set {
		return // the series has moved on: this file goes again, to where it is now
	}
	if o.store != nil {
		s.store = o.store
	}
	if o.err == nil {
		o.err = s.note(o)
	}
	switch {
	case o.err == nil:
		delete(s.failed, o.name)
		s.succeed()
	case errors.Is(o.err, errCeded):
		s.ceded = true
		s.log.Warn("another worker goes on in the playlists; they are left alone", zap.String("playlist", o.name))
	case ctx.Err() != nil:
	default:
		s.fail(o)
	}
}

func (s *series) succeed() {
	if !s.failing.IsZero() {
		s.log.Info("uploads succeed again", zap.Duration("after", time.Since(s.failing).Round(time.Millisecond)))
	}
	s.failing = time.Time{}
}

// note puts an outcome into the book, and only then removes the file.
func (s *series) note(o outcome) error {
	if o.claimed != nil {
		return diskFault(s.book.write(line{Set: o.claimed}))
	}
	if err := s.book.write(line{File: &o.file}); err != nil {
		return diskFault(err)
	}
	if isPlaylist(o.name) {
		s.wrote[o.name] = o.digest
	}
	if !o.file.Mutable && !s.keeps() {
		s.release(o.name)
	}
	return nil
}

// keeps reports whether what is delivered stays in the spool: until the end it
// may have to go to the backup.
func (s *series) keeps() bool {
	return s.route.hasBackup() && s.book.set != nil && !s.book.set.Backup
}

func (s *series) release(name string) {
	if err := os.Remove(path.Join(s.dir(), name)); err != nil && !os.IsNotExist(err) {
		s.log.Warn("a delivered file cannot be removed from the spool", zap.String("file", name), zap.Error(err))
	}
}

// fail sets a file back, or turns the whole series to the backup.
func (s *series) fail(o outcome) {
	f := s.failed[o.name]
	if f == nil {
		f = &failure{since: time.Now(), pause: s.entry.spool.opts.backoff(), tries: map[class]int{}}
		s.failed[o.name] = f
	}
	level := zap.DebugLevel // hundreds of files may wait for the end of one outage
	if s.failing.IsZero() {
		s.failing, level = time.Now(), zap.WarnLevel
	}
	f.before = o.journal
	f.class, f.text = classOf(o.err), s.scrub.Text(o.err.Error())
	f.tries[f.class]++
	s.retries++
	s.last = f.text
	s.store = nil // credentials and connections of the next try are fresh
	if s.renamed(o) {
		return
	}
	onOwn := s.book.set == nil || !s.book.set.Backup
	if onOwn && s.route.hasBackup() && s.turning == "" &&
		turnsToBackup(f.class, f.tries[f.class], time.Since(s.failing), s.entry.spool.opts.BackupAfter) {
		s.turning = f.text
		s.log.Warn("the storage is given up: the backup takes the series", zap.String("error", f.text))
		return
	}
	if f.over = s.giveUp(f); !f.over {
		wait := f.pause.NextBackOff()
		f.next = time.Now().Add(wait)
		s.log.Log(level, "upload failed, will be tried again", zap.String("file", o.name), zap.String("error", f.text), zap.Duration("in", wait))
	} else {
		s.log.Error("upload given up; the file stays in the spool", zap.String("file", o.name), zap.String("error", f.text))
	}
	s.onChange()
}

// renamed moves a series of which nothing was sent yet to other names, when
// somebody was faster to take these; and one whose segments are there, but no playlist
// yet, to other names for its playlists.
func (s *series) renamed(o outcome) bool {
	if !isTaken(o.err) || s.book.set == nil || s.goesOn() {
		return false
	}
	moved := *s.book.set
	moved.Take++
	next := line{Set: &moved}
	if len(s.book.sent) > 0 {
		if o.name != s.names.Main || !s.unplaced() {
			return false
		}
		next = line{List: max(s.book.set.List, 1) + 1}
	}
	if s.book.write(next) != nil {
		return false
	}
	clear(s.failed)
	return true
}

// turn begins anew in the backup: a series is in one storage as a whole.
func (s *series) turn() {
	begun := s.names
	begun.Backup, begun.Why, begun.Take = true, whyBackup(s.turning), 1
	begun.Target = s.route.backup.String()
	// What other parts have of the playlists is not there, and what others have is unknown.
	begun.Alone, begun.Unclaimed = s.earlier != nil || s.continued, true
	if err := s.book.write(line{Set: &begun}); err != nil {
		s.log.Warn("the turn to the backup cannot be noted", zap.Error(err))
		return
	}
	s.turning, s.store, s.failing = "", nil, time.Time{}
	clear(s.failed)
	s.onChange()
}

// String names the series for messages.
func (s *series) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %s%s", s.dirName, s.names.Main, s.names.Prefix))
}
