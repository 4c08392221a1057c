package upload_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
	"tapedeck/recorder/upload"
)

// What a server says of a wrong region, or one that is no S3 of anything, is of no help:
// what is told to whoever must mend it is.
func TestS3EndpointIsMistaken(t *testing.T) {
	s := recordertest.StartS3(t)
	elsewhere := s.Upload()
	elsewhere.Region = "eu-nowhere-1"
	require.Contains(t, refusedBy(t, upload.Options{}, s3Storage(elsewhere), s.Secret), "check the region")
	for status, html := range map[int]string{
		http.StatusNotImplemented:   "<html><body>Unsupported method</body></html>",
		http.StatusMethodNotAllowed: "<html><body>405 Not Allowed</body></html>",
		http.StatusBadRequest:       "",
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(html))
		}))
		u := &recorder.S3Upload{Bucket: "recordings", Endpoint: srv.URL, ForcePathStyle: true, AccessKey: "k3y-of-tests", Secret: "s3cret-of-tests"}
		text := refusedBy(t, upload.Options{}, s3Storage(u), u.Secret)
		require.Contains(t, text, "that the endpoint is that of an S3 API", text)
		require.NotContains(t, text, "()")
		require.ErrorContains(t, upload.Check(t.Context(), upload.Storage{S3: u}), "that the endpoint is that of an S3 API")
		srv.Close()
	}
}
