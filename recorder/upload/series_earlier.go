package upload

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"go.uber.org/zap"

	"tapedeck/recorder"
)

// earlier is the playlist that a series goes on in: an earlier part's. Its segments are
// another entry's matter, in this spool or in that of a worker that is gone.
type earlier struct {
	list  recorder.MediaPlaylist
	names map[string]bool // of its segments, below the series' directory
	stood recorder.SegmentsResult
	owed  map[string]bool // those that may not be in the storage yet
	paid  bool            // none of names is owed any more
}

// earlierOf gives what segments output i of a task goes on in, nil for none.
func earlierOf(task recorder.Task, i int) *earlier {
	stood, found := stands(task.Recording.Earlier, i)
	if i >= len(task.Playlists) || task.Playlists[i] == "" || !found {
		return nil
	}
	list, err := recorder.ReadPlaylist(task.Playlists[i])
	if err != nil {
		return nil // the pipeline began anew as well
	}
	e := &earlier{list: list, names: map[string]bool{}, stood: stood}
	own := task.Recording.SegmentsOf(task.Job, i).PlaylistName
	for _, entry := range list.Entries {
		e.names[path.Join(path.Dir(own), entry.Name)] = true
	}
	return e
}

// stands gives the result that tells where the playlists of segments output i are, which
// the last of these parts handed on: that of the newest which uploaded any, else of the first.
func stands(parts []recorder.Part, i int) (stood recorder.SegmentsResult, found bool) {
	for n := len(parts) - 1; n >= 0 && i < len(parts[n].Segments) && parts[n].Segments[i].Continued; n-- {
		stood, found = parts[n].Segments[i], true
		if stood.PlaylistLocation != "" {
			break
		}
	}
	return stood, found
}

// goesOn reports whether the series' playlists begin with an earlier part's segments.
func (s *series) goesOn() bool {
	return s.earlier != nil && (s.book.set == nil || !s.book.set.Alone)
}

// settle takes the place that the earlier part has, instead of looking for a free one.
func (s *series) settle() error {
	at := s.names
	at.Backup = s.earlier.stood.Backup
	at.Target = s.route.where(at.Backup).String()
	if at.Base = path.Dir(at.Main); at.Base == "." {
		at.Base = ""
	}
	if !at.called(s.earlier.stood.PlaylistName) { // there is nothing to go on in
		at.Alone, at.Unclaimed = true, true
	}
	return s.book.write(line{Set: &at})
}

// called finds the numbers with which the main playlist has a name.
func (s *set) called(name string) bool {
	const mostLists = 20
	for s.List = 0; s.List <= mostLists; s.List++ {
		for s.Take = 1; s.Take <= mostNames; s.Take++ {
			if s.name(s.Main) == name {
				return true
			}
		}
	}
	s.Take, s.List = 1, 0
	return false
}

// secede leaves the playlist of the earlier part: the series is listed by itself, under
// names that are to be claimed.
func (s *series) secede() error {
	at := *s.book.set
	at.Alone, at.Unclaimed, at.Take, at.List = true, true, 1, 0
	s.told = whereabouts{}
	return s.book.write(line{Set: &at})
}

// leaves reports whether a later part sees to the playlists.
func (s *series) leaves() bool {
	return s.continued && (s.book.set == nil || !s.book.set.Alone)
}

// collect looks for those of the earlier segments that are in this spool and not in the
// storage: the entry of an earlier part may be on its way still.
func (s *series) collect() error {
	e := s.earlier
	if !s.goesOn() || e.paid {
		return nil
	}
	e.owed = map[string]bool{}
	gone := false
	for _, dir := range s.entry.siblings() {
		b, err := readBook(filepath.Join(dir, bookName(s.dirName)))
		if err != nil {
			return err
		}
		names, err := closedFiles(filepath.Join(dir, s.dirName))
		if err != nil {
			return err
		}
		for _, name := range names {
			_, sent := b.sent[name]
			if e.names[name] && (!sent || b.set.Backup != s.book.set.Backup) {
				e.owed[name] = true
				gone = gone || (b.set != nil && b.set.Alone)
			}
		}
	}
	e.paid = len(e.owed) == 0
	if gone {
		return s.secede() // the earlier part went to another storage
	}
	return nil
}

// siblings are the other entries of the job in this spool.
func (e *entry) siblings() (dirs []string) {
	found, _ := os.ReadDir(e.spool.dir)
	for _, d := range found {
		attempt, ofJob := strings.CutPrefix(d.Name(), e.task.Job.ID+"-")
		dir := filepath.Join(e.spool.dir, d.Name())
		if ofJob && dir != e.task.Dir && strings.Trim(attempt, "0123456789.") == "" {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// closedFiles lists the closed files below dir.
func closedFiles(dir string) (names []string, err error) {
	err = filepath.WalkDir(dir, func(at string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() || strings.HasSuffix(at, recorder.PartSuffix) {
			return err
		}
		name, err := filepath.Rel(dir, at)
		names = append(names, filepath.ToSlash(name))
		return err
	})
	return names, err
}

// here reports whether the storage has a segment that a playlist names.
func (s *series) here(name string) bool {
	if _, sent := s.book.sent[name]; sent {
		return true
	}
	return s.goesOn() && s.earlier.names[name] && !s.earlier.owed[name]
}

// edit gives a playlist as it goes to the storage: without an earlier part's segments,
// where the series is not beside them.
func (s *series) edit(name string, text []byte) []byte {
	if s.earlier == nil || s.goesOn() || !isPlaylist(name) {
		return text
	}
	return s.earlier.without(name, text)
}

// without takes the earlier part's segments out of a playlist.
func (e *earlier) without(name string, text []byte) []byte {
	list, err := recorder.ReadPlaylist(string(text))
	if err != nil {
		return text
	}
	n := 0
	for n < len(list.Entries) && e.names[path.Join(path.Dir(name), list.Entries[n].Name)] {
		n++
	}
	list.First += int64(n - len(e.list.Entries))
	list.Entries, list.Cuts = list.Entries[n:], 0
	if len(list.Entries) > 0 {
		list.Entries[0].Cut = false
	}
	return []byte(list.Text())
}

// closeEarlier ends the earlier part's playlists where this part recorded nothing, for
// players would wait for more; false when there is nothing to end.
func (s *series) closeEarlier() bool {
	if !s.goesOn() || s.leaves() {
		return false
	}
	list := s.earlier.list
	list.Ended = true
	for name, text := range map[string]string{s.names.Main: list.Text(), s.names.Live: list.Latest().Text()} {
		if name == "" {
			continue
		}
		at := filepath.Join(s.dir(), filepath.FromSlash(name))
		err := os.MkdirAll(filepath.Dir(at), 0o700)
		if err == nil {
			err = writeFile(at, []byte(text))
		}
		if err != nil {
			s.log.Warn("the earlier playlist cannot be ended", zap.Error(err))
			return false
		}
	}
	return true
}

// Playlists gives the playlists of rec's segments, for a later part to go on in. ""
// stands for one whose place nobody knows yet: it is not to be continued.
func (e *entry) Playlists(rec recorder.Recording) []string {
	texts := make([]string, len(rec.Segments))
	for _, s := range e.allSeries(e.Task(), rec) {
		if s.images {
			continue
		}
		b, err := readBook(e.path(bookName(s.dirName)))
		if err != nil || (b.set == nil && s.earlier == nil) || (b.set != nil && b.set.Unclaimed) {
			continue
		}
		if s.book = b; b.set != nil {
			s.names.Main = b.set.Main
		}
		texts[s.i] = s.handOn()
	}
	return texts
}

// handOn gives the playlist without an end.
func (s *series) handOn() string {
	text, err := os.ReadFile(filepath.Join(s.dir(), filepath.FromSlash(s.names.Main)))
	if errors.Is(err, fs.ErrNotExist) && s.goesOn() {
		return s.earlier.list.Text() // this part added nothing to it
	}
	list, err := recorder.ReadPlaylist(string(s.edit(s.names.Main, text)))
	if err != nil || len(list.Entries) == 0 {
		return ""
	}
	list.Ended = false
	return list.Text()
}
