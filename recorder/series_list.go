package recorder

import (
	"fmt"
	"math"
	"net/url"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// MediaPlaylist is what RFC 8216 has to say of an HLS stream. It is kept as it is
// written, so that a later part of a recording goes on where an earlier one ended.
type MediaPlaylist struct {
	Event  bool  // all segments so far, to which only more are added
	Target int   // seconds; it never changes (§4.3.3.1)
	First  int64 // number of the first segment (§4.3.3.2)
	// Cuts are the discontinuities before the first segment (§4.3.3.3).
	Cuts    int64
	Entries []PlaylistEntry
	Ended   bool // nothing follows
}

// PlaylistEntry is one segment of a playlist.
type PlaylistEntry struct {
	Name   string    // seen from the playlist's directory, not escaped
	At     time.Time // wall clock of its first frame
	Length time.Duration
	Cut    bool // it does not follow from the one before: another part begins
}

// Text writes an entry.
func (e PlaylistEntry) Text() string {
	cut := ""
	if e.Cut {
		cut = tagCut + "\n"
	}
	return fmt.Sprintf("%s%s%s\n%s%.3f,\n%s\n", cut, tagTime, e.At.UTC().Format(programDateTime),
		tagLength, e.Length.Seconds(), (&url.URL{Path: e.Name}).String())
}

// Text writes a playlist.
func (p MediaPlaylist) Text() string {
	var entries strings.Builder
	for _, e := range p.Entries {
		entries.WriteString(e.Text())
	}
	return p.Wrap(entries.String())
}

// Wrap writes a playlist around the text of its entries.
func (p MediaPlaylist) Wrap(entries string) string {
	var b strings.Builder
	b.WriteString(playlistHead)
	if p.Event {
		b.WriteString(tagEvent + "\n")
	}
	fmt.Fprintf(&b, "%s%d\n%s%d\n", tagTarget, p.Target, tagFirst, p.First)
	if p.Cuts > 0 {
		fmt.Fprintf(&b, "%s%d\n", tagCuts, p.Cuts)
	}
	b.WriteString(tagAlone + "\n")
	b.WriteString(entries)
	if p.Ended {
		b.WriteString(TagEnd)
	}
	return b.String()
}

// Latest gives the live playlist beside p: its last segments.
func (p MediaPlaylist) Latest() MediaPlaylist {
	live := p
	live.Event = false
	n := max(0, len(p.Entries)-LiveSegments)
	live.Entries, live.First = p.Entries[n:], p.First+int64(n)
	for _, e := range p.Entries[:n] {
		if e.Cut {
			live.Cuts++
		}
	}
	return live
}

// Length is that of all segments.
func (p MediaPlaylist) Length() (sum time.Duration) {
	for _, e := range p.Entries {
		sum += e.Length
	}
	return sum
}

// The lines of our playlists. TagEnd ends one that gets no more segments.
const (
	TagEnd          = "#EXT-X-ENDLIST\n"
	playlistHead    = "#EXTM3U\n#EXT-X-VERSION:3\n"
	tagEvent        = "#EXT-X-PLAYLIST-TYPE:EVENT"
	tagTarget       = "#EXT-X-TARGETDURATION:"
	tagFirst        = "#EXT-X-MEDIA-SEQUENCE:"
	tagCuts         = "#EXT-X-DISCONTINUITY-SEQUENCE:"
	tagAlone        = "#EXT-X-INDEPENDENT-SEGMENTS"
	tagCut          = "#EXT-X-DISCONTINUITY"
	tagTime         = "#EXT-X-PROGRAM-DATE-TIME:"
	tagLength       = "#EXTINF:"
	programDateTime = "2006-01-02T15:04:05.000Z"
)

// MaxPlaylist bounds the text of a playlist that is read: a day in segments of one
// second takes 10 MB.
const MaxPlaylist = 16 << 20

// ReadPlaylist reads a playlist that the pipeline wrote, and nothing else: what is
// read goes on in a playlist of ours, so that every line of it must be one we would write.
// Comments are left out.
func ReadPlaylist(text string) (MediaPlaylist, error) {
	r := listReader{names: map[string]bool{}}
	rest, ok := strings.CutPrefix(text, playlistHead)
	if len(text) > MaxPlaylist || !ok || !strings.HasSuffix(rest, "\n") {
		return r.list, fmt.Errorf("no playlist of ours: it has %d bytes and begins with %.20q", len(text), text)
	}
	n := strings.Count(playlistHead, "\n")
	for line := range strings.Lines(rest) {
		n++
		if err := r.line(strings.TrimSuffix(line, "\n")); err != nil {
			return r.list, fmt.Errorf("no playlist of ours: line %d, %.60q: %w", n, line, err)
		}
	}
	if r.list.Target <= 0 || r.next != (PlaylistEntry{}) {
		return r.list, fmt.Errorf("no playlist of ours: it has no target duration, or half a segment at its end")
	}
	return r.list, nil
}

type listReader struct {
	list  MediaPlaylist
	next  PlaylistEntry
	names map[string]bool
}

func (r *listReader) line(line string) error {
	switch {
	case r.list.Ended:
		return fmt.Errorf("something follows the end")
	case strings.HasPrefix(line, "#EXT"):
		return r.tag(line)
	case strings.HasPrefix(line, "#"):
		return nil
	default:
		return r.segment(line)
	}
}

func (r *listReader) tag(line string) error {
	tag, value, valued := strings.Cut(line, ":")
	if valued {
		tag += ":"
	}
	switch tag {
	case tagTime:
		at, err := time.Parse(programDateTime, value)
		if err != nil || at.IsZero() || !r.next.At.IsZero() {
			return fmt.Errorf("no time, or another one")
		}
		r.next.At = at
		return nil
	case tagLength:
		return r.length(value)
	case tagCut:
		r.next.Cut = true
		return nil
	case strings.TrimSpace(TagEnd):
		r.list.Ended = true
		return nil
	}
	if len(r.list.Entries) > 0 || r.next != (PlaylistEntry{}) {
		return fmt.Errorf("no tag of a segment")
	}
	return r.head(line, tag, value)
}

// head reads what stands before the first segment.
func (r *listReader) head(line, tag, value string) error {
	n, err := strconv.ParseInt(value, 10, 32)
	switch tag {
	case tagTarget:
		r.list.Target = int(n)
	case tagFirst:
		r.list.First = n
	case tagCuts:
		r.list.Cuts = n
	default:
		r.list.Event = r.list.Event || line == tagEvent
		if line != tagEvent && line != tagAlone {
			return fmt.Errorf("no tag that we write")
		}
		return nil
	}
	if err != nil || n < 0 {
		return fmt.Errorf("no number")
	}
	return nil
}

func (r *listReader) length(value string) error {
	text, comma := strings.CutSuffix(value, ",")
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || !comma || seconds <= 0 || math.Round(seconds) > float64(r.list.Target) || r.next.Length != 0 {
		return fmt.Errorf("no length, or one beyond the target duration of %d s", r.list.Target)
	}
	r.next.Length = time.Duration(math.Round(seconds*1000)) * time.Millisecond
	return nil
}

func (r *listReader) segment(line string) error {
	u, err := url.Parse(line)
	if err != nil {
		return fmt.Errorf("no address")
	}
	name := path.Clean(u.Path)
	switch {
	case line != (&url.URL{Path: name}).String() || !filepath.IsLocal(name) || !strings.HasSuffix(name, ExtSegment) ||
		!utf8.ValidString(name) || strings.ContainsFunc(name, isControl):
		return fmt.Errorf("no segment below the playlist")
	case r.next.Length == 0 || r.next.At.IsZero() || r.names[name]:
		return fmt.Errorf("a segment without a length or a time, or a second time")
	}
	r.next.Name, r.names[name] = name, true
	r.list.Entries = append(r.list.Entries, r.next)
	r.next = PlaylistEntry{}
	return nil
}

func isControl(c rune) bool { return c < ' ' || c == 0x7f }
