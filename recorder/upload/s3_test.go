package upload_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
	"tapedeck/recorder/upload"
)

// through names the bucket by way of the proxy.
func through(s *recordertest.S3, p *recordertest.S3Proxy) *recorder.S3Upload {
	u := s.Upload()
	u.Endpoint = p.URL
	return u
}

func isPart(r recordertest.S3Request) bool {
	return r.Method == http.MethodPut && r.Query.Has("partNumber")
}

func TestS3(t *testing.T) {
	s := recordertest.StartS3(t)
	dest := s.Upload()
	dest.Metadata = map[string]string{"room": "standup"}
	dest.Tagging = "kind=recording&team=a%2Bb"
	dest.ContentDisposition = `attachment; filename="talk.mp4"`
	for name, size := range map[string]int{"small": 3 * mib, "one byte": 1, "parts": 25*mib + 17, "whole parts": 16 * mib} {
		t.Run(name, func(t *testing.T) {
			d := newDeck(t, upload.Options{})
			data := noise(uint64(size), size)
			key := strings.ReplaceAll(name, " ", "/") + " ü+&.mp4"
			e := d.entry(one("job", recorder.FileOutput{Filepath: key, Storage: recorder.Storage{S3: dest}}), data)
			rec := deliver(t, e)
			requireDelivered(t, rec)
			require.Equal(t, s.Endpoint+"/recordings/"+(&url.URL{Path: key}).EscapedPath(), rec.Files[0].Location)
			require.True(t, bytes.Equal(data, s.Get(key)), "not byte-identical")
			var m upload.Manifest
			require.NoError(t, json.Unmarshal(s.Get(key+".json"), &m))
			require.Equal(t, rec.Files[0].SHA256, m.Files[0].SHA256)
			require.NoFileExists(t, media(e))
			require.Zero(t, s.Uploads())
			d.requireNoSecret(rec, s.Secret, s.AccessKey)
			require.NoError(t, e.Free())
		})
	}
}

func TestS3KeepsTheOtherObject(t *testing.T) {
	s := recordertest.StartS3(t)
	for name, overwrite := range map[string]bool{"kept": false, "replaced": true} {
		t.Run(name, func(t *testing.T) {
			d := newDeck(t, upload.Options{Overwrite: overwrite})
			key := name + "/talk.mp4"
			for i, size := range []int{2 * mib, 17 * mib} {
				e := d.entry(one("job", recorder.FileOutput{Filepath: key, Storage: recorder.Storage{S3: s.Upload()}, DisableManifest: true}), noise(uint64(i), size))
				requireDelivered(t, deliver(t, e))
			}
			if overwrite {
				require.Len(t, s.Get(key), 17*mib)
				require.NotContains(t, s.Keys(), name+"/talk-2.mp4")
			} else {
				require.Len(t, s.Get(key), 2*mib)
				require.Len(t, s.Get(name+"/talk-2.mp4"), 17*mib)
			}
			require.NotContains(t, s.Keys(), key+".json", "the manifest was turned off")
		})
	}
}

// Another writer takes the name between the look and the write.
func TestS3LosesARace(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	for name, size := range map[string]int{"small": mib, "parts": 17 * mib} {
		p.Fault(func(_ int, r *http.Request) recordertest.S3Fault {
			if r.Method == http.MethodHead && strings.HasSuffix(r.URL.Path, name+".mp4") {
				return recordertest.S3Fault{Status: http.StatusForbidden}
			}
			return recordertest.S3Fault{}
		})
		d := newDeck(t, upload.Options{})
		for i := range 2 {
			e := d.entry(one("job", recorder.FileOutput{Filepath: name + ".mp4", Storage: recorder.Storage{S3: through(s, p)}}), noise(uint64(i), size))
			requireDelivered(t, deliver(t, e))
		}
		require.True(t, bytes.Equal(noise(0, size), s.Get(name+".mp4")))
		require.True(t, bytes.Equal(noise(1, size), s.Get(name+"-2.mp4")))
		require.Zero(t, s.Uploads(), "the upload under the taken name is aborted")
	}
}

func TestS3EveryThirdRequestFails(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	p.Fault(func(n int, _ *http.Request) recordertest.S3Fault {
		if n%3 == 2 {
			return recordertest.S3Fault{Status: http.StatusInternalServerError, Code: "InternalError"}
		}
		return recordertest.S3Fault{}
	})
	d := newDeck(t, upload.Options{})
	data := noise(3, 34*mib)
	e := d.entry(one("job", recorder.FileOutput{Storage: recorder.Storage{S3: through(s, p)}}), data)
	requireDelivered(t, deliver(t, e))
	require.True(t, bytes.Equal(data, s.Get("talks/talk.mp4")))
}

func TestS3ConnectionsAreCut(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	p.Fault(func(n int, r *http.Request) recordertest.S3Fault {
		if r.Method == http.MethodPut && n%2 == 0 {
			return recordertest.S3Fault{CutAfter: 300_000}
		}
		return recordertest.S3Fault{}
	})
	d := newDeck(t, upload.Options{})
	data := noise(4, 17*mib)
	e := d.entry(one("job", recorder.FileOutput{Storage: recorder.Storage{S3: through(s, p)}}), data)
	requireDelivered(t, deliver(t, e))
	require.True(t, bytes.Equal(data, s.Get("talks/talk.mp4")))
}

// The server is gone during the upload and comes back for the next process.
func TestS3AwayAndBack(t *testing.T) {
	s := recordertest.StartS3(t)
	d := newDeck(t, upload.Options{})
	data := noise(5, 17*mib)
	e := d.entry(one("job", recorder.FileOutput{Storage: recorder.Storage{S3: s.Upload()}}), data)
	s.Kill()
	ctx, cancel := context.WithCancel(t.Context())
	rec := e.Deliver(ctx, e.Task().Recording, func(r recorder.Recording) {
		if r.Files[0].Retries == 1 {
			cancel()
		}
	})
	require.Equal(t, recorder.FilePending, rec.Files[0].State)
	require.Contains(t, rec.Files[0].Error, "nothing listens there")
	require.ErrorIs(t, e.Free(), upload.ErrUndelivered)
	d.reopen()
	s.Restart()
	left, err := d.Left()
	require.NoError(t, err)
	require.Len(t, left, 1)
	requireDelivered(t, deliver(t, left[0]))
	require.True(t, bytes.Equal(data, s.Get("talks/talk.mp4")))
	require.NoError(t, left[0].Free())
}

// A process is killed in the middle of a multipart upload; the next one sends
// only what is missing.
func TestS3ResumesAfterKill(t *testing.T) {
	if dir := os.Getenv("TAPEDECK_TEST_RESUME"); dir != "" {
		resumeChild(t, dir)
		return
	}
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	d := newDeck(t, upload.Options{})
	const parts = 8
	data := noise(6, parts*8*mib-5)
	e := d.entry(one("job", recorder.FileOutput{Storage: recorder.Storage{S3: through(s, p)}}), data)
	require.NoError(t, e.Close())
	gate := make(chan struct{})
	p.Fault(func(n int, r *http.Request) recordertest.S3Fault {
		if r.Method == http.MethodPut && r.URL.Query().Get("partNumber") > "4" { // 5 to 8 hang, and 1 to 4 pass
			select {
			case gate <- struct{}{}:
			case <-t.Context().Done():
			}
			return recordertest.S3Fault{Stall: true}
		}
		return recordertest.S3Fault{}
	})
	cmd := exec.Command(os.Args[0], "-test.run=^TestS3ResumesAfterKill$")
	cmd.Env = append(os.Environ(), "TAPEDECK_TEST_RESUME="+d.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, cmd.Start())
	for range 4 { // all four senders hang in a part, so all others are with the server
		select {
		case <-gate:
		case <-time.After(time.Minute):
			require.Fail(t, "the child does not upload")
		}
	}
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	before := p.Count(isPart)
	require.GreaterOrEqual(t, before, 4)
	p.Fault(nil)
	left, err := d.Left()
	require.NoError(t, err)
	require.Len(t, left, 1)
	requireDelivered(t, deliver(t, left[0]))
	require.Equal(t, parts, p.Count(isPart), "%d parts were there, only the others are sent", before)
	require.True(t, bytes.Equal(data, s.Get("talks/talk.mp4")))
	require.Zero(t, s.Uploads())
}

func resumeChild(t *testing.T, dir string) {
	spool, err := upload.NewSpool(dir, upload.Options{AllowTemp: true})
	require.NoError(t, err)
	left, err := spool.Left()
	require.NoError(t, err)
	require.Len(t, left, 1)
	deliver(t, left[0])
}

// Media that changed since begin a new upload, and the old one is aborted.
func TestS3DropsASupersededUpload(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	d := newDeck(t, upload.Options{})
	e := d.entry(one("job", recorder.FileOutput{Storage: recorder.Storage{S3: through(s, p)}}), noise(7, 24*mib))
	ctx, cancel := context.WithCancel(t.Context())
	p.Fault(func(_ int, r *http.Request) recordertest.S3Fault {
		if r.URL.Query().Get("partNumber") == "3" {
			cancel()
			return recordertest.S3Fault{Stall: true}
		}
		return recordertest.S3Fault{}
	})
	rec := e.Deliver(ctx, e.Task().Recording, nil)
	require.Equal(t, recorder.FilePending, rec.Files[0].State)
	require.Equal(t, 1, s.Uploads())
	p.Fault(nil)
	data := noise(8, 25*mib)
	require.NoError(t, os.WriteFile(media(e), data, 0o600))
	requireDelivered(t, deliver(t, e))
	require.True(t, bytes.Equal(data, s.Get("talks/talk.mp4")))
	require.Zero(t, s.Uploads())
}

// The answer to the last request is lost: the object is found, not sent again.
func TestS3LostAnswer(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	p.Fault(func(_ int, r *http.Request) recordertest.S3Fault {
		complete := r.Method == http.MethodPost && r.URL.Query().Has("uploadId")
		whole := r.Method == http.MethodPut && !r.URL.Query().Has("partNumber") && !strings.HasSuffix(r.URL.Path, ".json")
		return recordertest.S3Fault{LoseAnswer: complete || whole}
	})
	for _, size := range []int{mib, 17 * mib} {
		d := newDeck(t, upload.Options{})
		key := "talk" + strings.Repeat("x", size/mib) + ".mp4"
		e := d.entry(one("job", recorder.FileOutput{Filepath: key, Storage: recorder.Storage{S3: through(s, p)}}), noise(9, size))
		rec := deliver(t, e)
		requireDelivered(t, rec)
		require.Equal(t, key, rec.Files[0].Filename)
		require.True(t, bytes.Equal(noise(9, size), s.Get(key)))
	}
}

// Only one answer is lost: the SDK asks again, and is told that the name is taken.
func TestS3LostAnswerStoresOnce(t *testing.T) {
	s := recordertest.StartS3(t)
	for name, size := range map[string]int{"small": mib, "parts": 17 * mib} {
		t.Run(name, func(t *testing.T) {
			p := recordertest.StartS3Proxy(t, s.Endpoint)
			var lost atomic.Bool
			p.Fault(func(_ int, r *http.Request) recordertest.S3Fault {
				complete := r.Method == http.MethodPost && r.URL.Query().Has("uploadId")
				whole := r.Method == http.MethodPut && !r.URL.Query().Has("partNumber")
				return recordertest.S3Fault{LoseAnswer: (complete || whole) && !lost.Swap(true)}
			})
			d := newDeck(t, upload.Options{})
			e := d.entry(one("job", recorder.FileOutput{Filepath: name + ".mp4", Storage: recorder.Storage{S3: through(s, p)}}), noise(9, size))
			rec := deliver(t, e)
			requireDelivered(t, rec)
			require.Equal(t, name+".mp4", rec.Files[0].Filename)
			require.NotContains(t, s.Keys(), name+"-2.mp4")
		})
	}
}

func TestS3WrongCredentials(t *testing.T) {
	s := recordertest.StartS3(t)
	dest := s.Upload()
	dest.Secret = "an-entirely-wrong-secret"
	d := newDeck(t, upload.Options{})
	// Small: a server that refuses before it has read a large body hangs up, and its answer is lost.
	e := d.entry(one("job", recorder.FileOutput{Storage: recorder.Storage{S3: dest}}), noise(10, 4096))
	ctx, cancel := context.WithCancel(t.Context())
	rec := e.Deliver(ctx, e.Task().Recording, func(r recorder.Recording) {
		if r.Files[0].Retries > 0 {
			cancel()
		}
	})
	require.Equal(t, recorder.FilePending, rec.Files[0].State)
	require.NoError(t, e.Close())
	d.opts.GiveUpAfter = time.Nanosecond
	d.reopen()
	left, err := d.Left()
	require.NoError(t, err)
	rec = deliver(t, left[0])
	require.Equal(t, recorder.FileRefused, rec.Files[0].State)
	require.Contains(t, rec.Files[0].Error, "SignatureDoesNotMatch")
	require.Contains(t, rec.Files[0].Error, "check access key, secret and region")
	require.Positive(t, rec.Files[0].Retries)
	require.FileExists(t, media(e))
	d.requireNoSecret(rec, dest.Secret, dest.AccessKey)
}

// A byte changes on its way: the server must not keep it, or the spool must.
func TestS3Corruption(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	flip := func(_ int, r *http.Request) recordertest.S3Fault {
		if r.Method == http.MethodPut {
			return recordertest.S3Fault{FlipAt: 500_000}
		}
		return recordertest.S3Fault{}
	}
	for _, size := range []int{mib, 17 * mib} {
		p.Fault(flip)
		d := newDeck(t, upload.Options{})
		data := noise(11, size)
		key := "talk" + strings.Repeat("x", size/mib) + ".mp4"
		e := d.entry(one("job", recorder.FileOutput{Filepath: key, Storage: recorder.Storage{S3: through(s, p)}}), data)
		rec := deliver(t, e)
		require.Equal(t, recorder.FileRefused, rec.Files[0].State)
		t.Log(rec.Files[0].Error)
		require.FileExists(t, media(e))
		p.Fault(nil)
		requireDelivered(t, deliver(t, e))
		require.True(t, bytes.Equal(data, s.Get(key)))
	}
}

// The server says yes and has something else.
func TestS3ServerLies(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	for name, change := range map[string]func(*http.Response){
		"size": func(r *http.Response) { r.Header.Set("Content-Length", "12") },
		"ETag": func(r *http.Response) { r.Header.Set("Etag", `"0123456789abcdef0123456789abcdef"`) },
	} {
		t.Run(name, func(t *testing.T) {
			wrote := false
			p.Fault(func(_ int, r *http.Request) recordertest.S3Fault {
				wrote = wrote || r.Method == http.MethodPut
				if r.Method == http.MethodHead && wrote {
					return recordertest.S3Fault{Answer: change}
				}
				return recordertest.S3Fault{}
			})
			d := newDeck(t, upload.Options{})
			data := noise(12, mib)
			e := d.entry(one("job", recorder.FileOutput{Filepath: name + ".mp4", Storage: recorder.Storage{S3: through(s, p)}}), data)
			rec := deliver(t, e)
			if name == "ETag" { // not every server's ETag is an MD5: the object is read back
				requireDelivered(t, rec)
				require.Equal(t, 1, p.Count(func(r recordertest.S3Request) bool {
					return r.Method == http.MethodGet && strings.HasSuffix(r.Path, "ETag.mp4")
				}))
				return
			}
			require.Equal(t, recorder.FileRefused, rec.Files[0].State)
			require.Contains(t, rec.Files[0].Error, "12 of 1048576 bytes arrived")
			require.FileExists(t, media(e))
			p.Fault(nil)
			rec = deliver(t, e)
			requireDelivered(t, rec)
			require.Equal(t, name+".mp4", rec.Files[0].Filename, "its own failed try is replaced")
		})
	}
}

func TestS3WriteOnlyKeys(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	p.Fault(func(_ int, r *http.Request) recordertest.S3Fault {
		if r.Method == http.MethodHead || r.Method == http.MethodGet {
			return recordertest.S3Fault{Status: http.StatusForbidden, Code: "AccessDenied"}
		}
		return recordertest.S3Fault{}
	})
	d := newDeck(t, upload.Options{})
	for _, size := range []int{mib, 17 * mib} {
		e := d.entry(one("job", recorder.FileOutput{Storage: recorder.Storage{S3: through(s, p)}, Filepath: "f" + strings.Repeat("x", size/mib) + ".mp4"}), noise(13, size))
		requireDelivered(t, deliver(t, e))
	}
}

func TestS3Stall(t *testing.T) {
	t.Parallel()
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	p.Fault(func(n int, _ *http.Request) recordertest.S3Fault { return recordertest.S3Fault{Stall: true} })
	d := newDeck(t, upload.Options{Stall: 500 * time.Millisecond})
	e := d.entry(one("job", recorder.FileOutput{Storage: recorder.Storage{S3: through(s, p)}}), noise(14, 4*mib))
	rec := e.Deliver(t.Context(), e.Task().Recording, func(r recorder.Recording) {
		if f := r.Files[0]; f.State == recorder.FilePending {
			require.Contains(t, f.Error, "nothing moves")
			p.Fault(nil)
		}
	})
	requireDelivered(t, rec)
}

// A link far slower than the stall bound is no stall.
func TestS3SlowLink(t *testing.T) {
	t.Parallel()
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	p.Fault(func(_ int, r *http.Request) recordertest.S3Fault { return recordertest.S3Fault{Rate: mib} })
	d := newDeck(t, upload.Options{Stall: 4 * time.Second})
	e := d.entry(one("job", recorder.FileOutput{Storage: recorder.Storage{S3: through(s, p)}}), noise(15, 5*mib))
	rec := deliver(t, e)
	requireDelivered(t, rec)
	require.Zero(t, rec.Files[0].Retries)
}

func TestCheck(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	check := func(change func(*recorder.S3Upload)) error {
		u := through(s, p)
		change(u)
		return upload.Check(t.Context(), upload.Storage{S3: u})
	}
	require.NoError(t, check(func(*recorder.S3Upload) {}))
	require.Empty(t, s.Keys())
	for want, change := range map[string]func(*recorder.S3Upload){
		"create the bucket":          func(u *recorder.S3Upload) { u.Bucket = "nobody-made-it" },
		"check access key":           func(u *recorder.S3Upload) { u.Secret = "wrong-wrong-wrong" },
		"provided access key":        func(u *recorder.S3Upload) { u.AccessKey = "AKWRONGWRONG" },
		"nothing listens there":      func(u *recorder.S3Upload) { u.Endpoint = "http://127.0.0.1:1" },
		"cannot be resolved":         func(u *recorder.S3Upload) { u.Endpoint = "http://no-such-host.invalid" },
		"does not speak TLS":         func(u *recorder.S3Upload) { u.Endpoint = strings.Replace(u.Endpoint, "http:", "https:", 1) },
		"belong together":            func(u *recorder.S3Upload) { u.Secret = "" },
		"begins with http://":        func(u *recorder.S3Upload) { u.Endpoint = "ftp://x:hunter2@host" },
		"3 to 255 characters":        func(u *recorder.S3Upload) { u.Bucket = "" },
		"letters, digits, spaces":    func(u *recorder.S3Upload) { u.Tagging = "a=%26" },
		"at most 10 tags":            func(u *recorder.S3Upload) { u.Tagging = "a=1;b=%zz" },
		"line breaks":                func(u *recorder.S3Upload) { u.Metadata = map[string]string{"a": "x\r\ny"} },
		"one line of printable":      func(u *recorder.S3Upload) { u.ContentDisposition = "a\nb" },
		"set this machine's clock":   func(*recorder.S3Upload) { p.Fault(answer(403, "RequestTimeTooSkewed")) },
		"allow these keys s3:PutObj": func(*recorder.S3Upload) { p.Fault(answer(403, "AccessDenied")) },
	} {
		err := check(change)
		p.Fault(nil)
		require.ErrorContains(t, err, want)
		for _, secret := range []string{s.Secret, s.AccessKey, "wrong-wrong-wrong", "AKWRONGWRONG", "hunter2"} {
			require.NotContains(t, err.Error(), secret)
		}
	}
	require.NoError(t, upload.Check(t.Context(), upload.Storage{Directory: t.TempDir()}))
	require.ErrorContains(t, upload.Check(t.Context(), upload.Storage{Directory: "/proc/nowhere"}), "/proc/nowhere")
	require.Error(t, upload.Check(t.Context(), upload.Storage{}))
}

func answer(status int, code string) func(int, *http.Request) recordertest.S3Fault {
	return func(int, *http.Request) recordertest.S3Fault { return recordertest.S3Fault{Status: status, Code: code} }
}

// Without keys of its own a bucket is written with the worker's.
func TestS3WorkersOwnKeys(t *testing.T) {
	s := recordertest.StartS3(t)
	own := s.Upload()
	own.AccessKey, own.Secret, own.Region = "", "", ""
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	require.ErrorContains(t, upload.Check(t.Context(), upload.Storage{S3: own}), "no credentials were found")
	t.Setenv("AWS_ACCESS_KEY_ID", s.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s.Secret)
	d := newDeck(t, upload.Options{Default: upload.Storage{S3: own, Prefix: "worker/"}})
	e := d.entry(recorder.Job{ID: "job"}, noise(16, mib), noise(17, 17*mib), noise(18, 5))
	rec := deliver(t, e)
	requireDelivered(t, rec)
	require.Equal(t, s.Endpoint+"/recordings/worker/talks/file-1.mp4", rec.Files[1].Location)
	require.Equal(t, "talks/file-1.mp4", rec.Files[1].Filename)
	require.True(t, bytes.Equal(noise(17, 17*mib), s.Get("worker/talks/file-1.mp4")))
}
