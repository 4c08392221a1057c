package upload

import (
	"context"
	"fmt"
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
	another bool // not this entry
	more    bool // this entry has segments that are not listed there
}

// owner looks before a playlist is replaced for the last time: whoever took the job over
// meanwhile goes on in it, and this entry's version would end it for those who watch.
// What cannot be read is taken for our own.
func (j job) owner(ctx context.Context, st store) (o ownership, err error) {
	name, err := j.where().name(j.set.name(j.names.Main))
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
	if err != nil {
		return o, diskFault(err)
	}
	ours, theirs := map[string]bool{}, map[string]bool{}
	for _, n := range named(j.names.Main, own) {
		ours[n] = true
	}
	o.another = j.series.ousted || partOf(text) > j.series.task.Recording.Part
	for _, n := range named(j.names.Main, []byte(text)) {
		theirs[n] = true
		o.another = o.another || !ours[n]
	}
	for n := range ours {
		o.more = o.more || !theirs[n]
	}
	return o, nil
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
	o.exact, o.overwrite = false, false
	p, err := st.put(ctx, o)
	sent.Location = p.Location
	sent.Under = strings.TrimPrefix(p.Name, path.Clean(j.where().Prefix)+"/")
	return sent, err
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
