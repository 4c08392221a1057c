package recorder

import (
	"fmt"
	"path"
	"strings"
	"time"
)

// Containers by extension. What each holds is the pipeline's trade.
const (
	ExtMP4  = ".mp4"
	ExtWebM = ".webm"
	ExtOGG  = ".ogg"
	ExtMP3  = ".mp3"
)

func extension(filename string) string { return strings.ToLower(path.Ext(filename)) }

// ResolvePath fills a filepath's templates as LiveKit Egress does and gives it
// an extension. part > 1 adds ".partN" before it, so that a takeover overwrites nothing.
func ResolvePath(job Job, filepath string, at time.Time, part int) string {
	at = at.UTC()
	if filepath == "" || strings.HasSuffix(filepath, "/") {
		filepath += generatedName(job)
	}
	filled := strings.NewReplacer(
		"{room_name}", safeName(job.RoomName),
		"{room_id}", safeName(job.RoomName), // a web page or a room nobody asked the server about has no sid
		"{id}", job.ID,
		"{time}", at.Format("2006-01-02T150405"),
		"{utc}", fmt.Sprintf("%s%03d", at.Format("20060102150405"), at.Nanosecond()/int(time.Millisecond)),
	).Replace(filepath)
	ext := path.Ext(filled)
	switch strings.ToLower(ext) {
	case ExtMP4, ExtWebM, ExtOGG, ExtMP3:
		filled = strings.TrimSuffix(filled, ext)
	default: // "talk v1.2" has no extension of ours
		ext = defaultExtension(job)
	}
	if part > 1 {
		filled = fmt.Sprintf("%s.part%d", filled, part)
	}
	return filled + ext
}

func generatedName(job Job) string {
	if job.RoomName != "" {
		return "{room_name}-{time}"
	}
	return "{id}-{time}"
}

func defaultExtension(job Job) string {
	if job.AudioOnly {
		return ExtOGG
	}
	return ExtMP4
}

// safeName keeps a room's name from making directories.
func safeName(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '/' || r == '\\' || r < ' ' || r == 0x7f {
			return '_'
		}
		return r
	}, strings.TrimLeft(name, "."))
}
