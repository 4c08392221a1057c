package upload

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tapedeck/recorder"
)

// localFile is a closed file of a series that its storage does not have, or not
// as it is now.
type localFile struct {
	name     string
	size     int64
	modified time.Time
	mutable  bool
	text     []byte // of a mutable file, as read once
	claim    bool   // no file, but the search for a place for them
	claimFor string
}

// pending lists what is to be sent, the oldest first. What is sent already is
// removed on the way, for a crash may have come between.
func (s *series) pending() ([]localFile, error) {
	if s.earlier != nil {
		if err := s.collect(); err != nil {
			return nil, err
		}
	}
	var files []localFile
	root := s.dir()
	err := filepath.WalkDir(root, func(at string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile, or nothing was ever written
		}
		if err != nil || !d.Type().IsRegular() || strings.HasSuffix(d.Name(), recorder.PartSuffix) {
			return err
		}
		name, err := filepath.Rel(root, at)
		if err != nil {
			return err
		}
		f, wanted, err := s.look(filepath.ToSlash(name), d)
		if wanted {
			files = append(files, f)
		}
		return err
	})
	slices.SortFunc(files, func(a, b localFile) int {
		return cmp.Or(a.modified.Compare(b.modified), strings.Compare(a.name, b.name))
	})
	return files, err
}

// look decides on one file.
func (s *series) look(name string, d fs.DirEntry) (f localFile, wanted bool, _ error) {
	f = localFile{name: name, mutable: s.replaced || isPlaylist(name)}
	if isPlaylist(name) && (s.leaves() || (s.ceded && !s.final) || s.follows(name)) {
		return f, false, nil
	}
	sent, known := s.book.sent[name]
	if known && !f.mutable {
		if !s.busy[name] && !s.keeps() {
			s.release(name)
		}
		return f, false, nil
	}
	info, err := d.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return f, false, nil
	}
	if err != nil {
		return f, false, err
	}
	f.size, f.modified = info.Size(), info.ModTime()
	if known && sent.Size == f.size && sent.Modified.Equal(f.modified) {
		return f, false, nil
	}
	if !f.mutable || s.busy[name] {
		return f, true, nil
	}
	return s.read(f)
}

// read takes a mutable file as it is now. A playlist that names a file which is
// not there yet waits.
func (s *series) read(f localFile) (localFile, bool, error) {
	file, err := os.Open(path.Join(s.dir(), f.name))
	if errors.Is(err, fs.ErrNotExist) {
		return f, false, nil
	}
	if err != nil {
		return f, false, err
	}
	defer file.Close()
	info, err := file.Stat() // of what is read: the name may be another file's by now
	if err != nil {
		return f, false, err
	}
	var text bytes.Buffer
	if _, err := text.ReadFrom(file); err != nil {
		return f, false, err
	}
	f.text, f.size, f.modified = s.edit(f.name, text.Bytes()), info.Size(), info.ModTime()
	if !s.final && isPlaylist(f.name) && bytes.HasSuffix(f.text, []byte(recorder.TagEnd)) {
		return f, false, nil // who watches must not be told of an end before it is one
	}
	return f, f.size > 0 && s.missing(f) == "", nil
}

// missing gives the first file that a playlist names and the storage has not.
func (s *series) missing(f localFile) string {
	if !isPlaylist(f.name) {
		return ""
	}
	for _, name := range named(f.name, f.text) {
		if !s.here(name) {
			return name
		}
	}
	return ""
}

// job is what an upload's goroutine gets: nothing of it is shared.
type job struct {
	localFile
	set     *set
	names   set
	replace bool
	store   store
	journal *journal
	series  *series // what never changes of it
	shared  bool    // a playlist that may be another's by now: see mine
	first   bool    // the first of a playlist: see place
	goesOn  bool    // the playlists begin with an earlier part's segments
	final   bool    // it is sent for the last time
	wrote   digest  // of what was sent the last time, where that is known
	at      string  // where the playlist was so far
}

func (s *series) job(f localFile, before *failure) job {
	j := job{localFile: f, set: s.book.set, names: s.names, store: s.store, series: s, journal: &journal{}}
	if before != nil && before.before != nil {
		j.journal = before.before
	}
	where := s.route.where(j.set != nil && j.set.Backup)
	j.replace = (f.mutable && (!s.orphan || !s.replaced)) || where.Overwrite
	sent, known := s.book.sent[f.name]
	j.at, j.final, j.goesOn = sent.Location, s.final, s.goesOn()
	j.shared = isPlaylist(f.name) && (known || j.goesOn)
	j.first = isPlaylist(f.name) && !j.shared && !where.Overwrite
	if known {
		j.wrote = s.wrote[f.name]
	}
	return j
}

// upload sends one file, or claims the place for all of them, and answers.
func (s *series) upload(ctx context.Context, j job) {
	o := outcome{name: j.name, set: j.set, journal: j.journal}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
		o.store, o.err = j.open(ctx)
		switch {
		case o.err != nil:
		case j.claim:
			o.claimed, o.err = j.claimPlace(ctx, o.store)
		default:
			o.file, o.digest, o.err = j.send(ctx, o.store)
		}
	case <-ctx.Done():
		o.err = context.Cause(ctx)
	}
	s.results <- o
}

func (j job) where() Storage { return j.series.route.where(j.set != nil && j.set.Backup) }

func (j job) open(ctx context.Context) (store, error) {
	if j.store != nil {
		return j.store, nil
	}
	// The store outlives this one upload.
	return j.series.route.open(context.WithoutCancel(ctx), j.series.entry.spool.opts, j.set != nil && j.set.Backup)
}

func (j job) send(ctx context.Context, st store) (sentFile, digest, error) {
	file := path.Join(j.series.dir(), j.name)
	if j.mutable { // it may be replaced while it is sent
		snapshot, err := j.snapshot()
		if err != nil {
			return sentFile{}, digest{}, diskFault(err)
		}
		defer os.Remove(snapshot) //nolint:errcheck // removed with the entry at the latest
		file = snapshot
	}
	name, err := j.where().name(j.set.name(j.name))
	if err != nil {
		return sentFile{}, digest{}, err
	}
	sums, err := measure(ctx, file, st.plan(max(j.size, int64(len(j.text)))))
	if err != nil {
		return sentFile{}, digest{}, diskFault(err)
	}
	o := &object{
		path: file, name: name, contentType: contentType(j.name), overwrite: j.replace, exact: true,
		id: j.id(), digest: sums, journal: j.journal,
	}
	sent := sentFile{Name: j.name, Size: j.size, Modified: j.modified, SHA256: sums.SHA256, Mutable: j.mutable}
	if j.shared {
		switch owner, err := j.mine(ctx, st, o); {
		case err != nil:
			return sentFile{}, digest{}, err
		case owner.another:
			sent, err = j.yield(ctx, st, o, sent, owner)
			return sent, digest{}, err
		}
	}
	if j.first {
		return j.place(ctx, st, o, sent)
	}
	o.exact = !j.series.orphan || !j.series.replaced // a picture of which there is one
	p, err := st.put(ctx, o)
	if sent.Location = p.Location; err == nil && p.Name != o.name {
		sent.Under = j.under(p)
	}
	return sent, sums, err
}

// id tells the temporary names of the entry's files apart.
func (j job) id() string {
	sum := sha256.Sum256([]byte(j.name))
	return filepath.Base(j.series.task.Dir) + "-" + j.series.dirName + "-" + hex.EncodeToString(sum[:6])
}

func (j job) snapshot() (string, error) {
	f, err := os.CreateTemp(j.series.task.Dir, ".sending-"+j.series.dirName+"-")
	if err != nil {
		return "", err
	}
	_, err = f.Write(j.text)
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

// claimPlace finds names for the whole series that no other recording's files
// have: its own, or those in a directory take-2, take-3, … beside them.
func (j job) claimPlace(ctx context.Context, st store) (*set, error) {
	where := j.where()
	claimed := j.names
	claimed.Target, claimed.Take = where.String(), 1
	if j.set != nil {
		claimed.Backup, claimed.Why, claimed.Alone = j.set.Backup, j.set.Why, j.set.Alone
	}
	first := []string{j.claimFor}
	for _, playlist := range []string{claimed.Main, claimed.Live} {
		if playlist != "" && playlist != j.claimFor {
			first = append(first, playlist)
		}
	}
	claimed.Base = commonDir(first)
	if where.Overwrite || j.series.replaced {
		return &claimed, nil
	}
	for ; claimed.Take <= mostNames; claimed.Take++ {
		free, err := j.free(ctx, st, where, &claimed, first)
		if free || err != nil {
			return &claimed, err
		}
	}
	return nil, faultf(denied, "%s: %d series of these names exist already", where, mostNames)
}

func (j job) free(ctx context.Context, st store, where Storage, claimed *set, first []string) (bool, error) {
	for _, local := range first {
		name, err := where.name(claimed.name(local))
		if err != nil {
			return false, err
		}
		if taken, err := st.has(ctx, name); taken || err != nil {
			return false, err
		}
	}
	return true, nil
}

// commonDir gives the directory that all names are in, "" for the top.
func commonDir(names []string) string {
	common := path.Dir(names[0])
	for _, n := range names[1:] {
		for common != "." && !strings.HasPrefix(n, common+"/") {
			common = path.Dir(common)
		}
	}
	if common == "." {
		return ""
	}
	return common
}

func isTaken(err error) bool { return errors.Is(err, errTaken) }
