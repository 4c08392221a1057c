package upload_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
	"tapedeck/recorder/upload"
)

// The keys of the job may only assume a role, and the role may write.
func TestS3AssumesARole(t *testing.T) {
	s := recordertest.StartS3(t)
	sts := &recordertest.STS{
		AccessKey: "AKJOBMAYASSUME77", Secret: "job-s3cr3t-assume", ExternalID: "ext3rnal-s3cr3t",
		Role: "arn:aws:iam::123456789012:role/recorder", GiveKey: s.AccessKey, GiveSecret: s.Secret,
	}
	recordertest.StartSTS(t, sts)
	t.Setenv("AWS_ENDPOINT_URL_STS", sts.URL)
	assuming := func(change func(*recorder.S3Upload)) *recorder.S3Upload {
		u := s.Upload()
		u.AccessKey, u.Secret = sts.AccessKey, sts.Secret
		u.AssumeRoleARN, u.AssumeRoleExternalID = sts.Role, sts.ExternalID
		change(u)
		return u
	}
	d := newDeck(t, upload.Options{})
	e := d.entry(one("job", recorder.FileOutput{Storage: s3Storage(assuming(func(*recorder.S3Upload) {}))}), noise(1, 17*mib))
	requireDelivered(t, deliver(t, e))
	require.Equal(t, 1, sts.Asked())
	require.Len(t, s.Get("talks/talk.mp4"), 17*mib)

	hls, studio := d.hls(hlsJob("hls", s3Storage(assuming(func(*recorder.S3Upload) {}))))
	for range 5 {
		studio.segment(100)
	}
	studio.end()
	requireSeries(t, hls.Deliver(t.Context(), hls.Task().Recording, nil).Segments[0].Series)
	require.LessOrEqual(t, sts.Asked(), 4, "a series keeps its credentials")

	// The S3 server here takes no session tokens: enough that it is asked with one.
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	var token atomic.Value
	p.Fault(func(_ int, r *http.Request) recordertest.S3Fault {
		token.Store(r.Header.Get("X-Amz-Security-Token"))
		return recordertest.S3Fault{}
	})
	sts.GiveToken = "t0ken-of-the-role"
	require.Error(t, upload.Check(t.Context(), upload.Storage{S3: assuming(func(u *recorder.S3Upload) { u.Endpoint = p.URL })}))
	require.Equal(t, "t0ken-of-the-role", token.Load())

	for want, change := range map[string]func(*recorder.S3Upload){
		"SignatureDoesNotMatch": func(u *recorder.S3Upload) { u.Secret = "wrong-s3cr3t" },
		"AccessDenied":          func(u *recorder.S3Upload) { u.AssumeRoleExternalID = "wr0ng-ext3rnal" },
	} {
		u := assuming(change)
		err := upload.Check(t.Context(), upload.Storage{S3: u})
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "assume_role_arn")
		for _, secret := range []string{u.Secret, u.AssumeRoleExternalID, u.AccessKey, s.Secret} {
			require.NotContains(t, err.Error(), secret)
		}
	}
}

// An output's own proxy is used, and asked with the user and password of its URL.
func TestS3ThroughAProxy(t *testing.T) {
	s := recordertest.StartS3(t)
	var passed atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Proxy-Authorization") == "" {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		passed.Add(1)
		(&httputil.ReverseProxy{Rewrite: func(*httputil.ProxyRequest) {}}).ServeHTTP(w, r)
	}))
	defer proxy.Close()
	at, err := url.Parse(proxy.URL)
	require.NoError(t, err)
	u := s.Upload()
	u.Proxy = "http://" + at.Host
	require.ErrorContains(t, upload.Check(t.Context(), upload.Storage{S3: u}), "Proxy Authentication Required")
	u.Proxy = "http://us3r:pr0xy-s3cr3t@" + at.Host
	require.NoError(t, upload.Check(t.Context(), upload.Storage{S3: u}))
	require.Positive(t, passed.Load())
	u.Proxy = "http://us3r:pr0xy-s3cr3t@127.0.0.1:1"
	err = upload.Check(t.Context(), upload.Storage{S3: u})
	require.ErrorContains(t, err, "connection refused")
	require.NotContains(t, err.Error(), "pr0xy-s3cr3t")
}
