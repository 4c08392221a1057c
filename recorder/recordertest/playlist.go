package recordertest

import (
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// Playlist is an HLS media playlist (RFC 8216).
type Playlist struct {
	Version     int
	Target      time.Duration
	Sequence    int64 // number of the first segment
	Cuts        int64 // discontinuities before the first segment
	Type        string
	Independent bool
	Ended       bool
	Segments    []PlaylistSegment
}

// PlaylistSegment is one of a Playlist's.
type PlaylistSegment struct {
	Name     string // as it would be on disk: not escaped
	Duration time.Duration
	At       time.Time // EXT-X-PROGRAM-DATE-TIME
	Cut      bool      // EXT-X-DISCONTINUITY
}

// Duration is that of all segments.
func (p Playlist) Duration() (sum time.Duration) {
	for _, s := range p.Segments {
		sum += s.Duration
	}
	return sum
}

// ReadPlaylist reads a playlist that must obey the RFC to the letter.
func ReadPlaylist(t testing.TB, path string) Playlist {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	p, err := ParsePlaylist(string(text))
	require.NoError(t, err, "%s:\n%s", path, text)
	return p
}

// ReadSegments is ReadPlaylist for one on disk whose segments are all there,
// each of which decodes alone and begins with a key frame where there is a picture.
func ReadSegments(t testing.TB, path string) Playlist {
	t.Helper()
	p := ReadPlaylist(t, path)
	for _, s := range p.Segments {
		name := filepath.Join(filepath.Dir(path), filepath.FromSlash(s.Name))
		require.Empty(t, segmentTool(t, "ffmpeg", "-nostdin", "-v", "warning", "-xerror", "-f", "mpegts", "-i", name, "-f", "null", "-"), "%s decodes alone", name)
		flags := segmentTool(t, "ffprobe", "-v", "warning", "-f", "mpegts", "-select_streams", "v", "-show_entries", "packet=flags", "-of", "csv=p=0", name)
		if flags != "" {
			require.Equal(t, "K", flags[:1], "%s begins with a key frame", name)
		}
	}
	return p
}

// unsure is what ffmpeg says of fewer than seven packets: the last segment may hold one
// picture only.
var unsure = regexp.MustCompile(`(?m)^\[mpegts @ \w+\] Could not detect TS packet size, defaulting to non-FEC/DVHS\s*`)

// segmentTool is Tool for a segment, which may be too short for ffmpeg to be sure of.
func segmentTool(t testing.TB, name string, args ...string) string {
	t.Helper()
	return unsure.ReplaceAllString(Tool(t, name, args...), "")
}

// programDateTime is how we write one: RFC 8216 §4.3.2.6 wants a zone, and ms.
var programDateTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`)

// ParsePlaylist reads a media playlist. The error names the line that breaks a
// rule of RFC 8216, or what is missing.
func ParsePlaylist(text string) (Playlist, error) {
	r := playlistReader{seen: map[string]bool{}, names: map[string]bool{}}
	switch {
	case !utf8.ValidString(text) || strings.HasPrefix(text, "\ufeff"):
		return r.list, fmt.Errorf("§4.1: not UTF-8, or with a byte order mark")
	case !strings.HasPrefix(text, "#EXTM3U\n") || !strings.HasSuffix(text, "\n"):
		return r.list, fmt.Errorf("§4.3.1.1: must begin with #EXTM3U, and end with a line's end")
	}
	for n, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n")[1:] {
		if err := r.line(line); err != nil {
			return r.list, fmt.Errorf("line %d, %q: %w", n+2, line, err)
		}
	}
	return r.list, r.end()
}

type playlistReader struct {
	list  Playlist
	seen  map[string]bool
	names map[string]bool
	next  PlaylistSegment
	timed bool // next has its EXTINF
}

func (r *playlistReader) line(line string) error {
	switch {
	case r.list.Ended:
		return fmt.Errorf("something follows EXT-X-ENDLIST")
	case line == "" || strings.ContainsFunc(line, func(c rune) bool { return c < ' ' || c == 0x7f }):
		return fmt.Errorf("§4.1: empty, or with control characters")
	case strings.HasPrefix(line, "#EXT"):
		tag, value, _ := strings.Cut(line, ":")
		return r.tag(tag, value)
	case strings.HasPrefix(line, "#"):
		return nil // a comment
	default:
		return r.uri(line)
	}
}

func (r *playlistReader) tag(tag, value string) (err error) {
	inSegment := tag == "#EXTINF" || tag == "#EXT-X-PROGRAM-DATE-TIME" || tag == "#EXT-X-DISCONTINUITY"
	if !inSegment {
		if r.seen[tag] {
			return fmt.Errorf("§4.1: twice")
		}
		if tag != "#EXT-X-ENDLIST" && (len(r.list.Segments) > 0 || r.next != (PlaylistSegment{})) {
			return fmt.Errorf("§4.3.3.3 and others: comes after the first segment, or what belongs to it")
		}
	}
	r.seen[tag] = true
	switch tag {
	case "#EXT-X-VERSION":
		r.list.Version, err = strconv.Atoi(value)
	case "#EXT-X-TARGETDURATION":
		var seconds int
		seconds, err = strconv.Atoi(value)
		r.list.Target = time.Duration(seconds) * time.Second
	case "#EXT-X-MEDIA-SEQUENCE":
		r.list.Sequence, err = strconv.ParseInt(value, 10, 64)
	case "#EXT-X-DISCONTINUITY-SEQUENCE":
		r.list.Cuts, err = strconv.ParseInt(value, 10, 64)
	case "#EXT-X-DISCONTINUITY":
		if r.next.Cut || value != "" {
			return fmt.Errorf("§4.3.2.3: with a value, or twice")
		}
		r.next.Cut = true
	case "#EXT-X-PLAYLIST-TYPE":
		r.list.Type = value
		if value != "EVENT" && value != "VOD" {
			err = fmt.Errorf("§4.3.3.5: EVENT or VOD")
		}
	case "#EXT-X-INDEPENDENT-SEGMENTS":
		r.list.Independent = true
	case "#EXT-X-ENDLIST":
		r.list.Ended = true
	case "#EXT-X-PROGRAM-DATE-TIME":
		if !programDateTime.MatchString(value) || !r.next.At.IsZero() {
			return fmt.Errorf("§4.3.2.6: malformed, or twice")
		}
		r.next.At, err = time.Parse(time.RFC3339Nano, value)
	case "#EXTINF":
		err = r.inf(value)
	default:
		err = fmt.Errorf("no tag that is expected here")
	}
	return err
}

func (r *playlistReader) inf(value string) error {
	length, _, comma := strings.Cut(value, ",")
	seconds, err := strconv.ParseFloat(length, 64)
	switch {
	case err != nil || !comma || seconds <= 0 || r.timed:
		return fmt.Errorf("§4.3.2.1: malformed, or twice")
	case strings.Contains(length, ".") && r.list.Version < 3:
		return fmt.Errorf("§7: decimals need version 3")
	case r.list.Target == 0 || math.Round(seconds) > r.list.Target.Seconds():
		return fmt.Errorf("§4.3.3.1: longer than the target duration of %v", r.list.Target)
	}
	r.next.Duration, r.timed = time.Duration(math.Round(seconds*1e9)), true
	return nil
}

func (r *playlistReader) uri(line string) error {
	u, err := url.Parse(line)
	if err != nil || u.Path == "" || u.RawQuery != "" || u.Fragment != "" || u.IsAbs() {
		return fmt.Errorf("§4.1: no relative URI")
	}
	if !r.timed || r.names[u.Path] {
		return fmt.Errorf("§4.3.2.1: without EXTINF, or twice")
	}
	if n := len(r.list.Segments); n > 0 && !r.next.At.IsZero() && !r.next.Cut {
		before := r.list.Segments[n-1]
		if off := r.next.At.Sub(before.At.Add(before.Duration)).Abs(); off > 2*time.Millisecond {
			return fmt.Errorf("EXT-X-PROGRAM-DATE-TIME is %v off the end of the segment before", off)
		}
	}
	r.names[u.Path] = true
	r.next.Name = u.Path
	r.list.Segments = append(r.list.Segments, r.next)
	r.next, r.timed = PlaylistSegment{}, false
	return nil
}

func (r *playlistReader) end() error {
	switch {
	case !r.seen["#EXT-X-TARGETDURATION"]:
		return fmt.Errorf("§4.3.3.1: no EXT-X-TARGETDURATION")
	case !r.seen["#EXT-X-MEDIA-SEQUENCE"]:
		return fmt.Errorf("no EXT-X-MEDIA-SEQUENCE: a player may take the first segment for number 0")
	case r.next != (PlaylistSegment{}):
		return fmt.Errorf("§4.3.2.1: the last EXTINF has no URI")
	case r.list.Type != "" && r.list.Sequence+r.list.Cuts != 0:
		return fmt.Errorf("§6.2.1: an EVENT playlist must not lose segments")
	}
	return nil
}
