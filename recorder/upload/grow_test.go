package upload_test

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
	"tapedeck/recorder/upload"
)

// take is one recording of a film, followed while it grows.
type take struct {
	t      *testing.T
	deck   *deck
	entry  recorder.SpoolEntry
	lease  *recordertest.FakeLease
	camera *camera
	stop   func()

	mu   sync.Mutex
	told []recorder.FileResult // newest last
}

const takePart = 5 << 20 // the least that S3 takes

// roll begins one. The storage is that of the job.
func (d *deck) roll(job recorder.Job, f film) *take {
	d.t.Helper()
	return d.rollOf(task(job, nil), f)
}

func (d *deck) rollOf(begun recorder.Task, f film) *take {
	d.t.Helper()
	k := &take{t: d.t, deck: d}
	k.entry = d.entryOf(begun)
	k.camera = f.camera(d.t, k.entry)
	rec := k.entry.Task().Recording
	k.lease = recordertest.NewFakeLease(begun.Job, rec)
	ctx, cancel := context.WithCancel(d.t.Context())
	done := make(chan struct{})
	follower, ok := k.entry.(recorder.Follower)
	require.True(d.t, ok)
	go func() {
		defer close(done)
		follower.Follow(ctx, rec, k.lease, func(rec recorder.Recording) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.told = append(k.told, rec.Files[0])
		})
	}()
	k.stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	d.t.Cleanup(k.stop)
	return k
}

// error is what keeps the file from its storage, as far as it was told.
func (k *take) error() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.told) == 0 {
		return ""
	}
	return k.told[len(k.told)-1].Error
}

// end finalises the file and delivers it.
func (k *take) end() recorder.Recording {
	k.t.Helper()
	k.camera.cut()
	k.stop()
	return deliver(k.t, k.entry)
}

func (k *take) notes() map[string]string {
	notes, err := k.lease.Notes(k.t.Context())
	require.NoError(k.t, err)
	return notes
}

// begun waits until it has an upload, and knows.
func (k *take) begun() {
	k.t.Helper()
	eventually(k.t, func() bool { return len(k.notes()) > 0 })
}

func growing(t *testing.T) *deck { return newDeck(t, upload.Options{}) }

func toS3(u *recorder.S3Upload) recorder.Job {
	return one("job", recorder.FileOutput{Storage: recorder.Storage{S3: u}})
}

// parts waits until the proxy has passed so many parts.
func parts(t *testing.T, p *recordertest.S3Proxy, most int) {
	t.Helper()
	eventually(t, func() bool { return p.Count(isPart) >= most })
}

// What is recorded is with the storage seconds later. At the end only the tail and
// the part with the header are sent, and the object is the finalised file.
func TestS3Grows(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	d, f := growing(t), shot(t)
	k := d.roll(toS3(through(s, p)), f)
	eventually(t, func() bool { return s.Uploads() == 1 })
	require.Zero(t, p.Count(isPart), "nothing is written yet, and the storage was asked")
	for n := 1; n <= 20; n++ {
		k.camera.roll(n)
		parts(t, p, f.ends[n-1]/takePart)
		require.Equal(t, f.ends[n-1]/takePart, p.Count(isPart), "only what stays as it is goes")
	}
	rec := k.end()
	requireDelivered(t, rec)
	require.Equal(t, "talks/talk.mp4", rec.Files[0].Filename)
	require.True(t, bytes.Equal(f.final, s.Get("talks/talk.mp4")), "not byte-identical")
	require.LessOrEqual(t, p.Sent(isPart), int64(len(f.final)+takePart), "one part is sent twice, the header's")
	require.Zero(t, s.Uploads())
	require.NoFileExists(t, media(k.entry))
	notes := k.notes()
	require.Len(t, notes, 1+(len(f.final)+takePart-1)/takePart)
	require.Contains(t, notes["1/file-0"], `"key":"talks/talk.mp4"`)
	require.Contains(t, notes["1/file-0"], `"final":`)
	require.Contains(t, notes["1/file-0.3"], `"s":5242880,"m":`)
	d.requireNoSecret(rec, s.Secret, s.AccessKey)
	for _, text := range notes {
		require.NotContains(t, text, s.Secret)
		require.NotContains(t, text, s.AccessKey)
	}
	require.NoError(t, k.entry.Free())
}

// A storage that is away keeps nobody from recording, and gets all of it when it is
// back.
func TestS3GrowsOverAnOutage(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	d, f := growing(t), shot(t)
	k := d.roll(toS3(through(s, p)), f)
	k.camera.roll(8)
	parts(t, p, f.ends[7]/takePart)
	s.Kill()
	k.camera.roll(20)
	eventually(t, func() bool { return k.error() != "" })
	s.Restart()
	parts(t, p, f.ends[19]/takePart)
	eventually(t, func() bool { return k.error() == "" })
	requireDelivered(t, k.end())
	require.True(t, bytes.Equal(f.final, s.Get("talks/talk.mp4")))
}

// Whoever starts a recording learns at once that its storage refuses it, and when it
// does no more.
func TestS3RefusesAtTheStart(t *testing.T) {
	s := recordertest.StartS3(t)
	for name, change := range map[string]struct {
		upload func(*recorder.S3Upload)
		fault  recordertest.S3Fault
		says   string
	}{
		"rights": {fault: recordertest.S3Fault{Status: http.StatusForbidden, Code: "AccessDenied"}, says: "s3:PutObject"},
		"clock":  {fault: recordertest.S3Fault{Status: http.StatusForbidden, Code: "RequestTimeTooSkewed"}, says: "set this machine's clock"},
		"bucket": {upload: func(u *recorder.S3Upload) { u.Bucket = "nowhere" }, says: "create the bucket"},
		"away":   {upload: func(u *recorder.S3Upload) { u.Endpoint = "http://127.0.0.1:9" }, says: "nothing listens there"},
	} {
		t.Run(name, func(t *testing.T) {
			p := recordertest.StartS3Proxy(t, s.Endpoint)
			p.Fault(func(int, *http.Request) recordertest.S3Fault { return change.fault })
			dest := through(s, p)
			if change.upload != nil {
				change.upload(dest)
			}
			k := growing(t).roll(toS3(dest), shot(t))
			eventually(t, func() bool { return k.error() != "" })
			require.Contains(t, k.error(), change.says)
			if change.upload != nil {
				return
			}
			p.Fault(nil)
			eventually(t, func() bool { return k.error() == "" })
			k.camera.roll(4)
			requireDelivered(t, k.end())
		})
	}
}

// One that refuses for good is given up for the backup while the recording goes on.
func TestGrowthTurnsToTheBackup(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	d, f := growing(t), shot(t)
	job := toS3(through(s, p))
	second := recordertest.StartS3(t)
	job.Backup = &recorder.Storage{S3: second.Upload()}
	k := d.roll(job, f)
	k.camera.roll(8)
	parts(t, p, f.ends[7]/takePart)
	p.Fault(func(int, *http.Request) recordertest.S3Fault {
		return recordertest.S3Fault{Status: http.StatusForbidden, Code: "AccessDenied"}
	})
	k.camera.roll(12)
	eventually(t, func() bool { return bytes.Contains([]byte(k.error()), []byte("the backup storage was used")) })
	rec := k.end()
	require.Equal(t, recorder.FileDelivered, rec.Files[0].State)
	require.True(t, rec.Files[0].Backup)
	require.Contains(t, rec.Files[0].Error, "AccessDenied")
	require.True(t, bytes.Equal(f.final, second.Get("talks/talk.mp4")))
}

// Recordings of one name at one time get names of their own.
func TestGrowthsOfOneName(t *testing.T) {
	s := recordertest.StartS3(t)
	d, f := growing(t), shot(t)
	names := map[string]bool{}
	var takes []*take
	for n, id := range []string{"a", "b", "c"} {
		job := toS3(s.Upload())
		job.ID = id
		f.final = bytes.Clone(f.final)
		f.final[f.ends[2]-1] = byte(n) // or they were one recording
		takes = append(takes, d.roll(job, f))
	}
	for _, k := range takes {
		k.camera.roll(6)
	}
	for _, k := range takes {
		rec := k.end()
		require.Equal(t, recorder.FileDelivered, rec.Files[0].State, rec.Files[0].Error)
		names[rec.Files[0].Filename] = true
		require.True(t, bytes.Equal(k.camera.film.final, s.Get(rec.Files[0].Filename)))
	}
	require.Len(t, names, 3)
	require.Zero(t, s.Uploads())
}

// Somebody takes the name while the file grows: theirs stays as it is.
func TestGrowthLosesItsName(t *testing.T) {
	s := recordertest.StartS3(t)
	d, f := growing(t), shot(t)
	k := d.roll(toS3(s.Upload()), f)
	k.camera.roll(6)
	k.begun()
	s.Put("talks/talk.mp4", []byte("theirs"))
	rec := k.end()
	require.Equal(t, recorder.FileDelivered, rec.Files[0].State, rec.Files[0].Error)
	require.Equal(t, "talks/talk-2.mp4", rec.Files[0].Filename)
	require.Equal(t, "theirs", string(s.Get("talks/talk.mp4")))
	require.True(t, bytes.Equal(f.final, s.Get("talks/talk-2.mp4")))
	require.Zero(t, s.Uploads())
}

// A part that changed after it was sent, which no muxer of ours does: the object is
// replaced.
func TestGrowthFindsAChange(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	d, f := growing(t), shot(t)
	k := d.roll(toS3(through(s, p)), f)
	k.camera.roll(14)
	parts(t, p, f.ends[13]/takePart)
	k.camera.spoil(2*takePart + 99)
	f = k.camera.film
	rec := k.end()
	require.Equal(t, recorder.FileDelivered, rec.Files[0].State, rec.Files[0].Error)
	require.Equal(t, "talks/talk.mp4", rec.Files[0].Filename)
	require.True(t, bytes.Equal(f.final, s.Get("talks/talk.mp4")))
	require.Zero(t, s.Uploads())
}

// Nothing stays of the upload of a recording that came to nothing.
func TestGrowthOfNothing(t *testing.T) {
	s := recordertest.StartS3(t)
	d, f := growing(t), shot(t)
	k := d.roll(toS3(s.Upload()), f)
	k.begun()
	k.stop()
	rec := deliver(t, k.entry)
	require.Equal(t, recorder.FileEmpty, rec.Files[0].State)
	require.Zero(t, s.Uploads())
	given := d.roll(toS3(s.Upload()), f) // given back for another try
	given.begun()
	require.Equal(t, 1, s.Uploads())
	given.stop()
	require.NoError(t, given.entry.Free())
	require.Zero(t, s.Uploads())
}

// The answer to the last request is lost, and the server knows nothing of the upload
// any more: the object is found, and not sent again. With KMS keys its ETag says nothing.
func TestGrowthLosesTheAnswer(t *testing.T) {
	s := recordertest.StartS3(t)
	f := shot(t)
	sealed := func(resp *http.Response) {
		resp.Header.Set("ETag", `"0123456789abcdef0123456789abcdef-9"`)
		resp.Header.Set("X-Amz-Server-Side-Encryption", "aws:kms")
	}
	for name, head := range map[string]func(*http.Response){"plain": nil, "kms": sealed} {
		t.Run(name, func(t *testing.T) {
			p := recordertest.StartS3Proxy(t, s.Endpoint)
			p.Fault(func(_ int, r *http.Request) recordertest.S3Fault {
				if r.Method == http.MethodHead {
					return recordertest.S3Fault{Answer: head}
				}
				return recordertest.S3Fault{LoseAnswer: isCompletion(r)}
			})
			job := toS3(through(s, p))
			job.Files[0].Filepath = name + ".mp4"
			k := growing(t).roll(job, f)
			k.camera.roll(12)
			parts(t, p, f.ends[11]/takePart)
			rec := k.end()
			requireDelivered(t, rec)
			require.Equal(t, name+".mp4", rec.Files[0].Filename)
			require.True(t, bytes.Equal(f.final, s.Get(name+".mp4")))
			require.LessOrEqual(t, p.Sent(isPart), int64(len(f.final)+takePart))
			require.Zero(t, s.Uploads())
		})
	}
}
