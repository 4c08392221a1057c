package faults

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// One playlist tells of a recording in two parts, whoever recorded them.
func TestPlaylistsGoOn(t *testing.T) {
	if !long() {
		t.Skip("TAPEDECK_LONG=1 plays it")
	}
	for _, r := range []row{
		{name: "a playlist's node", play: func(s *stage) {
			s.at(breakAt)
			s.w1.vanish()
			s.at(breakAt + 24*time.Second)
			require.NotContains(s, string(s.s3.Get("hls/list.m3u8")), recorder.TagEnd)
			s.w1.start() // too late: the playlist is w2's
			s.stopAt(breakAt + 30*time.Second)
		}},
		{name: "a playlist's Xvfb", play: func(s *stage) {
			s.at(breakAt)
			s.w1.hit("xvfb", syscall.SIGKILL)
			s.stopAt(stopAt)
		}},
	} {
		t.Run(r.name, func(t *testing.T) {
			s := newStage(t, r)
			defer s.close()
			s.job.Segments = []recorder.SegmentOutput{{
				PlaylistName: "hls/list", LivePlaylistName: "live", SegmentDuration: recorder.Duration(2 * time.Second),
			}}
			s.record()
			r.play(s)
			s.awaitEnd(most)
			rec := s.state()
			require.Len(t, rec.Earlier, 1)
			require.True(t, rec.Earlier[0].Segments[0].Continued)
			list := recordertest.ReadSegments(t, s.s3.Path("hls/list.m3u8"))
			require.True(t, list.Ended)
			cuts := 0
			for _, segment := range list.Segments {
				if segment.Cut {
					cuts++
				}
			}
			require.Equal(t, 1, cuts)
			require.EqualValues(t, len(list.Segments), rec.Earlier[0].Segments[0].SegmentCount+rec.Segments[0].SegmentCount)
			live := recordertest.ReadPlaylist(t, s.s3.Path("hls/live.m3u8"))
			require.Equal(t, list.Segments[len(list.Segments)-recorder.LiveSegments:], live.Segments)
		})
	}
}
