package upload_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
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

func TestPresignedPut(t *testing.T) {
	s := recordertest.StartS3(t)
	d := newDeck(t, upload.Options{})
	for _, size := range []int{1, 17 * mib} {
		key := fmt.Sprintf("talks/%d.mp4", size)
		raw := s.PresignPut(s.Endpoint, key, time.Minute)
		data := noise(20, size)
		e := d.entry(one("job", recorder.FileOutput{UploadURL: raw}), data)
		rec := deliver(t, e)
		requireDelivered(t, rec)
		require.True(t, bytes.Equal(data, s.Get(key)))
		require.Equal(t, s.Endpoint+"/recordings/"+key, rec.Files[0].Location)
		require.NotContains(t, s.Keys(), key+".json", "a presigned URL has no place for a manifest")
		u, err := url.Parse(raw)
		require.NoError(t, err)
		d.requireNoSecret(rec, u.RawQuery, u.Query().Get("X-Amz-Signature"), s.AccessKey)
		require.NoError(t, e.Free())
	}
}

func TestPresignedPutThroughFaults(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	for name, fault := range map[string]recordertest.S3Fault{
		"500":     {Status: 500, Code: "InternalError"},
		"slow":    {Status: 503, Code: "SlowDown"},
		"cut":     {CutAfter: 400_000},
		"flipped": {FlipAt: 400_000, Drop: []string{"Content-Md5"}},
		"caught":  {FlipAt: 400_000},
		"stalled": {Stall: true},
		"early":   {Status: 200},
	} {
		t.Run(name, func(t *testing.T) {
			p.Fault(func(int, *http.Request) recordertest.S3Fault { return fault })
			opts := upload.Options{}
			if fault.Stall {
				opts.Stall = 500 * time.Millisecond
			}
			d := newDeck(t, opts)
			data := noise(21, 2*mib)
			key := name + ".mp4"
			e := d.entry(one("job", recorder.FileOutput{UploadURL: s.PresignPut(p.URL, key, time.Minute)}), data)
			rec := e.Deliver(t.Context(), e.Task().Recording, func(r recorder.Recording) {
				if f := r.Files[0]; f.State == recorder.FilePending {
					require.FileExists(t, media(e))
					if f.Retries >= 2 {
						p.Fault(nil)
					}
				}
			})
			requireDelivered(t, rec)
			require.GreaterOrEqual(t, rec.Files[0].Retries, 2)
			if !fault.Stall { // a busy disk may keep the server from answering for as long
				require.Equal(t, 2, rec.Files[0].Retries)
			}
			require.True(t, bytes.Equal(data, s.Get(key)))
		})
	}
}

func TestPresignedPutRefused(t *testing.T) {
	t.Parallel() // it waits for a clock, as others do
	s := recordertest.StartS3(t)
	refuse := func(raw, want string) {
		t.Helper()
		d := newDeck(t, upload.Options{})
		e := d.entry(one("job", recorder.FileOutput{UploadURL: raw}), noise(22, 1000))
		rec := deliver(t, e)
		require.Equal(t, recorder.FileRefused, rec.Files[0].State)
		require.Contains(t, rec.Files[0].Error, want)
		require.Equal(t, 2, rec.Files[0].Retries, "three tries")
		require.ErrorIs(t, e.Free(), upload.ErrUndelivered)
		require.FileExists(t, media(e))
		if u, err := url.Parse(raw); err == nil && u.RawQuery != "" {
			d.requireNoSecret(rec, u.RawQuery, u.Query().Get("X-Amz-Signature"), u.Query().Get("token"))
		}
	}
	expired, over := s.PresignPut(s.Endpoint, "old.mp4", time.Second), time.After(2100*time.Millisecond)
	forged := strings.Replace(s.PresignPut(s.Endpoint, "a.mp4", time.Minute), "a.mp4", "b.mp4", 1)
	refuse(forged, "sign the URL for PUT")
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		http.Redirect(w, r, "https://elsewhere.example/x?"+r.URL.RawQuery, http.StatusTemporaryRedirect)
	}))
	defer other.Close()
	refuse(other.URL+"/x?token=abcdefghijkl", "sign it for https://elsewhere.example")
	<-over
	refuse(expired, "has expired")
}

// No doctor looks at a job's URL: whose server hangs up is told what may be wrong with it.
func TestPresignedPutHungUpOn(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if tcp, ok := c.(*net.TCPConn); err == nil && ok {
			_ = tcp.SetLinger(0)
			_ = tcp.Close()
		}
	}))
	defer srv.Close()
	d := newDeck(t, upload.Options{GiveUpAfter: 50 * time.Millisecond})
	f := deliver(t, d.entry(one("job", recorder.FileOutput{UploadURL: srv.URL + "/x"}), noise(26, 1000))).Files[0]
	require.Equal(t, recorder.FileRefused, f.State)
	require.Contains(t, f.Error, "hung up while it was sent; some do so to refuse: sign the URL for PUT")
}

// What a server sees of a PUT: one body of known length, and no chunks.
func TestPutIsPlain(t *testing.T) {
	data := noise(23, 2*mib)
	var got []byte
	var req *http.Request
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, _ = io.ReadAll(r.Body)
		req = r
		w.WriteHeader(http.StatusCreated)
	}))
	defer srv.Close()
	d := newDeck(t, upload.Options{})
	e := d.entry(one("job", recorder.FileOutput{UploadURL: srv.URL + "/up?sv=1&sig=abcdefgh"}), data)
	requireDelivered(t, deliver(t, e))
	require.True(t, bytes.Equal(data, got))
	require.EqualValues(t, len(data), req.ContentLength)
	require.Empty(t, req.TransferEncoding)
	require.Equal(t, "video/mp4", req.Header.Get("Content-Type"))
	require.Equal(t, "BlockBlob", req.Header.Get("X-Ms-Blob-Type"), "Azure wants it")
}

// Whatever fails, and however often: media are in the spool or verified
// elsewhere, and Free agrees.
func TestNothingIsLost(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	faults := []recordertest.S3Fault{
		{},
		{},
		{Status: 500, Code: "InternalError"},
		{Status: 403, Code: "AccessDenied"},
		{CutAfter: 1000},
		{FlipAt: 2000, Drop: []string{"Content-Md5"}},
		{LoseAnswer: true},
		{Status: 404, Code: "NoSuchBucket"},
	}
	out := t.TempDir()
	for round := range 25 {
		plan := make([]recordertest.S3Fault, 64)
		for i := range plan {
			plan[i] = faults[rnd.IntN(len(faults))]
		}
		first := len(p.Requests())
		p.Fault(func(n int, _ *http.Request) recordertest.S3Fault { return plan[(n-first)%len(plan)] })
		d := newDeck(t, upload.Options{GiveUpAfter: time.Duration(1+rnd.IntN(150)) * time.Millisecond, Default: upload.Storage{Directory: out}})
		key := func(i int) string { return fmt.Sprintf("r%d/f%d.mp4", round, i) }
		job := recorder.Job{ID: "job", Files: []recorder.FileOutput{
			{Filepath: key(0), Storage: recorder.Storage{S3: through(s, p)}},
			{Filepath: key(1), UploadURL: s.PresignPut(p.URL, key(1), time.Minute)},
			{Filepath: key(2)},
		}}
		var data [][]byte
		for i := range job.Files {
			data = append(data, noise(uint64(round*3+i), 5000+rnd.IntN(100_000)))
		}
		e := d.entry(job, data...)
		for life := 0; ; life++ {
			if life == 3 {
				p.Fault(nil) // the storm is over
				d.opts.GiveUpAfter = 0
				d.reopen()
				require.NoError(t, e.Close())
				left, err := d.Left()
				require.NoError(t, err)
				require.Len(t, left, 1)
				e = left[0]
			}
			rec := deliver(t, e)
			whole := true
			for i, f := range rec.Files {
				kept, err := os.ReadFile(filepath.Join(e.Task().Dir, recorder.MediaName(i, f)))
				if f.State != recorder.FileDelivered {
					whole = false
					require.NoError(t, err, "round %d: %+v", round, f)
					require.True(t, bytes.Equal(data[i], kept))
					continue
				}
				require.True(t, bytes.Equal(data[i], fetch(t, s, out, f)), "round %d: %+v", round, f)
			}
			if whole {
				require.NoError(t, e.Free())
				break
			}
			require.Less(t, life, 3)
		}
	}
}

func fetch(t *testing.T, s *recordertest.S3, out string, f recorder.FileResult) []byte {
	t.Helper()
	if strings.HasPrefix(f.Location, out) {
		data, err := os.ReadFile(f.Location)
		require.NoError(t, err)
		return data
	}
	_, key, _ := strings.Cut(f.Location, "/recordings/")
	return s.Get(key)
}
