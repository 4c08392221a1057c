package upload_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
	"tapedeck/recorder/upload"
)

// orphan delivers one file to an URL for a job that is another worker's by now.
func orphan(t *testing.T, opts upload.Options, raw string, data []byte) (recorder.SpoolEntry, recorder.FileResult) {
	t.Helper()
	e := newDeck(t, opts).entry(one("job", recorder.FileOutput{UploadURL: raw}), data)
	rec := e.Task().Recording
	rec.Orphan = true
	return e, e.Deliver(t.Context(), rec, nil).Files[0]
}

// The job's new owner recorded the same part anew, and its hour lies behind the URL: what
// a lost worker has of it goes to the worker's own storage, or stays.
func TestOrphanLeavesAnURLToOthers(t *testing.T) {
	s := recordertest.StartS3(t)
	dir := t.TempDir()
	own := upload.Options{Default: upload.Storage{Directory: dir, Overwrite: true}}
	raw := s.PresignPut(s.Endpoint, "talk.mp4", time.Minute)
	data := noise(24, 2*mib)

	e, f := orphan(t, own, raw, data)
	require.Equal(t, recorder.FileDelivered, f.State, f.Error)
	require.Equal(t, s.Endpoint+"/recordings/talk.mp4", f.Location, "nothing lay there")
	require.NoError(t, e.Free())

	s.Put("talk.mp4", []byte("theirs"))
	e, f = orphan(t, own, raw, data)
	require.Equal(t, recorder.FileDelivered, f.State, f.Error)
	require.Equal(t, filepath.Join(dir, "talks/talk.mp4"), f.Location)
	require.Contains(t, f.Error, "something lies there already")
	require.NotContains(t, f.Error, "X-Amz")
	require.NotEmpty(t, f.ManifestLocation)
	require.NoError(t, e.Free())

	e, f = orphan(t, upload.Options{}, raw, data)
	require.Equal(t, recorder.FileRefused, f.State)
	require.Contains(t, f.Error, "another worker's")
	require.ErrorIs(t, e.Free(), upload.ErrUndelivered)
	require.Equal(t, "theirs", string(s.Get("talk.mp4")))
}

// A server that may know no conditions is asked first.
func TestOrphanAsksAPlainServer(t *testing.T) {
	data := noise(25, 4096)
	for name, c := range map[string]struct {
		head int // the answer when it is asked
		sent bool
	}{
		"free":  {http.StatusNotFound, true},
		"taken": {http.StatusOK, false},
		"mute":  {http.StatusMethodNotAllowed, false},
	} {
		t.Run(name, func(t *testing.T) {
			stored := []byte("theirs")
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodHead {
					w.WriteHeader(c.head)
					return
				}
				stored, _ = io.ReadAll(r.Body)
			}))
			defer srv.Close()
			dir := t.TempDir()
			_, f := orphan(t, upload.Options{Default: upload.Storage{Directory: dir}}, srv.URL+"/talk.mp4?token=abcdefgh", data)
			require.Equal(t, recorder.FileDelivered, f.State, f.Error)
			require.Equal(t, c.sent, bytes.Equal(stored, data))
			require.Equal(t, c.sent, f.Location == srv.URL+"/talk.mp4", f.Location)
		})
	}
}
