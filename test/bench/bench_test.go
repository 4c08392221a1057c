//go:build bench

package bench

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

var (
	binary  = flag.String("tapedeck", "../../bin/tapedeck", "the binary to measure")
	seconds = flag.Int("seconds", 30, "length of each recording")
)

// TestCost records the barcode page and prints what that took, per second of
// recording: CPU of each part, exactness, and the waits a user feels.
func TestCost(t *testing.T) {
	page := recordertest.StartPage(t)
	rtmp := recordertest.StartRTMP(t)
	fmt.Printf("# %d cores, %s, %d s each, CPU in seconds per minute of recording\n\n", runtime.NumCPU(), runtime.Version(), *seconds)
	rows := []struct {
		name string
		args []string
	}{
		{"720p30 file", nil},
		{"720p30 file + 3 RTMP", []string{"--rtmp", rtmp.URL("a"), "--rtmp", rtmp.URL("b"), "--rtmp", rtmp.URL("c")}},
		{"1080p30 file", []string{"--preset", "H264_1080P_30"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) { measureOne(t, row.name, page.URL+"/barcode", row.args) })
	}
}

func measureOne(t *testing.T, name, url string, extra []string) {
	out := filepath.Join(t.TempDir(), "out.mp4")
	args := append([]string{"record", url, "-o", out, "--await-start", "--json", "--log-format", "json",
		"--duration", fmt.Sprintf("%ds", *seconds)}, extra...)
	cmd := exec.Command(*binary, args...)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	began := time.Now()
	require.NoError(t, cmd.Start())
	marks := followLog(stderr)
	require.Eventually(t, func() bool { return marks.at("active") > 0 }, time.Minute, 5*time.Millisecond)
	before, err := measure(cmd.Process.Pid)
	require.NoError(t, err)
	middle := time.Duration(*seconds-3) * time.Second
	time.Sleep(middle) // the measured span itself
	after, err := measure(cmd.Process.Pid)
	require.NoError(t, err)
	var rec recorder.Recording
	require.NoError(t, json.NewDecoder(stdout).Decode(&rec))
	require.NoError(t, cmd.Wait())
	printCost(name, after.since(before), middle)
	printExactness(t, out)
	ended := time.Unix(0, rec.EndedAt)
	fmt.Printf("  start to first frame %v, last frame to file in place %v\n\n",
		time.Unix(0, rec.StartedAt).Sub(began).Round(10*time.Millisecond), time.Since(ended).Round(10*time.Millisecond))
}

func printCost(name string, u usage, span time.Duration) {
	perMinute := 60 / span.Seconds()
	rest := (u[xvfb] + u[pulse] + u[ours]) * perMinute
	fmt.Printf("## %s\n", name)
	for _, k := range []string{chrome, x264, ours, xvfb, pulse} {
		fmt.Printf("  %-42s %6.1f\n", k, u[k]*perMinute)
	}
	fmt.Printf("  %-42s %6.1f  (%.2f of x264, %.2f of Chrome)\n", "everything but Chrome and x264", rest,
		rest/(u[x264]*perMinute), rest/(u[chrome]*perMinute))
}

func printExactness(t *testing.T, file string) {
	frames := recordertest.ReadBarcodes(t, file)
	repeated, unreadable := 0, 0
	for i, f := range frames {
		if f.Counter < 0 {
			unreadable++
		}
		if i > 0 && f.Counter == frames[i-1].Counter {
			repeated++
		}
	}
	flashes, beeps := recordertest.FlashOnsets(frames), recordertest.BeepOnsets(t, file)
	low, high := time.Hour, -time.Hour
	for i := range min(len(flashes), len(beeps)) {
		d := beeps[i] - flashes[i]
		low, high = min(low, d), max(high, d)
	}
	fmt.Printf("  %d frames, %d repeated, %d unreadable; audio - video from %v to %v over %d beeps\n",
		len(frames), repeated, unreadable, low.Round(time.Millisecond), high.Round(time.Millisecond), min(len(flashes), len(beeps)))
}

// log is when each message first came.
type log struct{ seen chan map[string]time.Time }

func followLog(r interface{ Read([]byte) (int, error) }) *log {
	l := &log{seen: make(chan map[string]time.Time, 1)}
	l.seen <- map[string]time.Time{}
	go func() {
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			var entry struct{ Msg string }
			if json.Unmarshal(lines.Bytes(), &entry) != nil {
				fmt.Fprintln(os.Stderr, strings.TrimSpace(lines.Text()))
				continue
			}
			seen := <-l.seen
			if _, ok := seen[entry.Msg]; !ok {
				seen[entry.Msg] = time.Now()
			}
			l.seen <- seen
		}
	}()
	return l
}

func (l *log) at(msg string) int64 {
	seen := <-l.seen
	defer func() { l.seen <- seen }()
	if at, ok := seen[msg]; ok {
		return at.UnixNano()
	}
	return 0
}
