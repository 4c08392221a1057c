package upload

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"tapedeck/recorder"
)

// partMark begins the comment by which a rescuer says in a playlist which part goes on
// in it, until that part's own segments do.
const partMark = "#tapedeck-part:"

// ownership is what the storage's playlist says of who goes on in it.
type ownership struct {
	read    bool // there is something, and it could be read
	another bool // not this entry
	more    bool // this entry has segments that are not listed there
}

// errCeded ends the sending of a playlist in which another worker goes on.
var errCeded = errors.New("another worker goes on in the playlist")

// mine looks before a playlist is replaced: whoever took the job over meanwhile goes on
// in it, and this entry's version would hide what they list, or end it for those who watch.
// This worker may not know yet: the queue may be away and the storage not. What lies there
// as it was left is our own, and is replaced only as long as it does.
func (j job) mine(ctx context.Context, st store, o *object) (owner ownership, err error) {
	left, err := j.asLeft(ctx, st, o.name)
	if err != nil {
		return owner, err
	}
	if left {
		o.replaces = &j.wrote
		if !j.final {
			return owner, nil
		}
	}
	owner, err = j.owner(ctx, st, j.names.Main)
	if err == nil && owner.another && !j.final {
		err = errCeded
	}
	return owner, err
}

// asLeft reports whether the storage has a playlist as it was sent the last time.
func (j job) asLeft(ctx context.Context, st store, name string) (bool, error) {
	b, ok := st.(bucket)
	if !ok || j.wrote.Size == 0 {
		return false, nil
	}
	there, err := b.look(ctx, name, &object{digest: j.wrote})
	return there == same, err
}

// owner reads whose a playlist in the storage is. What cannot be read is taken for our own.
func (j job) owner(ctx context.Context, st store, playlist string) (o ownership, err error) {
	name, err := j.where().name(j.set.name(playlist))
	if err != nil {
		return o, err
	}
	text, err := readPlaylist(ctx, st, name)
	switch {
	case err != nil && classOf(err) == passing:
		return o, err
	case err != nil || text == "":
		return o, nil
	}
	own, err := os.ReadFile(path.Join(j.series.dir(), j.names.Main))
	if errors.Is(err, fs.ErrNotExist) && !j.final {
		return o, faultf(passing, "%s: is not written yet", j.names.Main)
	}
	if err != nil {
		return o, diskFault(err)
	}
	if j.series.earlier != nil && !j.goesOn {
		own = j.series.earlier.without(j.names.Main, own)
	}
	o.read = true
	ours, theirs := map[string]bool{}, map[string]bool{}
	for _, n := range named(j.names.Main, own) {
		ours[n] = true
	}
	o.another = j.series.ousted || partOf(text) > max(j.series.task.Recording.Part, j.series.unbegun)
	for _, n := range named(playlist, []byte(text)) {
		theirs[n] = true
		o.another = o.another || (!ours[n] && (!j.goesOn || !j.series.ofEarlier(n)))
	}
	for n := range ours {
		o.more = o.more || !theirs[n]
	}
	return o, nil
}

// ofEarlier reports whether a segment is one of an earlier part: its worker may have listed
// it after this part was handed the playlist, and has no right to that any more.
func (s *series) ofEarlier(name string) bool {
	rec := s.task.Recording
	if s.i >= len(s.task.Job.Segments) {
		return false
	}
	for rec.Part--; rec.Part > 0; rec.Part-- {
		if strings.HasPrefix(path.Base(name), path.Base(rec.SegmentsOf(s.task.Job, s.i).FilenamePrefix)+"_") {
			return true
		}
	}
	return false
}

// partOf reads a rescuer's mark; 0 for none.
func partOf(text string) int {
	_, mark, _ := strings.Cut(text, partMark)
	mark, _, _ = strings.Cut(mark, "\n")
	n, _ := strconv.Atoi(mark)
	return n
}

// mark says in a playlist that a part goes on in it.
func mark(list recorder.MediaPlaylist, part int) string {
	return list.Text() + partMark + strconv.Itoa(part) + "\n"
}

// yield leaves a playlist to its new owner. What is listed nowhere else gets a name of its
// own.
func (j job) yield(ctx context.Context, st store, o *object, sent sentFile, owner ownership) (sentFile, error) {
	sent.Yielded, sent.Location = true, j.at
	if !owner.more || j.name != j.names.Main {
		return sent, nil
	}
	o.exact, o.overwrite, o.replaces = false, false, nil
	p, err := st.put(ctx, o)
	sent.Location = p.Location
	sent.Under = j.under(p)
	return sent, err
}

// under is the name that results show of a file which could not have its own.
func (j job) under(p placed) string {
	return strings.TrimPrefix(p.Name, path.Clean(j.where().Prefix)+"/")
}

// yielded says what became of a playlist that another worker goes on with.
func (s *series) yielded() string {
	f := s.book.sent[s.names.Main]
	name := s.book.set.name(s.names.Main)
	switch {
	case f.Under != "":
		return fmt.Sprintf("another worker has the job and goes on in %s; what was recorded until then is in %s", name, f.Under)
	case f.Yielded:
		return fmt.Sprintf("another worker has the job and goes on in %s", name)
	case s.leaves():
		return "a later part goes on in its playlist"
	default:
		return ""
	}
}
