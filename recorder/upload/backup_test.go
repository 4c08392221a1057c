package upload_test

import (
	"bytes"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
	"tapedeck/recorder/upload"
)

// wrongKeys is a bucket that refuses for good.
func wrongKeys(s *recordertest.S3) *recorder.S3Upload {
	u := s.Upload()
	u.Secret = "an-entirely-wrong-secret"
	return u
}

func TestBackupTakesARefusedFile(t *testing.T) {
	s := recordertest.StartS3(t)
	dir := t.TempDir()
	workers := upload.Options{Backup: upload.Storage{Directory: dir, Prefix: "rescued"}}
	for name, c := range map[string]struct {
		opts   upload.Options
		backup *recorder.Storage
		at     string
	}{
		"the worker's": {workers, nil, filepath.Join(dir, "rescued") + "/"},
		"the job's":    {workers, &recorder.Storage{S3: s.Upload()}, s.Endpoint + "/recordings/"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDeck(t, c.opts)
			job := one("job", recorder.FileOutput{Storage: s3Storage(wrongKeys(s))})
			job.Backup = c.backup
			e := d.entry(job, noise(1, 4096))
			rec := deliver(t, e)
			f := rec.Files[0]
			require.Equal(t, recorder.FileDelivered, f.State, f.Error)
			require.True(t, f.Backup)
			require.Equal(t, c.at+"talks/talk.mp4", f.Location)
			require.Equal(t, c.at+"talks/talk.mp4.json", f.ManifestLocation)
			require.Equal(t, "talks/talk.mp4", f.Filename)
			require.Contains(t, f.Error, "the backup storage was used: "+s.Endpoint+"/recordings/talks/talk.mp4")
			require.Contains(t, f.Error, "SignatureDoesNotMatch")
			require.NoError(t, e.Free())
			d.requireNoSecret(rec, "an-entirely-wrong-secret", s.Secret, s.AccessKey)
		})
	}
}

// Both refuse: the file stays, and the next process begins with the first choice.
func TestBackupThatRefuses(t *testing.T) {
	s := recordertest.StartS3(t)
	d := newDeck(t, upload.Options{GiveUpAfter: 300 * time.Millisecond})
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	p.Fault(answer(http.StatusForbidden, "AccessDenied"))
	job := one("job", recorder.FileOutput{Storage: s3Storage(through(s, p))})
	job.Backup = &recorder.Storage{S3: wrongKeys(s)}
	e := d.entry(job, noise(1, 4096))
	f := deliver(t, e).Files[0]
	require.Equal(t, recorder.FileRefused, f.State)
	require.Contains(t, f.Error, "AccessDenied")
	require.Contains(t, f.Error, "SignatureDoesNotMatch")
	require.FileExists(t, media(e))
	p.Fault(nil)
	rec := deliver(t, e)
	requireDelivered(t, rec)
	require.False(t, rec.Files[0].Backup)
}

// A storage that is away for too long; one that is away shortly is waited for.
func TestBackupAfterAnOutage(t *testing.T) {
	s := recordertest.StartS3(t)
	dir := t.TempDir()
	for after, want := range map[time.Duration]bool{100 * time.Millisecond: true, time.Hour: false} {
		p := recordertest.StartS3Proxy(t, s.Endpoint)
		var refused atomic.Int32
		p.Fault(func(int, *http.Request) recordertest.S3Fault {
			if want || refused.Add(1) < 12 {
				return recordertest.S3Fault{Status: http.StatusServiceUnavailable, Code: "SlowDown"}
			}
			return recordertest.S3Fault{}
		})
		d := newDeck(t, upload.Options{Backup: upload.Storage{Directory: dir}, BackupAfter: after})
		e := d.entry(one("job", recorder.FileOutput{Storage: s3Storage(through(s, p))}), noise(1, 4096))
		f := deliver(t, e).Files[0]
		require.Equal(t, recorder.FileDelivered, f.State, f.Error)
		require.Equal(t, want, f.Backup)
		require.NoError(t, e.Free())
	}
}

// The storage breaks in the middle: the backup gets the whole series, what went
// to the storage before included.
func TestBackupTakesAWholeSeries(t *testing.T) {
	s, spare := recordertest.StartS3(t), recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	d := newDeck(t, upload.Options{})
	job := hlsJob("hls", s3Storage(through(s, p)))
	job.Backup = &recorder.Storage{S3: spare.Upload()}
	e, studio := d.hls(job)
	stop := follow(t, e)
	for range 3 {
		studio.segment(1000)
	}
	eventually(t, func() bool { return len(listed(string(s.Find(mainList)))) == 3 })
	require.FileExists(t, filepath.Join(studio.dir, "talk/seg_00000.ts"), "it may have to go to the backup")
	p.Fault(answer(http.StatusForbidden, "AccessDenied"))
	watched := view(t, spare, mainList)
	for range 3 {
		studio.segment(1000)
	}
	eventually(t, func() bool { return len(listed(string(spare.Find(mainList)))) == 6 })
	studio.end()
	stop()
	rec := e.Deliver(t.Context(), e.Task().Recording, nil)
	out := rec.Segments[0]
	requireSeries(t, out.Series)
	require.True(t, out.Backup)
	require.Contains(t, out.Error, "the backup storage was used")
	require.Contains(t, out.Error, "AccessDenied")
	require.EqualValues(t, 6, out.SegmentCount)
	require.EqualValues(t, 6000, out.Size)
	watched.stop()
	for i, name := range studio.names {
		require.True(t, bytes.Equal(noise(uint64(i+1), 1000), spare.Get(name)))
	}
	require.True(t, strings.Contains(string(spare.Get(mainList)), "ENDLIST"))
	require.NotEmpty(t, spare.Get("talk/all.m3u8.json"))
	for _, name := range listed(string(s.Get(mainList))) {
		require.NotNil(t, s.Find("talk/"+name), "what the first storage kept is consistent")
	}
	require.NoError(t, e.Free())
	d.requireNoSecret(rec, s.Secret, s.AccessKey)
}
