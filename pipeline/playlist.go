package pipeline

import (
	"fmt"
	"math"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tapedeck/recorder"
)

// playlist is what RFC 8216 has to say of one HLS output: all segments so far (an
// EVENT playlist), and the last few (a live one). It belongs to one goroutine.
type playlist struct {
	dir    string // of the output
	spec   recorder.SegmentOutput
	target int // seconds
	all    strings.Builder
	recent []string // the last entries
	count  int64
}

// newPlaylist fixes the target duration, which must never change (§4.3.3.1): no
// segment is longer when it is rounded as the RFC says.
func newPlaylist(dir string, spec recorder.SegmentOutput) *playlist {
	return &playlist{dir: dir, spec: spec, target: int(math.Ceil(spec.Aim().Seconds()))}
}

// add lists a segment. begin and end are media times, at the wall clock's time of begin.
func (p *playlist) add(name string, begin, end time.Duration, at time.Time) {
	// Each end is rounded, not each length, so that hours of lengths add up.
	length := end.Round(time.Millisecond) - begin.Round(time.Millisecond)
	entry := fmt.Sprintf("#EXT-X-PROGRAM-DATE-TIME:%s\n#EXTINF:%.3f,\n%s\n",
		at.UTC().Format("2006-01-02T15:04:05.000Z07:00"), length.Seconds(), p.uri(name))
	p.all.WriteString(entry)
	p.recent = append(p.recent, entry)
	if n := len(p.recent) - recorder.LiveSegments; n > 0 {
		p.recent = slices.Delete(p.recent, 0, n)
	}
	p.count++
}

// uri gives a segment's address, seen from the playlist.
func (p *playlist) uri(name string) string {
	rel, err := filepath.Rel(path.Dir(p.spec.PlaylistName), name)
	if err != nil {
		rel = name // both are relative paths: there always is a way
	}
	return (&url.URL{Path: filepath.ToSlash(rel)}).String()
}

// write replaces the playlists.
func (p *playlist) write(ended bool) error {
	if err := p.replace(p.spec.PlaylistName, 0, "#EXT-X-PLAYLIST-TYPE:EVENT\n", p.all.String(), ended); err != nil {
		return err
	}
	if p.spec.LivePlaylistName == "" {
		return nil
	}
	return p.replace(p.spec.LivePlaylistName, p.count-int64(len(p.recent)), "", strings.Join(p.recent, ""), ended)
}

func (p *playlist) replace(name string, first int64, kind, entries string, ended bool) error {
	text := fmt.Sprintf("#EXTM3U\n#EXT-X-VERSION:3\n%s#EXT-X-TARGETDURATION:%d\n#EXT-X-MEDIA-SEQUENCE:%d\n#EXT-X-INDEPENDENT-SEGMENTS\n%s",
		kind, p.target, first, entries)
	if ended {
		text += "#EXT-X-ENDLIST\n"
	}
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
