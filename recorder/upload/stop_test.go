package upload_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
	"tapedeck/recorder/upload"
)

// How long a recording's file takes to be in S3 once it is stopped does not depend
// on how long it is. A source of 3 Mbit/s runs many times as fast as the clock, over
// a line that is as much faster than 20 Mbit/s; from the stop on it is 20 Mbit/s. All
// stop in the middle of a part, so that it is not chance that decides. What the server
// needs to put the parts together is told apart: this one copies them to a file, S3
// does not.
func TestStopToAvailable(t *testing.T) {
	t.Parallel() // most of it is waiting for a line
	lengths := []time.Duration{20 * time.Second, 3 * time.Minute}
	if os.Getenv("TAPEDECK_LONG") != "" {
		lengths = []time.Duration{time.Minute, 10 * time.Minute, time.Hour}
	}
	clip := filepath.Join(t.TempDir(), "clip.mp4")
	require.NoError(t, filmClip(clip, "3M"))
	var waits []time.Duration
	var table strings.Builder
	for _, length := range lengths {
		s := recordertest.StartS3(t)
		p := recordertest.StartS3Proxy(t, s.Endpoint)
		k := newDeck(t, upload.Options{Stall: time.Minute}).roll(toS3(through(s, p)), film{})
		r := recordFast(t, clip, length, k, p)
		waits = append(waits, r.available-r.server)
		fmt.Fprintf(&table, "| %s | %.0f MB | %.1f s | %.1f s | %.1f s | %.1f MB | %.1f s |\n", length, float64(r.size)/1e6,
			r.muxed.Seconds(), (r.available - r.server).Seconds(), r.server.Seconds(), float64(r.sent)/1e6, r.settled.Seconds())
		require.LessOrEqual(t, r.all, r.size+takePart, "one part is sent twice, the header's")
	}
	t.Logf("\n| length | size | stop to finalised | stop to completion | the server's copying | sent after the stop | stop to verified |\n|---|---|---|---|---|---|---|\n%s", table.String())
	ratio := waits[len(waits)-1].Seconds() / waits[0].Seconds()
	t.Logf("the longest takes %.2f times as long as the shortest", ratio)
	require.LessOrEqual(t, ratio, 1.5)
}

// fastRun is what came of one recording.
type fastRun struct {
	size, sent, all    int64         // bytes: of the file, after the stop, in all
	muxed              time.Duration // until the muxer has finalised the file
	available, settled time.Duration
	server             time.Duration // of the request that completes the object
}

const lineAfter = 20_000_000 / 8 // bytes a second

func recordFast(t *testing.T, clip string, length time.Duration, k *take, p *recordertest.S3Proxy) (r fastRun) {
	t.Helper()
	const speed = 30
	p.Limit(lineAfter * speed)
	source := exec.Command("ffmpeg", "-nostdin", "-v", "error", "-stream_loop", "-1", "-readrate", fmt.Sprint(speed), "-i", clip, "-c", "copy", "-f", "matroska", "-")
	muxer := exec.Command("bash", "-c", "exec "+filmRecorder(k.camera.path))
	for _, cmd := range []*exec.Cmd{source, muxer} {
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	}
	media, err := source.StdoutPipe()
	require.NoError(t, err)
	tape, err := muxer.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, muxer.Start())
	require.NoError(t, source.Start())
	feed(t, media, tape, k.camera.path, length)
	_ = source.Process.Kill()
	_ = source.Wait()
	size := func() int64 { info, _ := os.Stat(k.camera.path); return info.Size() }
	// In its own time, neither the line nor the disk would be behind.
	parts(t, p, int((size()-2<<20)/takePart))
	unix.Sync()
	p.Limit(lineAfter)
	before := p.Sent(isPart)

	stopped := time.Now()
	require.NoError(t, tape.Close())
	require.NoError(t, muxer.Wait())
	r.muxed = time.Since(stopped)
	var asked time.Time
	p.Fault(func(_ int, req *http.Request) recordertest.S3Fault {
		if !isCompletion(req) {
			return recordertest.S3Fault{}
		}
		asked = time.Now()
		return recordertest.S3Fault{Answer: func(*http.Response) { r.available, r.server = time.Since(stopped), time.Since(asked) }}
	})
	r.size = size()
	k.stop()
	rec := k.entry.Deliver(t.Context(), k.entry.Task().Recording, func(rec recorder.Recording) {
		if rec.Files[0].State == recorder.FileDelivered {
			r.settled = time.Since(stopped)
		}
	})
	requireDelivered(t, rec)
	require.EqualValues(t, r.size, rec.Files[0].Size)
	r.all = p.Sent(isPart)
	r.sent = r.all - before
	return r
}

// feed plays for so long, and then until the file ends in the middle of a part.
func feed(t *testing.T, media io.Reader, tape io.Writer, path string, length time.Duration) {
	t.Helper()
	nominal := int64(length.Seconds() * 3e6 / 8)
	buf := make([]byte, 32<<10)
	for fed := int64(0); ; {
		n, err := media.Read(buf)
		require.NoError(t, err)
		_, err = tape.Write(buf[:n])
		require.NoError(t, err)
		fed += int64(n)
		info, err := os.Stat(path)
		if fed >= nominal && err == nil && info.Size()%takePart > takePart*2/5 && info.Size()%takePart < takePart*3/5 {
			return
		}
	}
}
