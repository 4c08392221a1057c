package recorder_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// listOf is a playlist of so many segments of 4 s, as the pipeline writes it.
func listOf(prefix string, segments int) recorder.MediaPlaylist {
	list := recorder.MediaPlaylist{Event: true, Target: 4}
	for n := range segments {
		list.Entries = append(list.Entries, recorder.PlaylistEntry{
			Name: fmt.Sprintf("%s_%05d.ts", prefix, n), Length: 4 * time.Second, At: time.Unix(int64(1000+4*n), 0).UTC(), Cut: n > 0 && n%4 == 0,
		})
	}
	return list
}

func TestPlaylistIsReadAsItWasWritten(t *testing.T) {
	list := listOf("a b/ö:#%", 11)
	for _, l := range []recorder.MediaPlaylist{list, list.Latest(), {Event: true, Target: 1}} {
		for _, l.Ended = range []bool{false, true} {
			read, err := recorder.ReadPlaylist(l.Text())
			require.NoError(t, err)
			require.Equal(t, l, read)
			_, err = recordertest.ParsePlaylist(l.Text())
			require.NoError(t, err, l.Text())
		}
	}
	live := list.Latest()
	require.Len(t, live.Entries, recorder.LiveSegments)
	require.EqualValues(t, 6, live.First)
	require.EqualValues(t, 1, live.Cuts, "that before the second part has left; the third part's is still listed")
	require.True(t, live.Entries[2].Cut)
	require.Equal(t, 44*time.Second, list.Length())
	commented := strings.Replace(list.Text(), "#EXTINF", "# said by somebody\n#EXTINF", 1)
	read, err := recorder.ReadPlaylist(commented)
	require.NoError(t, err)
	require.Equal(t, list, read)
}

// What is read goes on in a playlist of ours: a line that we would not write is
// refused, whoever put it there.
func TestPlaylistsOfOthers(t *testing.T) {
	good := listOf("seg", 2).Text()
	for name, text := range map[string]string{
		"nothing":         "",
		"a page":          "<html>",
		"no end of line":  strings.TrimSuffix(good, "\n"),
		"other line ends": strings.ReplaceAll(good, "\n", "\r\n"),
		"a longer one":    strings.Replace(good, "4.000", "5.000", 1),
		"no length":       strings.Replace(good, "4.000", "NaN", 1),
		"a negative one":  strings.Replace(good, "4.000", "-1", 1),
		"a title":         strings.Replace(good, "4.000,", "4.000,x", 1),
		"no time":         strings.Replace(good, "1970-", "x", 1),
		"two times":       strings.Replace(good, "#EXTINF", "#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00.000Z\n#EXTINF", 1),
		"no target":       strings.Replace(good, "TARGETDURATION:4", "TARGETDURATION:0", 1),
		"a number":        strings.Replace(good, "SEQUENCE:0", "SEQUENCE:-1", 1),
		"a key":           strings.Replace(good, "#EXTINF", "#EXT-X-KEY:METHOD=AES-128,URI=\"http://x\"\n#EXTINF", 1),
		"a late head":     good + "#EXT-X-MEDIA-SEQUENCE:4\n",
		"more":            good + recorder.TagEnd + recorder.TagEnd,
		"half a segment":  good + "#EXT-X-DISCONTINUITY\n",
		"a stranger's":    strings.Replace(good, "seg_00000.ts", "https://example.com/seg_00000.ts", 1),
		"a neighbour's":   strings.Replace(good, "seg_00000.ts", "//example.com/seg_00000.ts", 1),
		"above":           strings.Replace(good, "seg_00000.ts", "../seg_00000.ts", 1),
		"roundabout":      strings.Replace(good, "seg_00000.ts", "x/../seg_00000.ts", 1),
		"the top":         strings.Replace(good, "seg_00000.ts", "/seg_00000.ts", 1),
		"a question":      strings.Replace(good, "seg_00000.ts", "seg_00000.ts?x.ts", 1),
		"a control":       strings.Replace(good, "seg_00000.ts", "seg%0a_00000.ts", 1),
		"no segment":      strings.Replace(good, "seg_00000.ts", "seg_00000.sh", 1),
		"one twice":       strings.Replace(good, "seg_00001.ts", "seg_00000.ts", 1),
		"endless":         good + strings.Repeat("# \n", recorder.MaxPlaylist/3),
	} {
		_, err := recorder.ReadPlaylist(text)
		assert.ErrorContains(t, err, "no playlist of ours", name)
		assert.Less(t, len(err.Error()), 250, name)
	}
}

func TestContinuedNames(t *testing.T) {
	job := recorder.Job{ID: "EG_1", Segments: []recorder.SegmentOutput{
		{FilenamePrefix: "hls/ts/seg", PlaylistName: "hls/list", LivePlaylistName: "live"}, {PlaylistName: "other"}, {PlaylistName: "third"},
	}}
	rec := recorder.NewRecording(job, time.Unix(1000, 0))
	names := func(i int) [3]string {
		o := rec.SegmentsOf(job, i)
		return [3]string{o.FilenamePrefix, o.PlaylistName, o.LivePlaylistName}
	}
	next := func(playlists ...string) []string {
		rec.Earlier = append(rec.Earlier, recorder.Part{Part: rec.Part, Segments: rec.Segments})
		rec.Segments = make([]recorder.SegmentsResult, 3)
		rec.Part++
		return rec.Continue(job, playlists)
	}
	require.Empty(t, rec.Continue(job, []string{"x"}), "the first part goes on from nothing")
	require.Equal(t, [3]string{"hls/ts/seg", "hls/list.m3u8", "hls/live.m3u8"}, names(0))

	first, other, stranger := listOf("ts/seg", 3).Text(), listOf("other", 1).Text(), listOf("theirs", 1).Text()
	require.Equal(t, []string{first, other, ""}, next(first, other, stranger), "each by itself")
	require.Equal(t, [3]string{"hls/ts/seg.part2", "hls/list.m3u8", "hls/live.m3u8"}, names(0), "no segment of another part's worker has these names")
	require.Equal(t, [3]string{"third.part2", "third.part2.m3u8", ""}, names(2))
	require.True(t, rec.Earlier[0].Segments[0].Continued)
	require.False(t, rec.Earlier[0].Segments[2].Continued)

	long := listOf("other", 1)
	long.Target = 5
	later := listOf("third.part2", 1).Text()
	require.Equal(t, []string{first, "", later}, next(first, long.Text(), later), "a target duration stays")
	require.Equal(t, "hls/list.m3u8", names(0)[1])
	require.Equal(t, [3]string{"other.part3", "other.part3.m3u8", ""}, names(1))
	require.Equal(t, [3]string{"third.part3", "third.part2.m3u8", ""}, names(2))

	require.Equal(t, []string{"", "", ""}, next(listOf("ts/seg", 8).Latest().Text()), "a live playlist is not all of it")
	require.Equal(t, "hls/list.part4.m3u8", names(0)[1])
}
