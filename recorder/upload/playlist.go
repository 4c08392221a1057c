package upload

import (
	"net/url"
	"path"
	"strings"
)

func isPlaylist(name string) bool { return strings.EqualFold(path.Ext(name), ".m3u8") }

// named lists the files that a playlist names (RFC 8216, 4.1: a line that is
// neither empty nor begins with # is a URI), as names below the series'
// directory. name is the playlist's own.
func named(name string, text []byte) []string {
	var files []string
	for line := range strings.SplitSeq(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		u, err := url.Parse(line)
		if err == nil && u.IsAbs() {
			continue // somebody else's
		}
		file := line // a name with a colon in it is no URL
		if err == nil {
			file = u.Path
		}
		files = append(files, path.Join(path.Dir(name), file))
	}
	return files
}
