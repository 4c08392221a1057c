package upload

import (
	"context"
	"fmt"
	"path"
	"strings"

	"go.uber.org/zap"

	"tapedeck/recorder"
)

// shelf is a directory of a storage with outputs of one job, and what its
// <job id>.json says of them.
type shelf struct {
	store    store
	name     string // of the manifest, within the storage
	manifest Manifest
	noteIn   *string // the first output's Error
}

// shelves are the directories of a recording's outputs.
type shelves struct {
	entry *entry
	rec   *recorder.Recording
	all   []*shelf
}

// jobManifests stores <job id>.json in every directory that has a manifest
// beside an output: clients look for one by either name. It is one request more
// for a job, however many outputs lie there. What goes wrong is logged and noted
// with the output, for the media are safe. It reports whether rec was changed.
func (e *entry) jobManifests(ctx context.Context, rec *recorder.Recording, files []*delivery, series []*series) (changed bool) {
	if !rec.Settled() {
		return false // whoever delivers the rest sees to it
	}
	if ctx.Err() != nil { // and after this nobody would
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), courtesy)
		defer cancel()
		ctx = bounded
	}
	log, scrub := e.spool.opts.Log.With(zap.String("job", rec.ID)), e.spool.scrubber(e.Task().Job)
	found := &shelves{entry: e, rec: rec}
	found.gather(ctx, files, series, func(noteIn *string, err error) {
		note := scrub.Text(err.Error())
		log.Warn("manifest of the job given up", zap.String("error", note))
		if !strings.Contains(*noteIn, note) {
			*noteIn, changed = joinNotes(*noteIn, note), true
		}
	})
	return changed
}

// gather takes the outputs that have a manifest of their own, and stores what
// it found.
func (s *shelves) gather(ctx context.Context, files []*delivery, all []*series, fail func(noteIn *string, err error)) {
	for i, d := range files {
		f := &s.rec.Files[i]
		if f.State != recorder.FileDelivered || f.ManifestLocation == "" {
			continue
		}
		m := manifestOf(*s.rec, f.StartedAt, f.EndedAt)
		m.Files = []ManifestFile{manifestFile(*f)}
		if err := s.take(ctx, d.store, d.route, f.Backup, f.Filename, m, &f.Error); err != nil {
			fail(&f.Error, manifestFault(err))
		}
	}
	for _, one := range all {
		r := one.result(s.rec)
		if r.State != recorder.FileDelivered || r.ManifestLocation == "" {
			continue
		}
		err := error(nil)
		if one.book == nil { // delivered before
			err = diskFault(one.open())
		}
		if err == nil {
			at := one.whereabouts()
			err = s.take(ctx, one.store, one.route, r.Backup, at.main+at.prefix, one.describe(*s.rec), &r.Error)
		}
		if err != nil {
			fail(&r.Error, manifestFault(err))
		}
	}
	for n, there := range s.all {
		err := s.entry.insist(ctx, func() error {
			_, err := s.entry.shelve(ctx, there.store, fmt.Sprintf("job-%d", n), there.name, there.manifest, s.rec.Orphan)
			return err
		})
		if err != nil {
			fail(there.noteIn, err)
		}
	}
}

// take adds what an output's manifest says to the one of its directory.
func (s *shelves) take(ctx context.Context, st store, r route, backup bool, filename string, m Manifest, noteIn *string) (err error) {
	if st == nil {
		if st, err = r.open(ctx, s.entry.spool.opts, backup); err != nil {
			return err
		}
	}
	name, err := r.where(backup).name(path.Join(path.Dir(filename), jobManifestName(*s.rec)))
	if err != nil {
		return err
	}
	for _, there := range s.all {
		if there.name == name && there.store.target() == st.target() {
			there.manifest.add(m)
			return nil
		}
	}
	s.all = append(s.all, &shelf{store: st, name: name, manifest: m, noteIn: noteIn})
	return nil
}

// jobManifestName tells the parts of a job apart as the names of its files do.
func jobManifestName(rec recorder.Recording) string {
	if rec.Part > 1 {
		return fmt.Sprintf("%s.part%d.json", rec.ID, rec.Part)
	}
	return rec.ID + ".json"
}

// add takes in what another output's manifest says.
func (m *Manifest) add(o Manifest) {
	m.StartedAt, m.EndedAt = min(m.StartedAt, o.StartedAt), max(m.EndedAt, o.EndedAt)
	m.Files = append(m.Files, o.Files...)
	m.Playlists = append(m.Playlists, o.Playlists...)
	m.Images = append(m.Images, o.Images...)
}

// insist tries a manifest a few times.
func (e *entry) insist(ctx context.Context, put func() error) error {
	pause := e.spool.opts.backoff()
	for try := 1; ; try++ {
		err := put()
		if err == nil || try >= manifestTries || ctx.Err() != nil {
			return err
		}
		sleep(ctx, pause.NextBackOff())
	}
}
