package recorder

import (
	"cmp"
	"math"
	"path"
	"strings"
	"time"
)

// The defaults of series, and how many segments a live playlist shows.
const (
	DefaultSegmentDuration = 4 * time.Second
	DefaultCaptureInterval = 10 * time.Second
	LiveSegments           = 5
)

// The extensions of series.
const (
	ExtSegment  = ".ts"
	ExtPlaylist = ".m3u8"
	ExtImage    = ".jpeg"
)

// Aim gives SegmentDuration or its default.
func (o SegmentOutput) Aim() time.Duration {
	return cmp.Or(o.SegmentDuration.Std(), DefaultSegmentDuration)
}

// Target is EXT-X-TARGETDURATION, in seconds: no segment is longer when it is rounded
// as RFC 8216 §4.3.3.1 says.
func (o SegmentOutput) Target() int { return int(math.Ceil(o.Aim().Seconds())) }

// Interval gives CaptureInterval or its default.
func (o ImageOutput) Interval() time.Duration {
	return cmp.Or(o.CaptureInterval.Std(), DefaultCaptureInterval)
}

// ResolveSegments fills names and defaults as LiveKit Egress does: the playlist is
// called what the segments' prefix is called, and the other way round, and both are
// generated where neither is given. A playlist without a directory lies in the prefix's;
// a prefix that is in another one begins below the playlist's. part is that of
// ResolvePath.
func ResolveSegments(job Job, o SegmentOutput, at time.Time, part int) SegmentOutput {
	segmentDir, prefix := path.Split(o.FilenamePrefix)
	listDir, list := path.Split(o.PlaylistName)
	_, live := path.Split(o.LivePlaylistName)
	list, live = withoutPlaylist(list), withoutPlaylist(live)
	listDir = cmp.Or(listDir, segmentDir)
	if !strings.HasPrefix(segmentDir, listDir) {
		segmentDir = listDir + segmentDir
	}
	list = cmp.Or(list, withoutPlaylist(prefix), generatedName(job))
	prefix = cmp.Or(prefix, list)
	fill := func(p string) string { return fillPath(job, p, at, part) }
	o.FilenamePrefix, o.PlaylistName, o.LivePlaylistName = fill(segmentDir+prefix), fill(listDir+list)+ExtPlaylist, ""
	if live != "" {
		o.LivePlaylistName = fill(listDir+live) + ExtPlaylist
	}
	o.SegmentDuration, o.FilenameSuffix = Duration(o.Aim()), cmp.Or(o.FilenameSuffix, SuffixIndex)
	return o
}

func withoutPlaylist(name string) string {
	if strings.EqualFold(path.Ext(name), ExtPlaylist) {
		return name[:len(name)-len(ExtPlaylist)]
	}
	return name
}

// ResolveImages fills names and defaults as LiveKit Egress does. Width and Height
// become those of the pictures; where one of them is given, the other keeps the ratio.
func ResolveImages(job Job, o ImageOutput, at time.Time, part int) ImageOutput {
	dir, prefix := path.Split(o.FilenamePrefix)
	o.FilenamePrefix = fillPath(job, dir+cmp.Or(prefix, generatedName(job)), at, part)
	o.CaptureInterval, o.FilenameSuffix = Duration(o.Interval()), cmp.Or(o.FilenameSuffix, SuffixIndex)
	width, height := job.Options().Width, job.Options().Height
	switch {
	case o.Width == 0 && o.Height == 0:
		o.Width, o.Height = width, height
	case o.Width == 0:
		o.Width = proportion(o.Height, width, height)
	case o.Height == 0:
		o.Height = proportion(o.Width, height, width)
	}
	return o
}

// proportion gives n times a to b, rounded, and never nothing.
func proportion(n, a, b int) int { return max(1, (n*a+b/2)/b) }
