package rehearsal

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder/rehearsal"
)

// BenchmarkPublishers says what publishers cost, in processor seconds a second: of
// this process, whose they are, and of the server, while nobody listens. Run it
// with -benchtime 1x.
func BenchmarkPublishers(b *testing.B) {
	for _, count := range []int{3, 25} {
		for name, format := range map[string]rehearsal.Format{"640x360": {}, "simulcast to 1280x720": {Width: 1280, Height: 720}} {
			b.Run(fmt.Sprintf("%d at %s", count, name), func(b *testing.B) { benchPublishers(b, count, format) })
		}
	}
}

func benchPublishers(b *testing.B, count int, format rehearsal.Format) {
	const length = 10 * time.Second
	server, studio := startServer(b), theStudio()
	camera := []*rehearsal.Clip{}
	began := time.Now()
	if format.Width > 0 {
		layers, err := studio.Layers(b.Context(), rehearsal.Presenter("Everybody", 0), format)
		require.NoError(b, err)
		camera = layers
	} else {
		clip, err := studio.Pictures(b.Context(), rehearsal.Presenter("Everybody", 0), format)
		require.NoError(b, err)
		camera = append(camera, clip)
	}
	tone := sound(b, studio, rehearsal.Tone(440))
	encoding := time.Since(began)
	for i := range count {
		p := join(b, server, fmt.Sprint("guest ", i))
		must(b)(p.PublishCamera(camera...))
		must(b)(p.PublishMicrophone(tone))
	}
	b.ResetTimer()
	for b.Loop() {
		own, theirs, from := processorTime(b, os.Getpid()), serverTime(b), time.Now()
		time.Sleep(length)
		seconds := time.Since(from).Seconds()
		b.ReportMetric((processorTime(b, os.Getpid())-own).Seconds()/seconds, "publishers-cpu")
		b.ReportMetric((serverTime(b)-theirs).Seconds()/seconds, "server-cpu")
	}
	b.ReportMetric(encoding.Seconds(), "encoding-s")
}

func serverTime(b *testing.B) time.Duration {
	b.Helper()
	stat := children(b)
	require.Len(b, stat, 1)
	pid, err := strconv.Atoi(strings.Fields(stat[0])[0])
	require.NoError(b, err)
	return processorTime(b, pid)
}

// processorTime is what a process has used so far (proc(5)).
func processorTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	if pid == os.Getpid() {
		var usage syscall.Rusage
		require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
		return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	require.NoError(b, err)
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var ticks int
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		require.NoError(b, err)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
