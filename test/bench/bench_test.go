//go:build bench

package bench

import (
	"flag"
	"fmt"
	"runtime"
	"testing"
	"time"

	"tapedeck/recorder/recordertest"
)

var (
	binary  = flag.String("tapedeck", "../../bin/tapedeck", "the binary to measure")
	seconds = flag.Int("seconds", 30, "length of each recording")
)

// TestCost records the barcode page and prints what that took, per minute of
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
		t.Run(row.name, func(t *testing.T) {
			take := record(t, nil, append([]string{page.URL + "/barcode", "--await-start"}, row.args...)...)
			printCost(row.name, take.used, take.span)
			printExactness(t, take.file)
			fmt.Printf("  start to first frame %v, last frame to file in place %v\n\n", take.toFirstFrame(), take.toFile())
		})
	}
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
