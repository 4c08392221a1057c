package upload_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
	"tapedeck/recorder/upload"
)

func isSegment(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, ".ts") }

// The link is slow and the server busy: segments arrive all the same while the
// recording goes on, in whatever order, and no playlist is ahead of them.
func TestSeriesWhileRecording(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	p.Fault(func(n int, r *http.Request) recordertest.S3Fault {
		if r.Method == http.MethodPut && isSegment(r) && n%5 == 0 {
			return recordertest.S3Fault{Status: http.StatusServiceUnavailable, Code: "SlowDown"}
		}
		if isSegment(r) && strings.Contains(r.URL.Path, "3.ts") {
			return recordertest.S3Fault{Rate: 2 * mib} // overtaken by those after it
		}
		return recordertest.S3Fault{}
	})
	d := newDeck(t, upload.Options{})
	e, studio := d.hls(hlsJob("hls", s3Storage(through(s, p))))
	stop := follow(t, e)
	all, live := view(t, s, mainList), view(t, s, liveList)
	const segments, batch = 16, 4
	for n := range segments {
		studio.segment(mib / 2)
		if n%batch == batch-1 { // the recording is as fast as who watches it
			eventually(t, func() bool { return all.seen(n+1) && live.seen(min(n+1, 5)) })
		}
	}
	require.NotContains(t, string(s.Find(mainList)), "ENDLIST")
	eventually(t, func() bool { // delivered and noted, so gone
		left, err := filepath.Glob(filepath.Join(studio.dir, "talk", "*.ts"))
		return err == nil && len(left) == 0
	})
	studio.segment(100)
	studio.end()
	stop()

	rec := e.Deliver(t.Context(), e.Task().Recording, nil)
	out := rec.Segments[0]
	requireSeries(t, out.Series)
	require.EqualValues(t, segments+1, out.SegmentCount)
	require.EqualValues(t, segments*mib/2+100, out.Size)
	require.Equal(t, through(s, p).Endpoint+"/recordings/talk/all.m3u8", out.PlaylistLocation)
	require.Equal(t, through(s, p).Endpoint+"/recordings/talk/live.m3u8", out.LivePlaylistLocation)
	require.Equal(t, through(s, p).Endpoint+"/recordings/talk/all.m3u8.json", out.ManifestLocation)
	eventually(t, func() bool { return all.seen(segments + 1) })
	versions := all.stop()
	require.GreaterOrEqual(t, len(versions), segments/batch+1, "the playlist grew while it was watched")
	for i := 1; i < len(versions); i++ {
		require.GreaterOrEqual(t, len(listed(versions[i])), len(listed(versions[i-1])), "playlists keep their order")
	}
	live.stop()
	require.Contains(t, string(s.Get(mainList)), "ENDLIST")
	for i, name := range studio.names[:segments] {
		require.True(t, bytes.Equal(noise(uint64(i+1), mib/2), s.Get(name)))
	}
	var m upload.Manifest
	require.NoError(t, json.Unmarshal(s.Get("talk/all.m3u8.json"), &m))
	require.Equal(t, "hls", m.EgressID)
	require.Len(t, m.Playlists[0].Segments, segments+1)
	require.NoError(t, e.Free())
	require.NoDirExists(t, e.Task().Dir)
}

// A process is killed while a segment is on its way: the next one sends what is
// not noted as delivered, and nothing else.
func TestSeriesAfterKill(t *testing.T) {
	if dir := os.Getenv("TAPEDECK_TEST_FOLLOW"); dir != "" {
		spool, err := upload.NewSpool(dir, upload.Options{AllowTemp: true})
		require.NoError(t, err)
		left, err := spool.Left()
		require.NoError(t, err)
		follow(t, left[0])
		<-t.Context().Done()
		select {} // until it is killed
	}
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	hanging := make(chan struct{})
	once := sync.OnceFunc(func() { close(hanging) })
	p.Fault(func(_ int, r *http.Request) recordertest.S3Fault {
		if strings.HasSuffix(r.URL.Path, "00004.ts") {
			once()
			return recordertest.S3Fault{Stall: true}
		}
		return recordertest.S3Fault{}
	})
	d := newDeck(t, upload.Options{})
	e, studio := d.hls(hlsJob("hls", s3Storage(through(s, p))))
	require.NoError(t, e.Close())
	for range 6 {
		studio.segment(100_000)
	}
	studio.end()
	cmd := exec.Command(os.Args[0], "-test.run=^TestSeriesAfterKill$")
	cmd.Env = append(os.Environ(), "TAPEDECK_TEST_FOLLOW="+d.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, cmd.Start())
	<-hanging
	eventually(t, func() bool {
		left, err := filepath.Glob(filepath.Join(studio.dir, "talk", "*.ts"))
		return err == nil && len(left) == 1
	})
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	require.Nil(t, s.Find(mainList), "it names a segment that is not there")
	book := filepath.Join(e.Task().Dir, "delivered-segments-0.jsonl")
	f, err := os.OpenFile(book, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString(`{"file":{"name":"talk/seg_00004.ts","si`) // cut off by the kill
	require.NoError(t, err)
	require.NoError(t, f.Close())

	p.Fault(nil)
	left, err := d.Left()
	require.NoError(t, err)
	require.Len(t, left, 1)
	require.ErrorContains(t, func() error { return left[0].Free() }(), "segments-0")
	left, err = d.Left()
	require.NoError(t, err)
	rec := left[0].Deliver(t.Context(), left[0].Task().Recording, nil)
	requireSeries(t, rec.Segments[0].Series)
	require.EqualValues(t, 6, rec.Segments[0].SegmentCount)
	require.Len(t, listed(string(s.Get(mainList))), 6)
	for _, name := range studio.names {
		require.Equal(t, 1, p.Count(func(r recordertest.S3Request) bool {
			return r.Method == http.MethodPut && strings.HasSuffix(r.Path, name)
		}), name)
	}
	require.NoError(t, left[0].Free())
}

// Another recording has the names: all files of the newcomer move together, so
// that its playlists keep naming its own segments.
func TestSeriesKeepsOthers(t *testing.T) {
	s := recordertest.StartS3(t)
	dir, local := directory(t)
	for name, c := range map[string]struct {
		opts    upload.Options
		storage recorder.Storage
		read    func(string) []byte
		at      string
	}{
		"S3": {upload.Options{}, s3Storage(s.Upload()), s.Get, s.Endpoint + "/recordings/"},
		"directory": {local, recorder.Storage{}, func(name string) []byte {
			data, err := os.ReadFile(filepath.Join(dir, name))
			require.NoError(t, err)
			return data
		}, dir + "/"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDeck(t, c.opts)
			for n, wantDir := range []string{"talk/", "talk/take-2/", "talk/take-3/"} {
				e, studio := d.hls(hlsJob("hls", c.storage))
				for range n + 1 {
					studio.segment(1000 * (n + 1))
				}
				studio.end()
				out := e.Deliver(t.Context(), e.Task().Recording, nil).Segments[0]
				requireSeries(t, out.Series)
				require.Equal(t, wantDir+"all.m3u8", out.PlaylistName)
				require.Equal(t, c.at+wantDir+"all.m3u8", out.PlaylistLocation)
				require.NoError(t, e.Free())
			}
			require.Len(t, listed(string(c.read("talk/all.m3u8"))), 1)
			require.Len(t, listed(string(c.read("talk/take-2/all.m3u8"))), 2)
			require.Len(t, c.read("talk/seg_00000.ts"), 1000)
			require.Len(t, c.read("talk/take-2/seg_00000.ts"), 2000)
		})
	}
}

// While it is recorded, it is told where the stream is: under which names, once
// they are claimed, and at which locations, once the playlists are there.
func TestSeriesTellsWhereItIs(t *testing.T) {
	s := recordertest.StartS3(t)
	s.Put("talk/all.m3u8", []byte("another's"))
	d := newDeck(t, upload.Options{})
	e, studio := d.hls(hlsJob("hls", s3Storage(s.Upload())))
	reports := make(chan recorder.SegmentsResult, 100)
	stop := followTo(t, e, func(rec recorder.Recording) { reports <- rec.Segments[0] })
	studio.segment(1000)
	first := <-reports
	require.Equal(t, "talk/take-2/all.m3u8", first.PlaylistName)
	require.Equal(t, "talk/take-2/live.m3u8", first.LivePlaylistName)
	require.Empty(t, first.PlaylistLocation+first.LivePlaylistLocation, "nobody would find anything there")
	require.Equal(t, recorder.FileRecording, first.State)
	last := first
	for last.PlaylistLocation == "" || last.LivePlaylistLocation == "" {
		last = <-reports
	}
	at := s.Endpoint + "/recordings/talk/take-2/"
	require.Equal(t, at+"all.m3u8", last.PlaylistLocation)
	require.Equal(t, at+"live.m3u8", last.LivePlaylistLocation)
	require.NotNil(t, s.Find("talk/take-2/all.m3u8"))
	studio.segment(1000)
	eventually(t, func() bool { return len(listed(string(s.Find("talk/take-2/all.m3u8")))) == 2 })
	stop()
	require.Empty(t, reports, "a longer playlist is where it was")

	// A later process tells it at once, not at the end.
	require.NoError(t, e.Close())
	left, err := d.Left()
	require.NoError(t, err)
	studio.end()
	told := ""
	rec := left[0].Deliver(t.Context(), left[0].Task().Recording, func(rec recorder.Recording) {
		if r := rec.Segments[0]; r.State == recorder.FileUploading && told == "" {
			told = r.PlaylistLocation
		}
	})
	require.Equal(t, at+"all.m3u8", told)
	requireSeries(t, rec.Segments[0].Series)
}

// Somebody takes the first segment's name between the look and the upload.
func TestSeriesLosesARace(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	taken := sync.OnceFunc(func() { s.Put("talk/seg_00000.ts", []byte("another's")) })
	p.Fault(func(_ int, r *http.Request) recordertest.S3Fault {
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "talk/seg_00000.ts") {
			taken()
		}
		return recordertest.S3Fault{}
	})
	d := newDeck(t, upload.Options{})
	e, studio := d.hls(hlsJob("hls", s3Storage(through(s, p))))
	studio.segment(1000)
	studio.segment(1000)
	studio.end()
	out := e.Deliver(t.Context(), e.Task().Recording, nil).Segments[0]
	requireSeries(t, out.Series)
	require.Equal(t, "talk/take-2/all.m3u8", out.PlaylistName)
	require.Len(t, s.Get("talk/take-2/seg_00000.ts"), 1000)
	require.Len(t, s.Get("talk/take-2/seg_00001.ts"), 1000)
	require.Equal(t, "another's", string(s.Get("talk/seg_00000.ts")))
	require.Nil(t, s.Find("talk/seg_00001.ts"))
}

// The storage is away at the end: nothing is lost, and the next process goes on.
func TestSeriesAwayAndBack(t *testing.T) {
	s := recordertest.StartS3(t)
	d := newDeck(t, upload.Options{})
	e, studio := d.hls(hlsJob("hls", s3Storage(s.Upload())))
	stop := follow(t, e)
	studio.segment(1000)
	eventually(t, func() bool { return s.Find(mainList) != nil })
	s.Kill()
	studio.segment(1000)
	studio.end()
	stop()
	ctx, cancel := context.WithCancel(t.Context())
	rec := e.Deliver(ctx, e.Task().Recording, func(r recorder.Recording) {
		if r.Segments[0].Retries > 0 {
			cancel()
		}
	})
	require.Equal(t, recorder.FilePending, rec.Segments[0].State)
	require.Contains(t, rec.Segments[0].Error, "nothing listens there")
	require.False(t, rec.Settled())
	require.ErrorIs(t, e.Free(), upload.ErrUndelivered)
	d.reopen()
	s.Restart()
	left, err := d.Left()
	require.NoError(t, err)
	rec = left[0].Deliver(t.Context(), left[0].Task().Recording, nil)
	requireSeries(t, rec.Segments[0].Series)
	require.Len(t, listed(string(s.Get(mainList))), 2)
	require.NoError(t, left[0].Free())
}

// A segment that the storage refuses for good keeps the playlist back and itself
// in the spool.
func TestSeriesRefused(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	p.Fault(func(_ int, r *http.Request) recordertest.S3Fault {
		if strings.HasSuffix(r.URL.Path, "00001.ts") && r.Method == http.MethodPut {
			return recordertest.S3Fault{Status: http.StatusForbidden, Code: "AccessDenied"}
		}
		return recordertest.S3Fault{}
	})
	d := newDeck(t, upload.Options{GiveUpAfter: 200 * time.Millisecond})
	e, studio := d.hls(hlsJob("hls", s3Storage(through(s, p))))
	for range 3 {
		studio.segment(1000)
	}
	studio.end()
	rec := e.Deliver(t.Context(), e.Task().Recording, nil)
	require.Equal(t, recorder.FileRefused, rec.Segments[0].State)
	require.Contains(t, rec.Segments[0].Error, "AccessDenied")
	require.True(t, rec.Settled())
	require.Nil(t, s.Find(mainList))
	require.NotNil(t, s.Find("talk/seg_00002.ts"), "it holds up no other segment")
	require.FileExists(t, filepath.Join(studio.dir, "talk/seg_00001.ts"))
	require.ErrorIs(t, e.Free(), upload.ErrUndelivered)
	d.requireNoSecret(rec, s.Secret, s.AccessKey)
}

// One recording's storage hangs with all that may be on its way there: another's
// live stream goes on.
func TestSeriesHangsAlone(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	p.Fault(func(_ int, r *http.Request) recordertest.S3Fault {
		return recordertest.S3Fault{Stall: isSegment(r) && r.Method == http.MethodPut && !strings.Contains(r.URL.Path, "00000")}
	})
	d := newDeck(t, upload.Options{Stall: time.Minute})
	hung, jammed := d.hls(hlsJob("hung", s3Storage(through(s, p))))
	defer follow(t, hung)()
	for range 6 {
		jammed.segment(1000)
	}
	eventually(t, func() bool {
		waiting := 0
		for _, r := range p.Requests() {
			if r.Status == 0 && strings.HasSuffix(r.Path, ".ts") {
				waiting++
			}
		}
		return waiting == 4
	})
	e, studio := d.hls(hlsJob("well", s3Storage(s.Upload())))
	defer follow(t, e)()
	studio.segment(1000)
	eventually(t, func() bool { return s.Find("talk/take-2/live.m3u8") != nil })
}

// crowd refuses segments after the first, and counts how many come at once.
type crowd struct {
	now, most, refused atomic.Int64
}

func (c *crowd) RoundTrip(r *http.Request) (*http.Response, error) {
	if !isSegment(r) || r.Method != http.MethodPut || strings.Contains(r.URL.Path, "00000") {
		return http.DefaultTransport.RoundTrip(r)
	}
	now := c.now.Add(1)
	defer c.now.Add(-1)
	if c.refused.Add(1) > 4 { // those that were under way with the first one
		c.most.Store(max(c.most.Load(), now))
	}
	time.Sleep(2 * time.Millisecond) // a server's latency
	return &http.Response{StatusCode: http.StatusForbidden, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
}

// While its storage fails, a series has one upload on its way.
func TestSeriesFailsGently(t *testing.T) {
	s := recordertest.StartS3(t)
	c := &crowd{}
	d := newDeck(t, upload.Options{HTTPClient: &http.Client{Transport: c}})
	e, studio := d.hls(hlsJob("hls", s3Storage(s.Upload())))
	for range 12 {
		studio.segment(1000)
	}
	defer follow(t, e)()
	eventually(t, func() bool { return c.refused.Load() > 24 })
	require.EqualValues(t, 1, c.most.Load())
}

// Images come one after the other, or replace each other under one name.
func TestImages(t *testing.T) {
	dir, opts := directory(t)
	d := newDeck(t, opts)
	job := recorder.Job{ID: "img", Images: []recorder.ImageOutput{
		{FilenamePrefix: "shots/a"}, {FilenamePrefix: "now", FilenameSuffix: recorder.SuffixNone, DisableManifest: true},
	}}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "now.jpeg"), []byte("yesterday's"), 0o644))
	begun := task(job)
	for _, o := range job.Images {
		begun.Recording.Images = append(begun.Recording.Images, recorder.ImagesResult{FilenamePrefix: o.FilenamePrefix})
	}
	e, err := d.Create(begun)
	require.NoError(t, err)
	stop := follow(t, e)
	many, now := studioIn(t, filepath.Join(e.Task().Dir, "images-0")), studioIn(t, filepath.Join(e.Task().Dir, "images-1"))
	arrived := func(name string, data []byte) {
		eventually(t, func() bool {
			there, err := os.ReadFile(filepath.Join(dir, name))
			return err == nil && bytes.Equal(there, data)
		})
	}
	for i, name := range []string{"shots/a_00000.jpeg", "shots/a_00001.jpeg"} {
		many.write(name, noise(uint64(i), 500))
		now.write("now.jpeg", noise(uint64(i), 700))
		arrived(name, noise(uint64(i), 500))
		arrived("now.jpeg", noise(uint64(i), 700))
	}
	require.NoError(t, os.WriteFile(filepath.Join(many.dir, "shots", "a_00002.jpeg"+recorder.PartSuffix), []byte("half"), 0o600))
	stop()
	begun.Recording.Images[1].ImageCount = 2
	rec := e.Deliver(t.Context(), begun.Recording, nil)
	requireSeries(t, rec.Images[0].Series)
	requireSeries(t, rec.Images[1].Series)
	require.EqualValues(t, 2, rec.Images[0].ImageCount)
	require.EqualValues(t, 1000, rec.Images[0].Size)
	require.EqualValues(t, 2, rec.Images[1].ImageCount)
	require.Equal(t, filepath.Join(dir, "shots/a.json"), rec.Images[0].ManifestLocation)
	require.NoFileExists(t, filepath.Join(dir, "now.json"))
	require.NoError(t, e.Free())
	left, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	require.NoError(t, err)
	slices.Sort(left)
	require.Len(t, left, 4, left)
}

func TestSeriesOfNothing(t *testing.T) {
	_, opts := directory(t)
	d := newDeck(t, opts)
	e, _ := d.hls(hlsJob("hls", recorder.Storage{}))
	rec := e.Deliver(t.Context(), e.Task().Recording, nil)
	require.Equal(t, recorder.FileEmpty, rec.Segments[0].State)
	require.NoError(t, e.Free())
}
