package upload_test

import (
	"bytes"
	"context"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
	"tapedeck/recorder/upload"
)

// lost is a recording as its worker last reported it.
func lost(k *take) recorder.Recording {
	rec := k.entry.Task().Recording
	rec.Worker, rec.Status, rec.EndedAt, rec.EndReason = "worker-a", recorder.StatusActive, 0, ""
	rec.Files[0].Duration, rec.Files[0].StartedAt = int64(20*time.Second), rec.StartedAt
	return rec
}

func rescue(t *testing.T, k *take, job recorder.Job, notes map[string]string) recorder.FileResult {
	t.Helper()
	d := newDeck(t, upload.Options{})
	rec, _ := d.Rescue(t.Context(), job, lost(k), notes)
	d.requireNoSecret(rec, job.Files[0].S3.Secret, job.Files[0].S3.AccessKey)
	return rec.Files[0]
}

// A worker vanishes in each phase of an upload; another one completes it. What plays
// is all that was with the storage.
func TestRescue(t *testing.T) {
	s := recordertest.StartS3(t)
	f := shot(t)
	for name, c := range map[string]struct {
		fragments int // when the worker is lost; 0 is after the end
		hang      func(r *http.Request) bool
		says      string
		whole     bool
		seconds   float64 // at least
		blind     bool    // with keys that may not list parts
	}{
		"before the first part":        {fragments: 1, says: "nothing of it had been uploaded"},
		"in the middle":                {fragments: 14, seconds: 11},
		"in the middle, blind":         {fragments: 14, seconds: 11, blind: true},
		"before the header":            {hang: isHeader, seconds: filmSeconds - 1},
		"before the completion":        {hang: isCompletion, whole: true},
		"before the completion, blind": {hang: isCompletion, whole: true, blind: true},
		"after the completion":         {hang: isManifest, whole: true},
		"with a hole in the tail":      {hang: isTail, seconds: 11},
	} {
		t.Run(name, func(t *testing.T) {
			p := recordertest.StartS3Proxy(t, s.Endpoint)
			job := toS3(through(s, p))
			job.Files[0].Filepath = strings.ReplaceAll(name, " ", "-") + ".mp4"
			k := growing(t).roll(job, f)
			k.begun()
			k.lose(p, c.fragments, c.hang)
			if c.blind {
				p.Fault(func(_ int, r *http.Request) recordertest.S3Fault {
					if r.Method == http.MethodGet && r.URL.Query().Has("uploadId") {
						return recordertest.S3Fault{Status: http.StatusForbidden, Code: "AccessDenied"}
					}
					return recordertest.S3Fault{}
				})
			} else {
				p.Fault(nil)
			}
			file := rescue(t, k, job, k.notes())
			if c.says != "" {
				require.Equal(t, recorder.FilePending, file.State)
				require.Contains(t, file.Error, c.says)
				require.Contains(t, file.Error, "worker-a")
				return
			}
			require.Equal(t, recorder.FileDelivered, file.State, file.Error)
			require.Equal(t, !c.whole, file.Partial)
			data := s.Get(job.Files[0].Filepath)
			require.EqualValues(t, len(data), file.Size)
			require.NotNil(t, s.Find(job.Files[0].Filepath+".json"))
			if c.whole {
				require.True(t, bytes.Equal(f.final, data))
				require.Empty(t, file.Error)
			} else {
				plays := seconds(t, data)
				require.Contains(t, file.Error, "worker-a, which was lost")
				// As the notes have it: a part tells of the media that were written when it was sent.
				require.InDelta(t, plays, time.Duration(file.Duration).Seconds(), 2.5)
				require.GreaterOrEqual(t, plays, c.seconds)
			}
			again := rescue(t, k, job, k.notes())
			require.Equal(t, file.State, again.State, "a second rescue finds what the first one did")
			require.Equal(t, file.Size, again.Size)
		})
	}
}

// Files of two parts were under way when the worker vanished: they are completed side by
// side, and each manifest names the parts before its own.
func TestRescueOfTwoParts(t *testing.T) {
	s := recordertest.StartS3(t)
	f := shot(t)
	part := func(name string) (*take, recorder.Job) {
		p := recordertest.StartS3Proxy(t, s.Endpoint)
		job := toS3(through(s, p))
		job.Files[0].Filepath = name
		k := growing(t).roll(job, f)
		k.lose(p, 8, nil)
		return k, job
	}
	first, job := part("talks/talk.mp4")
	second, later := part("talks/talk.part2.mp4")
	notes := first.notes()
	for name, text := range second.notes() {
		notes["2"+strings.TrimPrefix(name, "1")] = strings.ReplaceAll(text, later.Files[0].S3.Endpoint, job.Files[0].S3.Endpoint)
	}
	rec := lost(second)
	rec.Part, rec.Earlier = 2, []recorder.Part{{Part: 1, Worker: "worker-a", Files: lost(first).Files}}
	rescued, _ := newDeck(t, upload.Options{}).Rescue(t.Context(), job, rec, notes)
	require.Equal(t, recorder.FileDelivered, rescued.Files[0].State, rescued.Files[0].Error)
	require.Equal(t, recorder.FileDelivered, rescued.Earlier[0].Files[0].State)
	require.NotContains(t, string(s.Get("talks/talk.mp4.json")), "earlier_parts")
	require.Contains(t, string(s.Get("talks/talk.part2.mp4.json")), "earlier_parts")
}

func isHeader(r *http.Request) bool {
	return r.Method == http.MethodPut && r.URL.Query().Get("partNumber") == "1"
}

// isTail is of the first part that is not sent before the end.
func isTail(r *http.Request) bool {
	return r.Method == http.MethodPut && r.URL.Query().Get("partNumber") == "4"
}

func isCompletion(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Query().Has("uploadId")
}

func isManifest(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, ".json") }

// lose ends a worker: after so many fragments, or at its end in the first request
// that hang names.
func (k *take) lose(p *recordertest.S3Proxy, fragments int, hang func(*http.Request) bool) {
	k.t.Helper()
	if fragments > 0 {
		k.camera.roll(fragments)
		parts(k.t, p, k.camera.film.ends[fragments-1]/takePart)
		eventually(k.t, func() bool { return len(k.notes()) > k.camera.film.ends[fragments-1]/takePart })
		k.stop()
		require.NoError(k.t, k.entry.Close())
		return
	}
	k.camera.roll(16)
	parts(k.t, p, k.camera.film.ends[15]/takePart)
	hangs := make(chan struct{}, 64)
	p.Fault(func(_ int, r *http.Request) recordertest.S3Fault {
		if !hang(r) {
			return recordertest.S3Fault{}
		}
		hangs <- struct{}{}
		return recordertest.S3Fault{Stall: true}
	})
	k.camera.cut()
	k.stop()
	ctx, cancel := context.WithCancel(k.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.entry.Deliver(ctx, k.entry.Task().Recording, nil)
	}()
	<-hangs
	all := (len(k.camera.film.final) + takePart - 1) / takePart
	parts(k.t, p, all-1) // but for the one that hangs
	cancel()
	<-done
	require.NoError(k.t, k.entry.Close())
}

// A worker that is not lost after all ends its upload first, or finds it ended: what
// the other one made stays, and its own file goes to a name of its own, even where
// names may be taken over.
func TestGrowthIsEndedByAnother(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	d := newDeck(t, upload.Options{Overwrite: true})
	f := shot(t)
	k := d.roll(toS3(through(s, p)), f)
	k.camera.roll(8)
	parts(t, p, f.ends[7]/takePart)
	eventually(t, func() bool { return len(k.notes()) > f.ends[7]/takePart })
	rescued := rescue(t, k, toS3(through(s, p)), k.notes())
	require.Equal(t, recorder.FileDelivered, rescued.State, rescued.Error)
	k.camera.roll(20)
	rec := k.end()
	require.Equal(t, recorder.FileDelivered, rec.Files[0].State, rec.Files[0].Error)
	require.Equal(t, "talks/talk-2.mp4", rec.Files[0].Filename)
	require.EqualValues(t, rescued.Size, len(s.Get("talks/talk.mp4")))
	require.True(t, bytes.Equal(f.final, s.Get("talks/talk-2.mp4")))
}

// Its job is another's, who recorded the same part anew: where names may be taken over,
// an orphan takes none all the same, be it its own upload or the whole file.
func TestOrphanReplacesNothing(t *testing.T) {
	s := recordertest.StartS3(t)
	f := shot(t)
	job := toS3(s.Upload())
	job.Segments = hlsJob("job", job.Files[0].Storage).Segments
	job.Images = []recorder.ImageOutput{{FilenamePrefix: "talks/thumb", FilenameSuffix: recorder.SuffixNone, Storage: job.Files[0].Storage}}
	for name, restarted := range map[string]bool{"same life": false, "later life": true} {
		t.Run(name, func(t *testing.T) {
			d := newDeck(t, upload.Options{Overwrite: true})
			at := task(job, nil)
			at.Recording.Segments = []recorder.SegmentsResult{{PlaylistName: mainList, LivePlaylistName: liveList}}
			at.Recording.Images = []recorder.ImagesResult{{FilenamePrefix: "talks/thumb"}}
			k := d.rollOf(at, f)
			k.camera.roll(8)
			eventually(t, func() bool { return len(k.notes()) > f.ends[7]/takePart })
			k.camera.cut()
			k.stop()
			pictures := filepath.Join(k.entry.Task().Dir, recorder.ImagesDir(0), "talks")
			require.NoError(t, os.MkdirAll(pictures, 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(pictures, "thumb.jpeg"), []byte("ours"), 0o600))
			studio := studioIn(t, filepath.Join(k.entry.Task().Dir, recorder.SegmentsDir(0)))
			studio.segment(1000)
			studio.end()
			theirs := []string{"talks/talk.mp4", "talk/seg_00000.ts", mainList, liveList, "talks/job.json", "talks/thumb.jpeg", "talks/thumb.json"}
			for _, key := range theirs {
				s.Put(key, []byte("theirs"))
			}
			if restarted {
				require.NoError(t, k.entry.Close())
				d.reopen()
				left, err := d.Left()
				require.NoError(t, err)
				require.Len(t, left, 1)
				k.entry = left[0]
			}
			rec := k.entry.Task().Recording
			rec.Orphan = true
			rec = k.entry.Deliver(t.Context(), rec, nil)
			require.Equal(t, recorder.FileDelivered, rec.Files[0].State, rec.Files[0].Error)
			require.Equal(t, "talks/talk-2.mp4", rec.Files[0].Filename)
			require.True(t, bytes.Equal(f.final, s.Get("talks/talk-2.mp4")))
			requireSeries(t, rec.Segments[0].Series)
			require.Equal(t, "talk/take-2/all.m3u8", rec.Segments[0].PlaylistName)
			requireSeries(t, rec.Images[0].Series)
			require.Equal(t, "ours", string(s.Get("talks/thumb-2.jpeg")))
			for _, key := range theirs {
				require.Equal(t, "theirs", string(s.Get(key)), key)
			}
			require.Zero(t, s.Uploads())
			for _, key := range []string{"talks/talk-2.mp4", "talk/take-2", "talks/thumb-2.jpeg"} { // for the next life
				require.NoError(t, os.RemoveAll(s.Path(key)))
			}
		})
	}
}

// A worker that Redis could not hear completed its upload: the object itself says whose it is.
func TestRescueFindsWhatNobodyWasToldOf(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	f := shot(t)
	job := toS3(through(s, p))
	k := growing(t).roll(job, f)
	eventually(t, func() bool { return len(k.notes()) > 0 })
	before := k.notes()
	k.lose(p, 0, isManifest)
	p.Fault(nil)
	file := rescue(t, k, job, before)
	require.Equal(t, recorder.FileDelivered, file.State, file.Error)
	require.False(t, file.Partial)
	require.Empty(t, file.Error)
	require.True(t, bytes.Equal(f.final, s.Get("talks/talk.mp4")))
	other := maps.Clone(before)
	other["1/file-0"] = strings.ReplaceAll(other["1/file-0"], `"mark":"`, `"mark":"0`)
	require.Contains(t, rescue(t, k, job, other).Error, "another's")
}

// Whoever has the job cannot help where its storage is unknown, refuses, or where the
// name was given away: the file is in the lost worker's spool.
func TestRescueOfNothing(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	f := shot(t)
	job := toS3(through(s, p))
	k := growing(t).roll(job, f)
	k.lose(p, 8, nil)
	notes := k.notes()
	other := toS3(s.Upload())
	require.Contains(t, rescue(t, k, other, notes).Error, "another storage")
	require.Contains(t, rescue(t, k, job, nil).Error, "nothing of it had been uploaded")
	mine := maps.Clone(notes)
	mine["1/file-0"] = strings.ReplaceAll(mine["1/file-0"], `"upload_id":"`, `"upload_id":"0`)
	require.Contains(t, rescue(t, k, job, mine).Error, "removed from the storage")
	s.Put("talks/talk.mp4", []byte("theirs"))
	require.Contains(t, rescue(t, k, job, mine).Error, "another's")
	require.Contains(t, rescue(t, k, job, notes).Error, "object of that name exists")
	require.Equal(t, "theirs", string(s.Get("talks/talk.mp4")))
	require.Equal(t, 1, s.Uploads(), "what was uploaded stays for whoever mends it")
}
