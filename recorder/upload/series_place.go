package upload

import "context"

// place gives a playlist its name, which was free when the series looked for one. Another
// series may have it by now whose segments are called something else, such as that of another
// part of the job: nothing is replaced but what is our own.
func (j job) place(ctx context.Context, st store, o *object, sent sentFile) (sentFile, digest, error) {
	o.overwrite = false
	p, err := st.put(ctx, o)
	if isTaken(err) {
		owner, unknown := j.owner(ctx, st, j.name)
		switch {
		case unknown != nil:
			return sent, digest{}, unknown
		case owner.read && !owner.another: // sent, and the answer or the note of it was lost
			o.overwrite = true
			p, err = st.put(ctx, o)
		case j.final && j.name != j.names.Main: // which alone can have another name
			sent, err = j.yield(ctx, st, o, sent, owner)
			return sent, digest{}, err
		}
	}
	sent.Location = p.Location
	return sent, o.digest, err
}

// unplaced reports whether the names of the playlists are not the series' own yet: they are
// once the storage has the main one.
func (s *series) unplaced() bool {
	_, placed := s.book.sent[s.names.Main]
	where := s.route.where(s.book.set != nil && s.book.set.Backup)
	return s.names.Main != "" && !placed && !s.goesOn() && !where.Overwrite
}

// follows reports whether a playlist waits for the main one to have its name.
func (s *series) follows(name string) bool {
	return name != s.names.Main && s.unplaced() && (!s.final || s.holdsPlaylist())
}
