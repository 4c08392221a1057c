package upload_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
	"tapedeck/recorder/upload"
)

func TestGCS(t *testing.T) {
	g := recordertest.StartGCS(t)
	t.Setenv("STORAGE_EMULATOR_HOST", g.URL)
	to := recorder.Storage{GCP: &recorder.GCPUpload{Bucket: g.Bucket}}
	d := newDeck(t, upload.Options{})
	data := noise(1, 17*mib) // in pieces
	e := d.entry(one("job", recorder.FileOutput{Storage: to}), data)
	rec := deliver(t, e)
	requireDelivered(t, rec)
	require.Equal(t, "https://recordings.storage.googleapis.com/talks/talk.mp4", rec.Files[0].Location)
	require.Equal(t, "https://recordings.storage.googleapis.com/talks/talk.mp4.json", rec.Files[0].ManifestLocation)
	require.Equal(t, data, g.Get("talks/talk.mp4"))
	require.NoError(t, e.Free())

	g.Put("talks/talk.mp4", []byte("another's"))
	rec = deliver(t, d.entry(one("job2", recorder.FileOutput{Storage: to}), noise(2, 1000)))
	requireDelivered(t, rec)
	require.Equal(t, "talks/talk-2.mp4", rec.Files[0].Filename)
	require.Equal(t, "another's", string(g.Get("talks/talk.mp4")))
	require.Len(t, g.Get("talks/talk-2.mp4"), 1000)

	hls, studio := d.hls(hlsJob("hls", to))
	stop := follow(t, hls)
	for range 3 {
		studio.segment(1000)
	}
	eventually(t, func() bool { return len(listed(string(g.Get(mainList)))) == 3 })
	studio.end()
	stop()
	out := hls.Deliver(t.Context(), hls.Task().Recording, nil).Segments[0]
	requireSeries(t, out.Series)
	require.Equal(t, "https://recordings.storage.googleapis.com/talk/all.m3u8", out.PlaylistLocation)
	rescuedFrom(t, d, hls, to, out, g)

	names := g.Names()
	require.NoError(t, upload.Check(t.Context(), upload.Storage{GCP: to.GCP, Prefix: "p"}))
	require.Equal(t, names, g.Names(), "the test file is removed")
	err := upload.Check(t.Context(), upload.Storage{GCP: &recorder.GCPUpload{Bucket: "nobody-made-it"}})
	require.ErrorContains(t, err, "create the bucket")
}

// The server says what it received: that must be what was sent.
func TestGCSServerLies(t *testing.T) {
	g := recordertest.StartGCS(t)
	p := recordertest.StartS3Proxy(t, g.URL)
	t.Setenv("STORAGE_EMULATOR_HOST", p.URL)
	p.Fault(func(_ int, r *http.Request) recordertest.S3Fault {
		if r.Method == http.MethodPost {
			return recordertest.S3Fault{FlipAt: 2000}
		}
		return recordertest.S3Fault{}
	})
	d := newDeck(t, upload.Options{})
	e := d.entry(one("job", recorder.FileOutput{Storage: recorder.Storage{GCP: &recorder.GCPUpload{Bucket: g.Bucket}}}), noise(1, 9000))
	rec := deliver(t, e)
	require.Equal(t, recorder.FileRefused, rec.Files[0].State, rec.Files[0].Error)
	require.FileExists(t, media(e))
	p.Fault(nil)
	requireDelivered(t, deliver(t, e))
	require.Equal(t, noise(1, 9000), g.Get("talks/talk.mp4"))
}

// A service account's key buys a token, and the token goes with every request.
func TestGCSServiceAccount(t *testing.T) {
	g := recordertest.StartGCS(t)
	p := recordertest.StartS3Proxy(t, g.URL)
	t.Setenv("STORAGE_EMULATOR_HOST", p.URL)
	answer := http.StatusOK
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(answer)
		if answer != http.StatusOK || r.FormValue("assertion") == "" {
			fmt.Fprint(w, `{"error": "invalid_grant"}`)
			return
		}
		fmt.Fprint(w, `{"access_token": "t0ken-of-google", "token_type": "Bearer", "expires_in": 3600}`)
	}))
	defer tokens.Close()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	private := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	credentials, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "recorder@test.iam.gserviceaccount.com", "private_key": private, "token_uri": tokens.URL,
	})
	require.NoError(t, err)
	bare := 0
	p.Fault(func(_ int, r *http.Request) recordertest.S3Fault {
		if r.Header.Get("Authorization") != "Bearer t0ken-of-google" {
			bare++
		}
		return recordertest.S3Fault{}
	})
	to := upload.Storage{GCP: &recorder.GCPUpload{Bucket: g.Bucket, Credentials: string(credentials)}}
	require.NoError(t, upload.Check(t.Context(), to))
	require.Zero(t, bare)
	answer = http.StatusUnauthorized
	err = upload.Check(t.Context(), to)
	require.ErrorContains(t, err, "check the service account's key")
	require.NotContains(t, err.Error(), private[40:80])
}
