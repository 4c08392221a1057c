package upload

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"go.uber.org/zap"

	"tapedeck/recorder"
)

const nothingRecorded = "nothing was recorded"

// manifestTries bounds how often a series' manifest is tried: the media are safe.
const manifestTries = 3

// deliver does what Follow left: the remaining files, the last playlists and the
// manifest. Its result says what the storage has in the end.
func (s *series) deliver(ctx context.Context, rec recorder.Recording, changes chan<- change) {
	tell := func(apply func(*recorder.Series)) error {
		saved := make(chan error, 1)
		changes <- change{func(r *recorder.Recording) { apply(s.result(r)) }, saved}
		return <-saved
	}
	if s.result(&rec).State == recorder.FileDelivered && s.savedState() == recorder.FileDelivered {
		s.sweep() // a crash came between saving and removing
		return
	}
	if err := s.open(); err != nil {
		text := s.scrub.Text(diskFault(err).Error())
		_ = tell(func(r *recorder.Series) { r.State, r.Error = recorder.FileRefused, text })
		return
	}
	s.final = true
	if s.empty() && !s.closeEarlier() {
		_ = tell(func(r *recorder.Series) { r.State, r.Size, r.Error = recorder.FileEmpty, 0, nothingRecorded })
		return
	}
	// Left entries may be many: they share, but none takes all.
	s.slots, s.atOnce = s.entry.spool.rest, max(1, cap(s.entry.spool.rest)/2)
	began := time.Now()
	s.giveUp = func(f *failure) bool {
		limit, most := f.class.tries(), s.entry.spool.opts.GiveUpAfter
		return (limit > 0 && f.tries[f.class] >= limit) || (most > 0 && time.Since(began) >= most)
	}
	before := s.result(&rec).Retries
	s.onChange = func() {
		text, retries := s.last, before+s.retries
		_ = tell(func(r *recorder.Series) { r.State, r.Error, r.Retries = recorder.FilePending, text, retries })
	}
	s.onMove = func() {
		saved := make(chan error, 1)
		changes <- change{s.locate, saved}
		<-saved //nolint:errcheck // a state that was not kept is found out again
	}
	_ = tell(func(r *recorder.Series) { r.State = recorder.FileUploading })
	s.run(ctx, &watch{every: lookEvery}, true)
	s.conclude(ctx, rec, before, changes)
}

// conclude says how it ended, and empties the spool of a series that arrived.
func (s *series) conclude(ctx context.Context, rec recorder.Recording, before int, changes chan<- change) {
	state, text := s.state(ctx)
	manifest := ""
	arrived := state == recorder.FileDelivered
	if count, _ := s.book.media(); arrived && s.earlier != nil && count == 0 {
		state, text = recorder.FileEmpty, nothingRecorded // but an end of what was before
	}
	if state == recorder.FileDelivered {
		s.account(&rec, state, text, before)
		var note string
		manifest, note = s.manifest(ctx, rec)
		text = joinNotes(joinNotes(s.book.set.Why, s.yielded()), note)
		if ctx.Err() != nil && note != "" {
			state = recorder.FilePending
		}
	} else if s.book.set != nil {
		text = joinNotes(s.book.set.Why, text)
	}
	saved := make(chan error, 1)
	changes <- change{func(r *recorder.Recording) {
		s.account(r, state, text, before)
		s.result(r).ManifestLocation = manifest
	}, saved}
	if err := <-saved; err != nil {
		s.log.Error("the state of the series cannot be noted; it stays in the spool", zap.Error(err))
		return
	}
	if arrived {
		s.sweep()
	}
}

// state is what came of the delivery, with the reason where it is not all there.
func (s *series) state(ctx context.Context) (recorder.FileState, string) {
	files, err := s.pending()
	switch {
	case err != nil:
		return recorder.FileRefused, s.scrub.Text(err.Error())
	case ctx.Err() != nil && (len(files) > 0 || s.waiting() != ""):
		return recorder.FilePending, s.last
	case len(files) > 0:
		return recorder.FileRefused, s.last
	case s.waiting() != "":
		return recorder.FileRefused, s.waiting()
	case s.book.set == nil:
		return recorder.FileEmpty, nothingRecorded
	default:
		return recorder.FileDelivered, ""
	}
}

// waiting says which playlist names a file that nobody has.
func (s *series) waiting() string {
	for _, name := range []string{s.names.Main, s.names.Live} {
		if name == "" || s.leaves() {
			continue
		}
		text, err := os.ReadFile(s.dir() + "/" + name)
		if err != nil {
			continue
		}
		if missing := s.missing(localFile{name: name, text: s.edit(name, text)}); missing != "" {
			return name + ": names " + missing + ", which the storage does not have"
		}
	}
	return ""
}

// empty reports whether there is nothing to deliver and nothing was.
func (s *series) empty() bool {
	files, err := s.pending()
	return err == nil && len(files) == 0 && len(s.book.sent) == 0 && !s.holdsPlaylist()
}

func (s *series) holdsPlaylist() bool {
	_, err := os.Stat(s.dir() + "/" + s.names.Main)
	return s.names.Main != "" && err == nil
}

// result is this series' part of a recording.
func (s *series) result(rec *recorder.Recording) *recorder.Series {
	if s.images {
		return &rec.Images[s.i].Series
	}
	return &rec.Segments[s.i].Series
}

// savedState is what is on disk of it, which alone counts.
func (s *series) savedState() recorder.FileState {
	saved := s.task.Recording
	if (s.images && s.i >= len(saved.Images)) || (!s.images && s.i >= len(saved.Segments)) {
		return ""
	}
	return s.result(&saved).State
}

// account fills the result from the book.
func (s *series) account(rec *recorder.Recording, state recorder.FileState, text string, before int) {
	r := s.result(rec)
	r.State, r.Error, r.Retries = state, text, before+s.retries
	count, size := s.book.media()
	if !s.replaced && (state == recorder.FileDelivered || size > r.Size) { // of replaced images the book knows the last one
		r.Size = size
	}
	s.locate(rec)
	if s.images {
		o := &rec.Images[s.i]
		o.ImageCount = max(o.ImageCount, count)
		return
	}
	o := &rec.Segments[s.i]
	o.SegmentCount = max(o.SegmentCount, count)
}

// whereabouts is where a series is, as far as its book knows.
type whereabouts struct {
	main, mainAt string // name and location
	live, liveAt string
	prefix       string
	backup       bool
}

func (s *series) whereabouts() whereabouts {
	set, sent := s.book.set, s.book.sent
	return whereabouts{
		main: cmp.Or(sent[s.names.Main].Under, set.name(s.names.Main)), mainAt: sent[s.names.Main].Location,
		live: set.name(s.names.Live), liveAt: sent[s.names.Live].Location,
		prefix: set.name(s.names.Prefix), backup: set != nil && set.Backup,
	}
}

// announce tells of names and locations once they are known, and of each change.
func (s *series) announce() {
	if now := s.whereabouts(); s.book.set != nil && !s.book.set.Unclaimed && now != s.told {
		s.told = now
		s.onMove()
	}
}

// locate fills in names and locations.
func (s *series) locate(rec *recorder.Recording) {
	at := s.whereabouts()
	s.result(rec).Backup = at.backup
	if s.images {
		rec.Images[s.i].FilenamePrefix = at.prefix
		return
	}
	o := &rec.Segments[s.i]
	o.PlaylistName, o.PlaylistLocation = at.main, at.mainAt
	o.LivePlaylistName, o.LivePlaylistLocation = at.live, at.liveAt
}

// manifest stores <playlist>.json or <prefix>.json beside the series.
func (s *series) manifest(ctx context.Context, rec recorder.Recording) (location, note string) {
	name := cmp.Or(s.names.Main, strings.TrimSuffix(s.names.Prefix, "/"))
	if s.silent || name == "" {
		return "", ""
	}
	name = s.book.set.name(name)
	if s.goesOn() { // the earlier part's tells of its own segments
		name = fmt.Sprintf("%s.part%d", name, rec.Part)
	}
	where := s.route.where(s.book.set.Backup)
	err := s.entry.insist(ctx, func() error {
		if err := s.reach(ctx); err != nil {
			return err
		}
		full, err := where.name(name + ".json")
		if err == nil {
			location, err = s.entry.shelve(ctx, s.store, s.dirName, full, s.describe(rec), rec.Orphan)
		}
		if err != nil {
			s.store = nil // credentials and connections of the next try are fresh
		}
		return err
	})
	if err != nil {
		note = s.scrub.Text(manifestFault(err).Error())
		s.log.Warn("manifest given up", zap.String("error", note))
		return "", note
	}
	return location, ""
}

// reach opens the store, unless an upload did.
func (s *series) reach(ctx context.Context) (err error) {
	if s.store == nil {
		s.store, err = s.route.open(ctx, s.entry.spool.opts, s.book.set.Backup)
	}
	return err
}

func (s *series) describe(rec recorder.Recording) Manifest {
	r := s.result(&rec)
	m := manifestOf(rec, r.StartedAt, r.EndedAt)
	parts := []ManifestPart{}
	for _, name := range s.book.order {
		if f := s.book.sent[name]; !isPlaylist(name) {
			parts = append(parts, ManifestPart{
				Filename: cmp.Or(f.Under, s.book.set.name(name)), Location: f.Location, Timestamp: f.Modified.UTC(), Size: f.Size, SHA256: f.SHA256,
			})
		}
	}
	if s.images {
		m.Images = parts
		return m
	}
	o := rec.Segments[s.i]
	m.Playlists = []ManifestPlaylist{{
		Filename: o.PlaylistName, Location: o.PlaylistLocation, Size: o.Size, Duration: o.Duration, Segments: parts,
	}}
	return m
}

// sweep removes what is delivered; the book stays until the entry is freed.
func (s *series) sweep() {
	if err := os.RemoveAll(s.dir()); err != nil {
		s.log.Warn("a delivered series cannot be removed from the spool", zap.Error(err))
	}
}
