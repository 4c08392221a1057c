package upload_test

import (
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
	"tapedeck/recorder/upload"
)

// finder gives what lies under a name of a storage, nil where there is nothing.
type finder func(name string) []byte

// rival is a part whose storage refuses everything from its first segment on, and which
// has sent that segment to the backup: it took its names while they were free, and its
// playlist, which the test writes, comes later.
func (d *deck) rival(p *recordertest.S3Proxy, first *show, find finder) (second *show, stop func()) {
	second = d.next(first, first.reported(), playlistsOf(first.entry))
	p.Fault(func(int, *http.Request) recordertest.S3Fault {
		return recordertest.S3Fault{Status: http.StatusForbidden, Code: "AccessDenied"}
	})
	stop = second.follow()
	second.studio.closed(1000)
	eventually(d.t, func() bool { return find("talk/seg.part2_00002.ts") != nil })
	return second, stop
}

// Two parts turn to the backup at one time, and both find the names free there. Their
// segments are called something else, so that only the playlists meet: the second one's
// gets another name, and hides nothing of the first one's.
func TestSeriesMeetInTheBackup(t *testing.T) {
	s := recordertest.StartS3(t)
	dir := t.TempDir()
	backup := s.Upload()
	backup.Bucket = "backup"
	other := *s
	other.Bucket = backup.Bucket
	other.MakeBucket()
	for name, c := range map[string]struct {
		to   upload.Storage
		find finder
	}{
		"directory": {upload.Storage{Directory: dir}, func(name string) []byte {
			data, _ := os.ReadFile(filepath.Join(dir, name))
			return data
		}},
		"bucket": {upload.Storage{S3: backup}, other.Find},
	} {
		t.Run(name, func(t *testing.T) {
			p := recordertest.StartS3Proxy(t, s.Endpoint)
			own := upload.Storage{S3: through(s, p), Prefix: name}
			d := newDeck(t, upload.Options{Default: own, Backup: c.to})
			first := d.show(hlsJob("hls", recorder.Storage{}))
			stop := first.follow()
			first.studio.segment(1000)
			eventually(t, first.located)
			stop()
			first.studio.segment(1000) // which keeps it from being delivered yet
			second, stopSecond := d.rival(p, first, c.find)
			first.studio.end()
			out := first.deliver(func(rec *recorder.Recording) { rec.Segments[0].Continued = true })
			requireSeries(t, out.Series)
			require.True(t, out.Backup)
			require.Equal(t, mainList, out.PlaylistName)
			before := c.find(mainList)

			second.studio.playlists()
			eventually(t, func() bool { return len(listed(string(c.find("talk/all-2.m3u8")))) == 1 })
			second.studio.segment(1000)
			second.studio.end()
			stopSecond()
			late := second.deliver(nil)
			requireSeries(t, late.Series)
			require.True(t, late.Backup)
			require.EqualValues(t, 2, late.SegmentCount)
			require.Equal(t, "talk/all-2.m3u8", late.PlaylistName)
			require.Equal(t, before, c.find(mainList))
			requireWhole(t, c.find, mainList, 2)
			requireWhole(t, c.find, liveList, 2)
			requireWhole(t, c.find, "talk/all-2.m3u8", 2)
			requireWhole(t, c.find, "talk/live-2.m3u8", 2)
		})
	}
}

// requireWhole demands a playlist that is ended, and all that it names.
func requireWhole(t *testing.T, find finder, key string, segments int) {
	t.Helper()
	list := parse(t, find(key))
	require.True(t, list.Ended, key)
	require.Len(t, list.Segments, segments, key)
	require.False(t, list.Segments[0].Cut, key)
	for _, segment := range list.Segments {
		require.NotNil(t, find(path.Join(path.Dir(key), segment.Name)), "%s names %s", key, segment.Name)
	}
}

// Two recordings of one name whose segments are told apart by their time: each has its
// playlist, whoever is the first to write one.
func TestSeriesMeetUnderOneName(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	w := newDeck(t, upload.Options{}).show(hlsJob("hls", s3Storage(through(s, p))))
	theirs := []byte("#EXTM3U\n#EXTINF:4,\nseg_20260101.ts\n")
	p.Fault(func(_ int, r *http.Request) recordertest.S3Fault {
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/"+mainList) && s.Find(mainList) == nil {
			s.Put(mainList, theirs) // between the last look at the name and the playlist
		}
		return recordertest.S3Fault{}
	})
	stop := w.follow()
	w.studio.segment(1000)
	w.onAir(s, "talk/all-2.m3u8", 1)
	w.studio.segment(1000)
	w.onAir(s, "talk/all-2.m3u8", 2)
	w.studio.end()
	stop()
	out := w.deliver(nil)
	requireSeries(t, out.Series)
	require.Equal(t, "talk/all-2.m3u8", out.PlaylistName)
	require.Equal(t, theirs, s.Get(mainList))
	require.Nil(t, s.Find(liveList), "nothing that a player would open is left behind")
	requireWhole(t, s.Find, "talk/all-2.m3u8", 2)
}

// The first playlist arrived, its answer was lost, and it is another one by the time of
// the next try: it is our own all the same, and stays where it is.
func TestSeriesKnowsItsFirstPlaylist(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	w := newDeck(t, upload.Options{}).show(hlsJob("hls", s3Storage(through(s, p))))
	lost := 0
	p.Fault(func(_ int, r *http.Request) recordertest.S3Fault {
		if r.Method == http.MethodHead && lost == 0 || !strings.HasSuffix(r.URL.Path, "/"+mainList) || s.Find("talk/seg_00001.ts") != nil {
			return recordertest.S3Fault{}
		}
		if r.Method == http.MethodPut && s.Find(mainList) == nil {
			lost++
			return recordertest.S3Fault{LoseAnswer: true}
		}
		return recordertest.S3Fault{Status: http.StatusServiceUnavailable, Code: "SlowDown"}
	})
	stop := w.follow()
	w.studio.segment(1000)
	w.onAir(s, mainList, 1)
	w.studio.segment(1000)
	w.onAir(s, mainList, 2)
	require.Equal(t, 1, lost)
	w.studio.end()
	stop()
	out := w.deliver(nil)
	requireSeries(t, out.Series)
	require.Equal(t, mainList, out.PlaylistName)
	requireWhole(t, s.Find, mainList, 2)
	require.Nil(t, s.Find("talk/all-2.m3u8"))
}
