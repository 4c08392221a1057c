package recorder

import (
	"fmt"
	"path"
	"strings"
	"time"
)

// Continue has the recording, whose lost or ended part is the last of Earlier, go on in
// the playlists that this part left, and answers with those that the next part's task
// names: what is no playlist of that part is left out, and its output begins anew
// under the names of the new part. Called with the new part's number set and before the
// outputs are named.
func (r *Recording) Continue(job Job, playlists []string) (taken []string) {
	if len(r.Earlier) == 0 {
		return nil
	}
	last := &r.Earlier[len(r.Earlier)-1]
	taken = make([]string, len(job.Segments))
	for i := range min(len(playlists), len(job.Segments), len(last.Segments)) {
		last.Segments[i].Continued = playlists[i] != "" && r.fits(job, i, playlists[i]) == nil
		if last.Segments[i].Continued {
			taken[i] = playlists[i]
		}
	}
	return taken
}

// fits reports whether segments output i can go on in a playlist of this text.
func (r Recording) fits(job Job, i int, text string) error {
	list, err := ReadPlaylist(text)
	if err != nil {
		return err
	}
	first := ResolveSegments(job, job.Segments[i], r.createdAt(), 1)
	prefix := path.Base(first.FilenamePrefix)
	switch {
	case !list.Event || list.First != 0 || len(list.Entries) == 0:
		return fmt.Errorf("no playlist of a whole recording")
	case list.Target != first.Target():
		return fmt.Errorf("its target duration is %d s and must stay", list.Target)
	}
	for _, e := range list.Entries {
		if !strings.HasPrefix(path.Base(e.Name), prefix) {
			return fmt.Errorf("it names %q, which is none of ours", e.Name)
		}
	}
	return nil
}

func (r Recording) createdAt() time.Time { return time.Unix(0, r.CreatedAt) }

// listPart gives the part whose playlists segments output i goes on in; its own where
// it began anew.
func (r Recording) listPart(i int) int {
	part := r.Part
	for n := len(r.Earlier) - 1; n >= 0; n-- {
		e := r.Earlier[n]
		if i >= len(e.Segments) || !e.Segments[i].Continued {
			break
		}
		part = e.Part
	}
	return max(part, 1)
}

// SegmentsOf resolves segments output i of a recording. One that goes on keeps its playlists. Its
// segments are named after their part all the same: the worker of an earlier part
// may be alive, and have some that no playlist names yet.
func (r Recording) SegmentsOf(job Job, i int) SegmentOutput {
	o := ResolveSegments(job, job.Segments[i], r.createdAt(), r.Part)
	lists := ResolveSegments(job, job.Segments[i], r.createdAt(), r.listPart(i))
	o.PlaylistName, o.LivePlaylistName = lists.PlaylistName, lists.LivePlaylistName
	return o
}

// imagesBefore counts the pictures that earlier parts took for images output i.
func (r Recording) imagesBefore(i int) (n int64) {
	for _, e := range r.Earlier {
		if i < len(e.Images) {
			n += e.Images[i].ImageCount
		}
	}
	return n
}
