package upload_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
	"tapedeck/recorder/upload"
)

// show is an HLS job with the worker that records it.
type show struct {
	*deck
	job    recorder.Job
	entry  recorder.SpoolEntry
	studio *studio

	mu sync.Mutex
	at recorder.Recording // as last reported
}

func (d *deck) show(job recorder.Job) *show {
	d.t.Helper()
	w := &show{deck: d, job: job}
	w.entry, w.studio = d.hls(job)
	w.at = w.entry.Task().Recording
	w.at.Worker, w.at.EndReason = "first", ""
	return w
}

// next is the show of a worker that goes on in these playlists.
func (d *deck) next(before *show, rec recorder.Recording, playlists []string) *show {
	d.t.Helper()
	w := &show{deck: d, job: before.job}
	w.at = recorder.Recording{ID: rec.ID, Worker: "second", Attempt: rec.Attempt, Part: rec.Part + 1, StartedAt: rec.StartedAt + 1}
	w.at.Earlier = append(rec.Earlier, recorder.Part{Part: rec.Part, Attempt: rec.Attempt, Segments: rec.Segments})
	playlists = w.at.Continue(w.job, playlists)
	names := w.at.SegmentsOf(w.job, 0)
	w.at.Segments = []recorder.SegmentsResult{{
		PlaylistName: names.PlaylistName, LivePlaylistName: names.LivePlaylistName, Series: recorder.Series{State: recorder.FileRecording},
	}}
	var err error
	w.entry, err = d.Create(recorder.Task{Job: w.job, Recording: w.at, Playlists: playlists})
	require.NoError(d.t, err)
	w.studio = studioIn(d.t, filepath.Join(w.entry.Task().Dir, recorder.SegmentsDir(0)))
	w.studio.prefix = names.FilenamePrefix
	w.studio.list, err = recorder.ReadPlaylist(playlists[0])
	require.NoError(d.t, err)
	return w
}

func (w *show) follow() (stop func()) {
	return followTo(w.t, w.entry, func(rec recorder.Recording) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.at.Segments = rec.Segments
	})
}

// reported is what a queue knows of it.
func (w *show) reported() recorder.Recording {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at.Clone()
}

// located reports whether it was told where both playlists are.
func (w *show) located() bool {
	out := w.reported().Segments[0]
	return out.PlaylistLocation != "" && out.LivePlaylistLocation != ""
}

func (w *show) deliver(change func(*recorder.Recording)) recorder.SegmentsResult {
	w.t.Helper()
	rec := w.entry.Task().Recording
	rec.EndReason = recorder.EndWorkerLost
	if change != nil {
		change(&rec)
	}
	return w.entry.Deliver(w.t.Context(), rec, nil).Segments[0]
}

func (w *show) onAir(s *recordertest.S3, key string, segments int) {
	w.t.Helper()
	eventually(w.t, func() bool { return len(listed(string(s.Find(key)))) == segments })
}

func parse(t *testing.T, text []byte) recordertest.Playlist {
	t.Helper()
	p, err := recordertest.ParsePlaylist(string(text))
	require.NoError(t, err, string(text))
	return p
}

// A worker is lost, another one goes on in its playlists, and whoever watches them
// sees neither an end nor a segment that is not there. Then the first one comes
// back: before the other one's first segment, or after it.
func TestSeriesGoesOnElsewhere(t *testing.T) {
	s := recordertest.StartS3(t)
	for name, early := range map[string]bool{"comes back early": true, "comes back late": false} {
		t.Run(name, func(t *testing.T) {
			dir := strings.ReplaceAll(name, " ", "-")
			first := newDeck(t, upload.Options{Default: upload.Storage{S3: s.Upload(), Prefix: dir}}).show(hlsJob("hls", recorder.Storage{}))
			all, live := view(t, s, dir+"/"+mainList), view(t, s, dir+"/"+liveList)
			stop := first.follow()
			for range 6 {
				first.studio.segment(1000)
			}
			eventually(t, func() bool {
				return all.seen(6) && live.seen(5) && first.reported().Segments[0].LivePlaylistLocation != ""
			})
			stop() // as its machine does; two more were recorded
			first.studio.segment(1000)
			first.studio.segment(1000)
			first.studio.end()

			d := newDeck(t, first.opts)
			rescued, texts := d.RescueSeries(t.Context(), first.job, first.reported())
			out := rescued.Segments[0]
			requireSeries(t, out.Series)
			require.EqualValues(t, 6, out.SegmentCount)
			require.EqualValues(t, 24*time.Second, out.Duration)
			require.Contains(t, out.Error, "the spool of worker first")
			second := d.next(first, rescued, texts)
			comesBack := func() {
				late := first.deliver(nil)
				requireSeries(t, late.Series)
				require.Equal(t, "talk/all-2.m3u8", late.PlaylistName)
				require.Contains(t, late.PlaylistLocation, "/talk/all-2.m3u8")
				require.EqualValues(t, 8, late.SegmentCount)
				require.Contains(t, late.Error, "another worker has the job and goes on in talk/all.m3u8")
				require.Len(t, parse(t, s.Get(dir+"/talk/all-2.m3u8")).Segments, 8)
				require.NoError(t, first.entry.Free())
			}
			if early {
				comesBack()
			}
			stop = second.follow()
			second.studio.segment(1000)
			second.onAir(s, dir+"/"+mainList, 7)
			if !early {
				comesBack()
			}
			second.studio.segment(1000)
			second.studio.end()
			second.onAir(s, dir+"/"+mainList, 7) // the end is Deliver's
			stop()
			requireSeries(t, second.deliver(nil).Series)

			versions := all.stop()
			live.stop()
			for _, v := range versions[:len(versions)-1] {
				require.NotContains(t, v, "ENDLIST")
			}
			p, l := parse(t, s.Get(dir+"/"+mainList)), parse(t, s.Get(dir+"/"+liveList))
			require.True(t, p.Ended && l.Ended)
			require.Len(t, p.Segments, 8)
			require.Equal(t, "seg_00005.ts", p.Segments[5].Name)
			require.Equal(t, "seg.part2_00006.ts", p.Segments[6].Name)
			require.True(t, p.Segments[6].Cut)
			require.Equal(t, p.Segments[3:], l.Segments)
			require.EqualValues(t, 3, l.Sequence)
			require.NotEmpty(t, s.Get(dir+"/talk/all.m3u8.json"))
			require.NotEmpty(t, s.Get(dir+"/talk/all.m3u8.part2.json"))
		})
	}
}

// A worker is cut off from the queue alone, and records on: from the moment in which
// another one takes its playlists over it replaces them no more, even where that falls
// between its look at one and its answer.
func TestSeriesOfASplitOwner(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	d := newDeck(t, upload.Options{Overwrite: true})
	first := d.show(hlsJob("hls", s3Storage(through(s, p))))
	stop := first.follow()
	first.studio.segment(1000)
	first.onAir(s, mainList, 1)
	eventually(t, first.located)

	direct := newDeck(t, upload.Options{Overwrite: true})
	state := first.reported()
	first.job = hlsJob("hls", s3Storage(s.Upload())) // the same bucket, past the proxy
	var rescued recorder.Recording
	var texts []string
	taken := make(chan struct{})
	p.Fault(func(_ int, r *http.Request) recordertest.S3Fault {
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, mainList) && texts == nil {
			rescued, texts = direct.RescueSeries(t.Context(), first.job, state)
			close(taken)
		}
		return recordertest.S3Fault{}
	})
	first.studio.segment(1000)
	<-taken
	eventually(t, func() bool { return d.logs.FilterMessageSnippet("another worker goes on").Len() > 0 })
	require.Len(t, listed(texts[0]), 1)
	require.Len(t, listed(string(s.Get(mainList))), 1)
	second := direct.next(first, rescued, texts)
	stopSecond := second.follow()
	second.studio.segment(1000)
	second.onAir(s, mainList, 2)
	first.studio.segment(1000)
	eventually(t, func() bool { return s.Find("talk/seg_00002.ts") != nil })
	second.studio.segment(1000)
	second.studio.end()
	stopSecond()
	requireSeries(t, second.deliver(nil).Series)
	main, live := s.Get(mainList), s.Get(liveList)
	require.True(t, parse(t, main).Ended)
	require.Len(t, parse(t, main).Segments, 3)

	first.studio.segment(1000)
	eventually(t, func() bool { return s.Find("talk/seg_00003.ts") != nil })
	first.studio.end()
	stop()
	late := first.deliver(func(rec *recorder.Recording) { rec.EndReason = recorder.EndLeaseLost })
	requireSeries(t, late.Series)
	require.Equal(t, "talk/all-2.m3u8", late.PlaylistName)
	require.Len(t, parse(t, s.Get("talk/all-2.m3u8")).Segments, 4)
	require.Equal(t, main, s.Get(mainList))
	require.Equal(t, live, s.Get(liveList))
}

// What an earlier part's worker listed after its playlist was taken over does not keep
// the one that has the job now from going on.
func TestSeriesGoesOnOverALateWrite(t *testing.T) {
	s := recordertest.StartS3(t)
	first := newDeck(t, upload.Options{}).show(hlsJob("hls", s3Storage(s.Upload())))
	stop := first.follow()
	first.studio.segment(1000)
	first.onAir(s, mainList, 1)
	eventually(t, first.located)
	stop()
	d := newDeck(t, first.opts)
	second := d.next(first, first.reported(), []string{string(s.Get(mainList))})
	first.studio.segment(1000)
	late := []byte(first.studio.list.Text())
	s.Put(mainList, late)
	stop = second.follow()
	second.studio.segment(1000)
	eventually(t, func() bool { return strings.Contains(string(s.Find(mainList)), "seg.part2_00001.ts") })
	s.Put(mainList, late)
	second.studio.segment(1000)
	second.onAir(s, mainList, 3)
	s.Put(mainList, late)
	second.studio.end()
	stop()
	out := second.deliver(nil)
	requireSeries(t, out.Series)
	require.Equal(t, mainList, out.PlaylistName)
	require.Len(t, parse(t, s.Get(mainList)).Segments, 3)
}

// The lease is lost, and the new owner has not said so in the storage yet.
func TestSeriesOfALostLease(t *testing.T) {
	s := recordertest.StartS3(t)
	w := newDeck(t, upload.Options{}).show(hlsJob("hls", s3Storage(s.Upload())))
	stop := w.follow()
	w.studio.segment(1000)
	w.onAir(s, mainList, 1)
	eventually(t, func() bool { return w.reported().Segments[0].PlaylistLocation != "" })
	stop()
	w.studio.end()
	before := s.Get(mainList)
	out := w.deliver(func(rec *recorder.Recording) { rec.EndReason = recorder.EndLeaseLost })
	requireSeries(t, out.Series)
	require.Equal(t, mainList, out.PlaylistName, "it lists nothing that is not listed there")
	require.Equal(t, s.Endpoint+"/recordings/"+mainList, out.PlaylistLocation)
	require.Equal(t, before, s.Get(mainList))
	require.Nil(t, s.Find("talk/all-2.m3u8"))
}

// Another recording had the names: the part that goes on is where the first one went.
func TestSeriesGoesOnUnderMovedNames(t *testing.T) {
	s := recordertest.StartS3(t)
	s.Put(mainList, []byte("another's"))
	first := newDeck(t, upload.Options{}).show(hlsJob("hls", s3Storage(s.Upload())))
	stop := first.follow()
	first.studio.segment(1000)
	first.onAir(s, "talk/take-2/all.m3u8", 1)
	eventually(t, func() bool { return first.reported().Segments[0].PlaylistLocation != "" })
	stop()
	d := newDeck(t, first.opts)
	rescued, texts := d.RescueSeries(t.Context(), first.job, first.reported())
	second := d.next(first, rescued, texts) // is lost before it has anything
	lost := second.reported()
	lost.Earlier[0].Segments[0].State = recorder.FilePending
	rescued, texts = d.RescueSeries(t.Context(), first.job, lost)
	require.Equal(t, recorder.FilePending, rescued.Segments[0].State)
	require.Zero(t, rescued.Segments[0].SegmentCount)
	requireSeries(t, rescued.Earlier[0].Segments[0].Series)
	require.EqualValues(t, 1, rescued.Earlier[0].Segments[0].SegmentCount)
	third := d.next(second, rescued, texts)
	third.studio.segment(1000)
	third.studio.end()
	out := third.deliver(nil)
	requireSeries(t, out.Series)
	require.Equal(t, "talk/take-2/all.m3u8", out.PlaylistName)
	require.EqualValues(t, 1, out.SegmentCount)
	require.Len(t, parse(t, s.Get("talk/take-2/all.m3u8")).Segments, 2)
	require.NotNil(t, s.Find("talk/take-2/seg.part3_00001.ts"))
	require.Equal(t, "another's", string(s.Get(mainList)))
}

// Nobody goes on: who watches is told of the end. The worker that comes back has more,
// and lists it.
func TestSeriesOfALostWorkerIsEnded(t *testing.T) {
	s := recordertest.StartS3(t)
	w := newDeck(t, upload.Options{}).show(hlsJob("hls", s3Storage(s.Upload())))
	stop := w.follow()
	w.studio.segment(1000)
	w.onAir(s, liveList, 1)
	eventually(t, w.located)
	stop()
	w.studio.segment(1000)
	w.studio.end()
	lost := w.reported()
	_, texts := newDeck(t, w.opts).RescueSeries(t.Context(), w.job, lost)
	require.Len(t, listed(texts[0]), 1)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	d := newDeck(t, w.opts)
	var inSpool []string
	p.Fault(func(_ int, r *http.Request) recordertest.S3Fault {
		if r.Method == http.MethodPut {
			inSpool, _ = filepath.Glob(filepath.Join(d.dir, ".*"))
		}
		return recordertest.S3Fault{}
	})
	_, _ = d.RescueSeries(t.Context(), hlsJob("hls", s3Storage(through(s, p))), lost)
	require.Len(t, inSpool, 1)
	require.Contains(t, inSpool[0], "/.new-", "which is swept where a rescuer is killed")
	lost.EndReason = recorder.EndWorkerLost
	lost.Segments[0].Continued = true // but the part that was to go on never began
	rescued, texts := newDeck(t, w.opts).RescueSeries(t.Context(), w.job, lost)
	requireSeries(t, rescued.Segments[0].Series)
	require.Equal(t, []string{""}, texts)
	for _, key := range []string{mainList, liveList} {
		p := parse(t, s.Get(key))
		require.True(t, p.Ended)
		require.Len(t, p.Segments, 1)
	}
	// So is that of an earlier part which no later one continued.
	s.Put(mainList, []byte(strings.TrimSuffix(string(s.Get(mainList)), recorder.TagEnd)))
	later := recorder.Recording{ID: lost.ID, Part: 2, Earlier: []recorder.Part{{Part: 1, Segments: w.reported().Segments}}}
	later, _ = newDeck(t, w.opts).RescueSeries(t.Context(), w.job, later)
	requireSeries(t, later.Earlier[0].Segments[0].Series)
	require.True(t, parse(t, s.Get(mainList)).Ended)
	again, _ := newDeck(t, w.opts).RescueSeries(t.Context(), w.job, rescued)
	require.Equal(t, rescued, again)
	out := w.deliver(nil)
	requireSeries(t, out.Series)
	require.Empty(t, out.Error)
	require.Equal(t, mainList, out.PlaylistName)
	require.Len(t, parse(t, s.Get(mainList)).Segments, 2)
}

// What cannot be continued is left as it is, and the next part begins anew.
func TestSeriesThatCannotGoOn(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	p.Fault(func(_ int, r *http.Request) recordertest.S3Fault {
		if r.Method == http.MethodGet {
			return recordertest.S3Fault{Status: http.StatusForbidden, Code: "AccessDenied"}
		}
		return recordertest.S3Fault{}
	})
	d := newDeck(t, upload.Options{})
	rec := d.show(hlsJob("hls", recorder.Storage{})).reported()
	for name, c := range map[string]struct {
		to             *recorder.S3Upload
		list, at, says string
	}{
		"nothing uploaded":  {s.Upload(), "", "", "no playlist had been uploaded"},
		"gone":              {s.Upload(), "", "x", "no playlist of ours"},
		"somebody's":        {s.Upload(), "#EXTM3U\n#EXT-X-VERSION:3\nhttp://example.com/x.ts\n", "x", "no playlist of ours"},
		"a video":           {s.Upload(), strings.Repeat("x", recorder.MaxPlaylist+1), "x", "larger than any playlist"},
		"keys may not read": {through(s, p), "", "x", "s3:GetObject"},
		"no such bucket":    {&recorder.S3Upload{AccessKey: s.AccessKey, Secret: s.Secret, Bucket: "none", Endpoint: s.Endpoint, ForcePathStyle: true}, "", "x", "create the bucket"},
	} {
		t.Run(name, func(t *testing.T) {
			rec := rec.Clone()
			rec.Segments[0].PlaylistLocation = c.at
			if c.list != "" {
				s.Put(mainList, []byte(c.list))
			}
			puts := p.Count(func(r recordertest.S3Request) bool { return r.Method == http.MethodPut })
			rescued, texts := d.RescueSeries(t.Context(), hlsJob("hls", s3Storage(c.to)), rec)
			require.Equal(t, []string{""}, texts)
			require.Equal(t, recorder.FilePending, rescued.Segments[0].State)
			require.Contains(t, rescued.Segments[0].Error, c.says)
			require.Equal(t, c.list, string(s.Find(mainList)))
			require.Equal(t, puts, p.Count(func(r recordertest.S3Request) bool { return r.Method == http.MethodPut }))
			d.requireNoSecret(rescued, s.Secret, s.AccessKey)
			if c.list != "" {
				require.NoError(t, os.Remove(s.Path(mainList)))
			}
		})
	}
}

// rescuedFrom reads the playlist of an entry, as if its worker were lost.
func rescuedFrom(t *testing.T, d *deck, hls recorder.SpoolEntry, to recorder.Storage, out recorder.SegmentsResult, there objects) {
	t.Helper()
	rec := hls.Task().Recording
	out.State = recorder.FileRecording
	rec.Segments, rec.EndReason = []recorder.SegmentsResult{out}, ""
	rescued, texts := d.RescueSeries(t.Context(), hlsJob("hls", to), rec)
	requireSeries(t, rescued.Segments[0].Series)
	require.Len(t, listed(texts[0]), 3)
	require.NotContains(t, string(there.Get(mainList)), "ENDLIST")
	rec.Segments[0].PlaylistName = "talk/none.m3u8"
	rescued, texts = d.RescueSeries(t.Context(), hlsJob("hls", to), rec)
	require.Equal(t, recorder.FilePending, rescued.Segments[0].State)
	require.Empty(t, texts[0])
}

// The same worker goes on after a fault: the earlier part's last segments are still on
// their way, and no playlist is ahead of them.
func TestSeriesGoesOnBeside(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	p.Fault(func(_ int, r *http.Request) recordertest.S3Fault {
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "seg_00002.ts") {
			return recordertest.S3Fault{Status: http.StatusServiceUnavailable, Code: "SlowDown"}
		}
		return recordertest.S3Fault{}
	})
	d := newDeck(t, upload.Options{})
	first := d.show(hlsJob("hls", s3Storage(through(s, p))))
	require.Equal(t, []string{""}, playlistsOf(first.entry), "nobody knows where it will be")
	all := view(t, s, mainList)
	stop := first.follow()
	for range 3 {
		first.studio.segment(1000)
	}
	eventually(t, func() bool {
		return s.Find("talk/seg_00001.ts") != nil && first.reported().Segments[0].PlaylistName != ""
	})
	first.studio.end()
	stop()
	texts := playlistsOf(first.entry)
	require.Len(t, listed(texts[0]), 3)
	require.NotContains(t, texts[0], "ENDLIST")

	second := d.next(first, first.reported(), texts)
	require.Equal(t, texts, playlistsOf(second.entry)[:1], "a part of nothing hands on what it was given")
	stop = second.follow()
	second.studio.segment(1000)
	eventually(t, func() bool { return s.Find("talk/seg.part2_00003.ts") != nil })
	require.Less(t, len(listed(string(s.Find(mainList)))), 3, "one of those that it names is missing")
	p.Fault(nil)
	out := first.deliver(func(rec *recorder.Recording) { rec.Segments[0].Continued = true })
	requireSeries(t, out.Series)
	require.Contains(t, out.Error, "a later part goes on")
	require.NotContains(t, string(s.Find(mainList)), "ENDLIST")
	second.studio.segment(1000)
	second.onAir(s, mainList, 5)
	require.Len(t, listed(playlistsOf(second.entry)[0]), 5)
	second.studio.end()
	stop()
	requireSeries(t, second.deliver(nil).Series)
	all.stop()
	require.True(t, parse(t, s.Get(mainList)).Ended)
	require.NoError(t, first.entry.Free())
	require.NoError(t, second.entry.Free())
	left, err := d.Left()
	require.NoError(t, err)
	require.Empty(t, left)
}

func playlistsOf(e recorder.SpoolEntry) []string {
	lister, ok := e.(recorder.Lister)
	if !ok {
		return nil
	}
	return lister.Playlists(e.Task().Recording)
}

// A part that recorded nothing ends what it was to go on in.
func TestSeriesGoesOnWithNothing(t *testing.T) {
	dir, opts := directory(t)
	first := newDeck(t, opts).show(hlsJob("hls", recorder.Storage{}))
	stop := first.follow()
	first.studio.segment(1000)
	eventually(t, func() bool { return first.reported().Segments[0].PlaylistLocation != "" })
	stop()
	d := newDeck(t, opts)
	rescued, texts := d.RescueSeries(t.Context(), first.job, first.reported())
	second := d.next(first, rescued, texts)
	out := second.deliver(nil)
	require.Equal(t, recorder.FileEmpty, out.State)
	require.Zero(t, out.SegmentCount)
	for _, name := range []string{mainList, liveList} {
		require.True(t, recordertest.ReadPlaylist(t, filepath.Join(dir, name)).Ended)
	}
	require.NoError(t, second.entry.Free())
}

// The storage is given up after the other part went on: each part is in the backup with
// a playlist of its own, for neither has the other's segments there.
func TestSeriesGoesOnIntoTheBackup(t *testing.T) {
	s := recordertest.StartS3(t)
	dir := t.TempDir()
	d := newDeck(t, upload.Options{Backup: upload.Storage{Directory: dir}})
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	first := d.show(hlsJob("hls", s3Storage(through(s, p))))
	stop := first.follow()
	first.studio.segment(1000)
	first.onAir(s, mainList, 1)
	eventually(t, func() bool { return first.reported().Segments[0].PlaylistLocation != "" })
	stop()
	first.studio.segment(1000)
	first.studio.end()
	second := d.next(first, first.reported(), playlistsOf(first.entry))
	p.Fault(func(int, *http.Request) recordertest.S3Fault {
		return recordertest.S3Fault{Status: http.StatusForbidden, Code: "AccessDenied"}
	})
	stop = second.follow()
	second.studio.segment(1000)
	out := first.deliver(func(rec *recorder.Recording) { rec.Segments[0].Continued = true })
	requireSeries(t, out.Series)
	require.True(t, out.Backup)
	second.studio.segment(1000)
	second.studio.end()
	stop()
	late := second.deliver(nil)
	requireSeries(t, late.Series)
	require.True(t, late.Backup)
	require.NotEqual(t, out.PlaylistLocation, late.PlaylistLocation)
	a, b := recordertest.ReadPlaylist(t, out.PlaylistLocation), recordertest.ReadPlaylist(t, late.PlaylistLocation)
	require.Len(t, a.Segments, 2)
	require.Len(t, b.Segments, 2)
	require.False(t, b.Segments[0].Cut)
	for list, p := range map[string]recordertest.Playlist{out.PlaylistLocation: a, late.PlaylistLocation: b} {
		for _, segment := range p.Segments {
			require.FileExists(t, filepath.Join(filepath.Dir(list), segment.Name))
		}
	}
}
