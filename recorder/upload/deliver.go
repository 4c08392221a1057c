package upload

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.uber.org/zap"

	"tapedeck/recorder"
)

// change is an output's new state on its way from its goroutine to Deliver's,
// which alone has the recording. saved answers whether it is on disk.
type change struct {
	apply func(*recorder.Recording)
	saved chan error
}

// Deliver uploads what is not delivered yet, outputs side by side, and returns
// when all of them are delivered, empty or refused, or when ctx is done. What an
// earlier call refused is tried again. report may be nil.
func (e *entry) Deliver(ctx context.Context, rec recorder.Recording, report func(recorder.Recording)) recorder.Recording {
	rec = rec.Clone()
	task := e.Task()
	changes := make(chan change)
	var outputs sync.WaitGroup
	files, all := make([]*delivery, len(rec.Files)), e.allSeries(task, rec)
	for i := range rec.Files {
		d := e.delivery(task, rec.Clone(), i, changes)
		files[i] = d
		defer e.release(i)
		outputs.Go(func() { d.run(ctx) })
	}
	for _, s := range all {
		given := rec.Clone()
		outputs.Go(func() { s.deliver(ctx, given, changes) })
	}
	go func() { outputs.Wait(); close(changes) }()
	for c := range changes {
		c.apply(&rec)
		rec.UpdatedAt = time.Now().UnixNano()
		c.saved <- e.Save(rec)
		if report != nil {
			report(rec.Clone())
		}
	}
	if e.jobManifests(ctx, &rec, files, all) {
		if err := e.Save(rec); err != nil {
			e.spool.opts.Log.Warn("a note on a manifest cannot be kept", zap.String("job", task.Job.ID), zap.Error(err))
		}
	}
	return rec
}

func (e *entry) delivery(task recorder.Task, rec recorder.Recording, i int, changes chan<- change) *delivery {
	f := rec.Files[i]
	d := &delivery{
		entry: e, task: task, rec: rec, i: i, file: f, changes: changes,
		media: e.path(recorder.MediaName(i, f)),
		grown: e.grown(i),
		log:   e.spool.opts.Log.With(zap.String("job", task.Job.ID), zap.String("file", f.Filename)),
		scrub: e.spool.scrubber(task.Job),
	}
	if i < len(task.Recording.Files) {
		d.before = task.Recording.Files[i]
	}
	var out recorder.FileOutput // media nobody asked for go to the worker's storage
	if i < len(task.Job.Files) {
		out = task.Job.Files[i]
	}
	d.route = e.spool.route(task, out.Storage, out.UploadURL)
	if rec.Orphan {
		d.route = d.route.beside()
	}
	return d
}

// scrubber knows the secrets of the job and of the worker's storages.
func (s *Spool) scrubber(job recorder.Job) recorder.Scrubber {
	backup := s.opts.Backup.named()
	return recorder.NewScrubber(job).With(recorder.Job{
		Files: []recorder.FileOutput{{Storage: s.opts.Default.named()}}, Backup: &backup,
	})
}

// delivery is one file's way out of the spool.
type delivery struct {
	entry   *entry
	task    recorder.Task
	rec     recorder.Recording // for the manifest
	i       int
	file    recorder.FileResult
	before  recorder.FileResult // as on disk when Deliver was called
	route   route
	store   store   // that has it
	grown   *growth // where it was followed while it grew
	media   string
	changes chan<- change
	log     *zap.Logger
	scrub   recorder.Scrubber
	note    string // what went wrong beside the media
}

func (d *delivery) run(ctx context.Context) {
	if d.file.State == recorder.FileDelivered && d.before.State == recorder.FileDelivered {
		d.release() // a crash came between saving and removing
		return
	}
	j := d.journal()
	if d.before.State == recorder.FileRefused && j.Placed == nil {
		j.update(func(p *progress) { p.Backup, p.Why, p.Aside = false, "", false }) // whoever mended it may have mended the first choice
	}
	if j.Aside {
		d.takeAside()
	}
	info, err := os.Stat(d.media)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && info.Size() == 0) {
		d.absent(ctx, j)
		return
	}
	d.measure()
	d.until(ctx, j)
}

// journal is the one that is written already, or that of an earlier process.
func (d *delivery) journal() *journal {
	if d.grown != nil {
		return d.grown.j
	}
	return openJournal(d.entry.path(fmt.Sprintf("upload-%d.json", d.i)), d.log)
}

// absent settles a file without media: an earlier process delivered it and its
// caller does not know, or there never was anything.
func (d *delivery) absent(ctx context.Context, j *journal) {
	switch {
	case d.before.State == recorder.FileDelivered:
		d.file = d.before
	case j.Placed != nil:
		d.delivered(j)
		return
	case d.gone():
		d.file.State, d.file.Error = recorder.FileRefused, d.whatIsGone(j)
		d.log.Error("a recording's media are gone", zap.String("media", d.media), zap.String("error", d.file.Error))
	default:
		if d.grown.open() {
			d.grown.abandon(ctx)
		}
		d.file.State, d.file.Size, d.file.Error = recorder.FileEmpty, 0, "nothing was recorded"
	}
	_ = d.changed()
}

// until tries until the file is delivered or refused, or ctx is done.
func (d *delivery) until(ctx context.Context, j *journal) {
	pause := d.entry.spool.opts.backoff()
	began, tries := time.Now(), map[class]int{}
	for {
		err := d.try(ctx, j)
		if err == nil {
			d.delivered(j)
			return
		}
		if ctx.Err() != nil {
			d.file.State = recorder.FilePending
			_ = d.changed()
			return
		}
		c := classOf(err)
		tries[c]++
		d.file.Error = d.scrub.Text(err.Error())
		if d.stepAside(j, err) {
			continue
		}
		if d.turns(j, c, tries[c], time.Since(began)) {
			d.turn(ctx, j)
			pause.Reset()
			began, tries = time.Now(), map[class]int{}
			continue
		}
		if d.tooOften(c, tries[c], time.Since(began)) {
			d.giveUp(j)
			return
		}
		d.file.State = recorder.FilePending
		d.file.Retries++
		wait := pause.NextBackOff()
		d.log.Warn("upload failed, will be tried again", zap.String("error", d.file.Error), zap.Int("retries", d.file.Retries), zap.Duration("in", wait))
		_ = d.changed()
		sleep(ctx, wait)
	}
}

func (d *delivery) tooOften(c class, tries int, spent time.Duration) bool {
	if limit := c.tries(); limit > 0 && tries >= limit {
		return true
	}
	giveUp := d.entry.spool.opts.GiveUpAfter
	return giveUp > 0 && spent >= giveUp
}

// giveUp leaves the media in the spool; unless only the manifest is missing.
func (d *delivery) giveUp(j *journal) {
	if j.Placed != nil {
		d.log.Warn("manifest given up", zap.String("error", d.file.Error))
		d.note = d.file.Error
		d.delivered(j)
		return
	}
	d.log.Error("upload given up; the file stays in the spool", zap.String("media", d.media), zap.String("error", d.file.Error))
	d.file.State, d.file.Error = recorder.FileRefused, joinNotes(j.Why, d.file.Error)
	_ = d.changed()
}

// try is one upload: the media, then the manifest.
func (d *delivery) try(ctx context.Context, j *journal) error {
	if !d.grown.open() { // of which little is left, and that is awaited
		select {
		case d.entry.spool.slots <- struct{}{}:
			defer func() { <-d.entry.spool.slots }()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	d.file.State = recorder.FileUploading
	_ = d.changed()
	st, err := d.route.open(ctx, d.entry.spool.opts, j.Backup)
	if err != nil {
		return err
	}
	if j.Placed == nil {
		if err := d.put(ctx, st, j); err != nil {
			return err
		}
	}
	d.store = st
	return d.manifest(ctx, st, j)
}

// put sends the media and notes where they are.
func (d *delivery) put(ctx context.Context, st store, j *journal) error {
	where, name := d.where(j), d.file.Filename
	var err error
	if where != (Storage{}) {
		if name, err = where.name(name); err != nil {
			return err
		}
	}
	o := &object{
		path: d.media, name: name, contentType: contentType(d.media), overwrite: where.Overwrite, beside: d.rec.Orphan,
		id: fmt.Sprintf("%s-%d", filepath.Base(d.task.Dir), d.i), journal: j,
	}
	var p placed
	if d.grown.open() && j.Target == st.target() {
		p, err = d.grown.finish(ctx, o)
	} else {
		if err := d.prepare(ctx, st, j); err != nil {
			return err
		}
		o.digest = j.Digest
		p, err = st.put(ctx, o)
	}
	if err != nil {
		return err
	}
	p.Filename = filenameOf(where, p.Name, o.name, d.file.Filename)
	j.update(func(pr *progress) { pr.Placed = &p })
	return nil
}

// filenameOf gives a file's name as results show it: another than it wanted where
// that was taken.
func filenameOf(where Storage, key, wanted, filename string) string {
	if key == wanted {
		return filename
	}
	return strings.TrimPrefix(key, path.Clean(where.Prefix)+"/")
}

// where is the storage in use; the zero Storage is a presigned URL.
func (d *delivery) where(j *journal) Storage { return d.route.where(j.Backup) }

// prepare measures the media, unless the journal's figures still hold, and
// drops what belongs to other media or another storage.
func (d *delivery) prepare(ctx context.Context, st store, j *journal) error {
	info, err := os.Stat(d.media)
	if err != nil {
		return diskFault(err)
	}
	here := j.Target == st.target()
	p := st.plan(info.Size())
	if here && j.Grown != nil {
		p = plan{partSize: j.Grown.PartSize}
	}
	if here && j.Digest.holds(info, p) {
		return nil
	}
	if here && j.Grown == nil {
		st.discard(ctx, j.progress)
	}
	sums, err := measure(ctx, d.media, p)
	if err != nil {
		return diskFault(err)
	}
	j.update(func(pr *progress) {
		if here && pr.Grown != nil { // each part that was sent is compared with these
			pr.Digest = sums
			return
		}
		*pr = progress{Digest: sums, Target: st.target(), Backup: pr.Backup, Why: pr.Why, Aside: pr.Aside}
	})
	return nil
}

// delivered saves, and only then removes.
func (d *delivery) delivered(j *journal) {
	f := &d.file
	f.State, f.Error = recorder.FileDelivered, joinNotes(j.Why, d.note)
	f.Backup, f.ManifestLocation = j.Backup, j.Manifest
	f.Size, f.SHA256 = j.Digest.Size, j.Digest.SHA256
	f.Location, f.Filename = j.Placed.Location, j.Placed.Filename
	if err := d.changed(); err != nil {
		d.log.Error("the file is delivered but the spool cannot note it; the media stay", zap.Error(err))
		return
	}
	d.release()
	_ = j.remove()
}

func (d *delivery) release() {
	if err := os.Remove(d.media); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.log.Warn("delivered media cannot be removed from the spool", zap.Error(err))
	}
}

func (d *delivery) changed() error {
	saved := make(chan error, 1)
	file := d.file
	d.changes <- change{func(r *recorder.Recording) { r.Files[d.i] = file }, saved}
	return <-saved
}

func (o Options) backoff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval, b.Multiplier = o.Backoff.Min, o.Backoff.Max, 2
	b.RandomizationFactor = o.Backoff.Jitter
	b.Reset()
	return b
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
