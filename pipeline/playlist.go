package pipeline

import (
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"tapedeck/recorder"
)

// playlist keeps the two playlists of one HLS output: all segments so far (an EVENT
// playlist), and the last few (a live one). It belongs to one goroutine.
type playlist struct {
	dir   string // of the output
	spec  recorder.SegmentOutput
	list  recorder.MediaPlaylist
	text  strings.Builder // of its entries
	count int64
	cut   bool // the next segment does not follow from the last
}

// newPlaylist begins with what earlier parts listed, if there is any. The target
// duration never changes (RFC 8216 §4.3.3.1).
func newPlaylist(dir string, spec recorder.SegmentOutput, earlier recorder.MediaPlaylist) *playlist {
	p := &playlist{dir: dir, spec: spec, list: recorder.MediaPlaylist{Event: true, Target: spec.Target()}}
	for _, e := range earlier.Entries {
		p.append(e)
	}
	p.cut = p.count > 0
	return p
}

// readEarlier reads the playlist that an output goes on in.
func readEarlier(o recorder.Output) (recorder.MediaPlaylist, error) {
	if o.Earlier == "" {
		return recorder.MediaPlaylist{}, nil
	}
	list, err := recorder.ReadPlaylist(o.Earlier)
	if err == nil && list.Target != o.Segments.Target() {
		err = recorder.Errorf(recorder.CodeInvalid, "its target duration is %d s", list.Target)
	}
	if err != nil {
		return list, recorder.Errorf(recorder.CodeInvalid, "output %s: the earlier playlist: %w", o.ID, err)
	}
	return list, nil
}

// add lists a segment. begin and end are media times, at the wall clock's time of begin.
func (p *playlist) add(name string, begin, end time.Duration, at time.Time) {
	// Each end is rounded, not each length, so that hours of lengths add up.
	length := end.Round(time.Millisecond) - begin.Round(time.Millisecond)
	p.append(recorder.PlaylistEntry{Name: p.seen(name), At: at, Length: length, Cut: p.cut})
	p.cut = false
}

func (p *playlist) append(e recorder.PlaylistEntry) {
	p.text.WriteString(e.Text())
	p.count++
	p.list.Entries = append(p.list.Entries, e)
}

// seen gives a segment's name, seen from the playlist.
func (p *playlist) seen(name string) string {
	rel, err := filepath.Rel(path.Dir(p.spec.PlaylistName), name)
	if err != nil {
		return name // both are relative paths: there always is a way
	}
	return filepath.ToSlash(rel)
}

// write replaces the playlists.
func (p *playlist) write(ended bool) error {
	p.list.Ended = ended
	if err := p.replace(p.spec.PlaylistName, p.list.Wrap(p.text.String())); err != nil {
		return err
	}
	if p.spec.LivePlaylistName == "" {
		return nil
	}
	return p.replace(p.spec.LivePlaylistName, p.list.Latest().Text())
}

func (p *playlist) replace(name, text string) error {
	return writeWhole(filepath.Join(p.dir, filepath.FromSlash(name)), []byte(text))
}

// writeWhole writes a file of a series such that its name never shows half of it.
func writeWhole(name string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil { //nolint:gosec // media is for other users' eyes too
		return recorder.Errorf(recorder.CodePipeline, "output directory: %w", err)
	}
	if err := os.WriteFile(name+recorder.PartSuffix, data, 0o644); err != nil { //nolint:gosec // as above
		return recorder.Errorf(recorder.CodePipeline, "output file: %w", err)
	}
	if err := os.Rename(name+recorder.PartSuffix, name); err != nil {
		return recorder.Errorf(recorder.CodePipeline, "output file: %w", err)
	}
	return nil
}
