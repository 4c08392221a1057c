package upload_test

import (
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
	"tapedeck/recorder/upload"
)

// waiting delivers to a storage that takes requests and never answers.
func waiting(t *testing.T, opts upload.Options, to recorder.Storage) {
	t.Helper()
	opts.Backup, opts.BackupAfter = upload.Storage{Directory: t.TempDir()}, time.Millisecond
	f := deliver(t, newDeck(t, opts).entry(one("job", recorder.FileOutput{Storage: to}), noise(14, 4096))).Files[0]
	require.Equal(t, recorder.FileDelivered, f.State, f.Error)
	require.True(t, f.Backup)
	require.Contains(t, f.Error, "the backup storage was used")
}

// A storage that does not answer has failed once it was waited for once: no SDK asks again by itself,
// and the backup takes over.
func TestStallIsWaitedForOnce(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	p.Fault(func(int, *http.Request) recordertest.S3Fault { return recordertest.S3Fault{Stall: true} })
	waiting(t, upload.Options{Stall: 100 * time.Millisecond}, s3Storage(through(s, p)))
	require.Len(t, p.Requests(), 1)
}

// late is the transport of a client whose requests are never answered.
type late struct{ asked atomic.Int32 }

func (l *late) RoundTrip(*http.Request) (*http.Response, error) {
	l.asked.Add(1)
	return nil, os.ErrDeadlineExceeded
}

func TestStallOfOtherBuckets(t *testing.T) {
	t.Setenv("STORAGE_EMULATOR_HOST", "http://gcs.invalid")
	for name, to := range map[string]recorder.Storage{
		"gcp":   {GCP: &recorder.GCPUpload{Bucket: "recordings"}},
		"azure": {Azure: &recorder.AzureBlobUpload{AccountName: "tapedecktest", AccountKey: "a2V5", ContainerName: "recordings"}},
	} {
		t.Run(name, func(t *testing.T) {
			var l late
			waiting(t, upload.Options{HTTPClient: &http.Client{Transport: &l}}, to)
			require.EqualValues(t, 1, l.asked.Load())
		})
	}
}
