package recorder

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
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

// codecs names what a file of this extension holds, picture first.
func codecs(job Job, ext string) []string {
	video, audio := "h264", "aac"
	switch ext {
	case ExtWebM:
		video, audio = "vp8", "opus"
	case ExtOGG:
		audio = "opus"
	case ExtMP3:
		audio = "mp3"
	}
	var held []string
	if holdsPicture(job, ext) {
		held = append(held, video)
	}
	if !job.VideoOnly {
		held = append(held, audio)
	}
	return held
}

func holdsPicture(job Job, ext string) bool {
	return !job.AudioOnly && ext != ExtOGG && ext != ExtMP3
}

func extension(filename string) string { return strings.ToLower(path.Ext(filename)) }

// ResolvePath fills a filepath's templates as LiveKit Egress does and gives it
// an extension. part > 1 adds ".partN" before it, so that a takeover overwrites
// nothing. What a room is called changes neither the directory nor the container.
func ResolvePath(job Job, filepath string, at time.Time, part int) string {
	ext := path.Ext(filepath)
	switch strings.ToLower(ext) {
	case ExtMP4, ExtWebM, ExtOGG, ExtMP3:
		filepath = strings.TrimSuffix(filepath, ext)
	default: // "talk v1.2" has no extension of ours
		ext = defaultExtension(job)
	}
	if filepath == "" || strings.HasSuffix(filepath, "/") {
		filepath += generatedName(job)
	}
	return fillPath(job, filepath, at, part) + ext
}

// fillPath fills the templates of a path without its extension.
func fillPath(job Job, p string, at time.Time, part int) string {
	at = at.UTC()
	templates := strings.NewReplacer(
		"{room_name}", fileName(job.RoomName, job.ID),
		"{room_id}", fileName(cmp.Or(job.RoomID, job.RoomName), job.ID), // who asks for a room need not know its sid
		"{id}", job.ID,
		"{time}", at.Format("2006-01-02T150405"),
		"{utc}", Timestamp(at),
	)
	filled := fitPath(templates.Replace(p))
	if part > 1 {
		filled = fmt.Sprintf("%s.part%d", filled, part)
	}
	return filled
}

// Timestamp is how names tell a time: 20060102150405000, in UTC and ms.
func Timestamp(at time.Time) string {
	at = at.UTC()
	return fmt.Sprintf("%s%03d", at.Format("20060102150405"), at.Nanosecond()/int(time.Millisecond))
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

// fileName is a room's name such that it makes no directory, leaves none and is
// not empty; a page's is its job's.
func fileName(room, id string) string {
	name := strings.Map(func(r rune) rune {
		if r == '/' || r == '\\' || r < ' ' || r == 0x7f {
			return '_'
		}
		return r
	}, strings.TrimLeft(room, "."))
	switch {
	case name != "":
		return name
	case id != "":
		return id
	default:
		return "recording"
	}
}

// A file system takes 255 bytes a part, of which ".part2", ".mp4" and ".json"
// need some; S3 takes 1024 in all.
const (
	longestPart = 200
	longestPath = 1000
)

// fitPath shortens what templates made too long.
func fitPath(p string) string {
	parts := strings.Split(p, "/")
	for most := longestPart; ; most /= 2 {
		for i := range parts {
			parts[i] = fit(parts[i], most)
		}
		if p = strings.Join(parts, "/"); len(p) <= longestPath || most <= longestPart/8 {
			return p
		}
	}
}

// fit cuts a name and marks what it was, so that two long ones stay two.
func fit(name string, most int) string {
	if len(name) <= most {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	mark := "~" + hex.EncodeToString(sum[:4])
	return strings.ToValidUTF8(name[:most-len(mark)], "") + mark
}
