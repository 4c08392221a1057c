package upload_test

import (
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/upload"
)

// memory is a server that keeps what a HEAD request asks for.
type memory map[string]http.Header

func (m memory) RoundTrip(r *http.Request) (*http.Response, error) {
	at := *r.URL
	at.RawQuery = ""
	answer := &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}
	if r.Method == http.MethodPut {
		sum, err := base64.StdEncoding.DecodeString(r.Header.Get("Content-Md5"))
		if err != nil {
			return nil, err
		}
		m[at.String()] = http.Header{"Etag": {`"` + hex.EncodeToString(sum) + `"`}, "Content-Length": {strconv.FormatInt(r.ContentLength, 10)}}
	}
	if answer.Header = m[at.String()]; answer.Header == nil {
		answer.StatusCode, answer.Header = http.StatusNotFound, http.Header{}
	}
	return answer, nil
}

// Clients open a location: it is the URL that the object was sent to. Amazon's
// own is LiveKit's, which leaves the region out.
func TestS3Location(t *testing.T) {
	const name, escaped = "talks/50% of ü+&.mp4", "talks/50%25%20of%20%C3%BC+&.mp4"
	for endpoint, c := range map[string]struct {
		pathStyle bool
		want      string
	}{
		"":                             {false, "https://recordings.s3.amazonaws.com/"},
		"https://s3.example.com":       {false, "https://recordings.s3.example.com/"},
		"http://minio.internal:9000":   {true, "http://minio.internal:9000/recordings/"},
		"https://gate.example.com/s3/": {true, "https://gate.example.com/s3/recordings/"},
		"http://192.0.2.7:9000":        {false, "http://192.0.2.7:9000/recordings/"},
	} {
		t.Run(endpoint, func(t *testing.T) {
			there := memory{}
			d := newDeck(t, upload.Options{HTTPClient: &http.Client{Transport: there}})
			e := d.entry(one("job", recorder.FileOutput{Filepath: name, Storage: s3Storage(&recorder.S3Upload{
				AccessKey: "key", Secret: "hidden", Region: "eu-central-1", Endpoint: endpoint, Bucket: "recordings", ForcePathStyle: c.pathStyle,
			})}), noise(1, 10))
			rec := deliver(t, e)
			requireDelivered(t, rec)
			require.Equal(t, c.want+escaped, rec.Files[0].Location)
			require.Equal(t, c.want+escaped+".json", rec.Files[0].ManifestLocation)
			if endpoint == "" {
				return
			}
			sent := false
			for at := range there {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodHead, at, nil)
				require.NoError(t, err)
				r.URL.RawPath = "" // the SDK escapes more
				sent = sent || r.URL.String() == rec.Files[0].Location
			}
			require.True(t, sent, "%v", there)
		})
	}
}
