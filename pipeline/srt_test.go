package pipeline_test

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/pipeline"
	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// untilReceived waits until a listener has so much of a stream.
func untilReceived(t *testing.T, path string, bytes int64) {
	t.Helper()
	require.Eventually(t, func() bool {
		info, err := os.Stat(path)
		return err == nil && info.Size() >= bytes
	}, 20*time.Second, 20*time.Millisecond, "%d bytes arrive", bytes)
}

// One stream is encrypted and its listener is killed; another one has the wrong
// passphrase, a third nobody at the other end.
func TestSRT(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	server := recordertest.StartSRT(t, "a passphrase that is right")
	// What comes later than the latency is dropped, as on a machine that is busy.
	url := server.URL("streamid=publish%3Aroom%2Fkey&passphrase=a+passphrase+that+is+right&pbkeylen=32&latency=800")
	wrong, nobody := server.URL("passphrase=one+that+is+wrong"), "srt://127.0.0.1:1?streamid=s3cr3t-stream-id"
	k := record(t, r.spec(streamTo(url), streamTo(wrong), streamTo(nobody)), pipeline.Options{Stream: hasty()})
	k.begin()
	k.untilState(url, recorder.StreamActive)
	untilReceived(t, server.Received(1), 200_000)
	for _, bad := range []string{wrong, nobody} {
		k.untilStream(bad, "is refused", func(s recorder.StreamResult) bool { return s.Retries > 0 })
		require.Zero(t, k.stream(bad).StartedAt, "nothing was taken")
		require.NotContains(t, k.stream(bad).Error+k.stream(bad).URL, "s3cr3t")
		require.NotContains(t, k.stream(bad).Error, "wrong")
	}
	server.Kill()
	k.untilState(url, recorder.StreamRetrying)
	require.NotEmpty(t, k.stream(url).Error)
	server.Restart()
	k.untilState(url, recorder.StreamActive)
	untilReceived(t, server.Received(2), 200_000)
	require.NoError(t, k.Remove(t.Context(), recorder.StreamID(url)))
	s := k.stream(url)
	require.Equal(t, recorder.StreamFinished, s.State)
	require.Positive(t, s.Retries)
	require.Positive(t, s.Bytes)
	require.Positive(t, s.Dropped)
	require.NoError(t, k.end())
	require.Equal(t, recorder.StreamFailed, k.stream(wrong).State)
	for life := 1; life <= 2; life++ {
		m := probeLoosely(t, server.Received(life))
		require.ElementsMatch(t, []string{"h264", "aac"}, m.codecs())
		m.requireEven(30, 12*time.Microsecond)
		require.Greater(t, len(m.pictures()), 25, "life %d begins with a key frame", life)
	}
}
