package pipeline_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/pipeline"
	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

func TestDisplayDies(t *testing.T) {
	r := newRig(t)
	out := r.file("a.mp4")
	k := record(t, r.spec(out), pipeline.Options{})
	k.begin()
	k.until(2 * time.Second)
	r.xvfb.kill()
	err := k.wait()
	require.Equal(t, recorder.CodePipeline, recorder.CodeOf(err))
	require.ErrorContains(t, err, r.inputs.Display)
	m := probe(t, out.Path)
	m.requireEven(30, time.Microsecond)
	require.GreaterOrEqual(t, m.duration(), 2*time.Second)
	require.True(t, k.Snapshot().Files[0].Final)
}

func TestSoundServerDies(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	out := r.file("a.mp4")
	k := record(t, r.spec(out), pipeline.Options{})
	k.begin()
	k.until(2 * time.Second)
	r.pulse.kill()
	err := k.wait()
	require.Equal(t, recorder.CodePipeline, recorder.CodeOf(err))
	require.ErrorContains(t, err, "sound")
	t.Log(err)
	m := probe(t, out.Path)
	m.requireEven(30, time.Microsecond)
	require.GreaterOrEqual(t, m.duration(), 2*time.Second)
	require.InDelta(t, recordertest.Seconds(t, m.Streams[0].Duration), recordertest.Seconds(t, m.Streams[1].Duration), float64(aFrame))
}

func TestNoDisplay(t *testing.T) {
	r := newRig(t)
	spec := r.spec(r.file("a.mp4"))
	spec.Inputs.Display = ":9999"
	err := record(t, spec, pipeline.Options{}).wait()
	require.Equal(t, recorder.CodePipeline, recorder.CodeOf(err))
	require.ErrorContains(t, err, ":9999")
	spec = r.spec(r.file("b.mp4"))
	spec.Inputs.PulseServer = "unix:/nowhere"
	err = record(t, spec, pipeline.Options{}).wait()
	require.Equal(t, recorder.CodePipeline, recorder.CodeOf(err))
	require.ErrorContains(t, err, "sound")
	t.Log(err)
	spec = r.spec(r.file("c.mp4"))
	spec.Options.Width = 2 * rigWidth
	err = record(t, spec, pipeline.Options{}).wait()
	require.Equal(t, recorder.CodePipeline, recorder.CodeOf(err))
	t.Log(err)
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	onSmallDisk(t, "512k", func(t *testing.T, small string) {
		r := newRig(t)
		full := recorder.Output{ID: "full", Kind: recorder.KindFile, Path: filepath.Join(small, "a.mp4")}
		good := r.file("a.mp4")
		k := record(t, r.spec(full, good), pipeline.Options{})
		k.begin()
		err := k.wait()
		require.Equal(t, recorder.CodePipeline, recorder.CodeOf(err))
		require.ErrorIs(t, err, syscall.ENOSPC)
		t.Log(err)
		probe(t, good.Path)
		require.False(t, k.Snapshot().Files[0].Final)
		require.NotEmpty(t, probeLoosely(t, full.Path).Streams, "what fitted plays")
	})
}

// TestMain lets the test binary be a recorder that is killed.
func TestMain(m *testing.M) {
	if args := os.Getenv("TAPEDECK_TEST_VICTIM"); args != "" {
		victim(strings.Split(args, "|"))
		return
	}
	os.Exit(m.Run())
}

// victimOutput is a file, or for a playlist's name segments of a second.
func victimOutput(path string) recorder.Output {
	if filepath.Ext(path) != recorder.ExtPlaylist {
		return recorder.Output{ID: "a", Kind: recorder.KindFile, Path: path}
	}
	return recorder.Output{ID: "a", Kind: recorder.KindSegments, Dir: filepath.Dir(path), Segments: recorder.SegmentOutput{
		FilenamePrefix: "seg", PlaylistName: filepath.Base(path), SegmentDuration: recorder.Duration(time.Second),
	}}
}

// victim records until it is killed: display, server, path.
func victim(args []string) {
	p, err := pipeline.New(recorder.PipelineSpec{
		Inputs: recorder.Inputs{Display: args[0], PulseServer: args[1], PulseSource: "out.monitor"},
		Options: recorder.EncodingOptions{
			Width: rigWidth, Height: rigHeight, Framerate: 30, VideoBitrate: 1000, AudioBitrate: 128, AudioFrequency: 48000, KeyFrameInterval: 4,
		},
		Outputs: []recorder.Output{victimOutput(args[2])},
	}, pipeline.Options{})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		if err := p.Begin(ctx); err != nil {
			panic(err)
		}
		for p.Snapshot().Stats.Elapsed.Std() < 6*time.Second {
			time.Sleep(10 * time.Millisecond)
		}
		fmt.Println("6 s")
	}()
	_ = p.Run(ctx)
}

func TestPlaysAfterKill(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	path := filepath.Join(r.dir, "a.mp4")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "TAPEDECK_TEST_VICTIM="+strings.Join([]string{r.inputs.Display, r.inputs.PulseServer, path}, "|"))
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	p := start(t, cmd)
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "6 s\n", line)
	p.kill()
	m := probeLoosely(t, path)
	require.Equal(t, []string{"h264", "aac"}, m.codecs())
	m.requireEven(30, time.Microsecond)
	times := m.times()
	require.GreaterOrEqual(t, times[len(times)-1], 3*time.Second)
	t.Logf("killed at 6 s, plays to %v", times[len(times)-1])
	require.Len(t, m.pictures(), len(times), "every frame decodes")
}

// A display that hangs, say because its machine swaps, holds up neither the
// sound nor the end.
func TestDisplayHangs(t *testing.T) {
	r := newRig(t)
	r.judged(func() {
		out := r.file("a.mp4")
		k := record(t, r.spec(out), pipeline.Options{})
		k.begin()
		k.until(1 * time.Second)
		r.xvfb.signal(syscall.SIGSTOP)
		k.until(3 * time.Second)
		require.Positive(t, k.Snapshot().Stats.Repeated)
		r.xvfb.signal(syscall.SIGCONT)
		k.until(5 * time.Second)
		r.xvfb.signal(syscall.SIGSTOP)
		require.NoError(t, k.end())
		r.xvfb.signal(syscall.SIGCONT)
		m := probe(t, out.Path)
		m.requireEven(30, time.Microsecond)
		require.GreaterOrEqual(t, m.duration(), 5*time.Second)
		require.InDelta(t, recordertest.Seconds(t, m.Streams[0].Duration), recordertest.Seconds(t, m.Streams[1].Duration), float64(aFrame))
		pictures := m.pictures()
		assert.Greater(&r.late, changes(pictures[135:150]), 11, "it moves again")
	})
}

func TestSoundServerHangs(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	out := r.file("a.mp4")
	k := record(t, r.spec(out), pipeline.Options{})
	k.hear()
	k.begin()
	k.until(2 * time.Second)
	r.pulse.signal(syscall.SIGSTOP)
	k.until(5 * time.Second)
	require.NoError(t, k.end())
	m := probe(t, out.Path)
	m.requireEven(30, time.Microsecond)
	require.InDelta(t, recordertest.Seconds(t, m.Streams[0].Duration), recordertest.Seconds(t, m.Streams[1].Duration), float64(aFrame))
	require.Less(t, m.loudness(3*time.Second, time.Second), -60.0, "silence")
	require.Greater(t, m.loudness(time.Second, time.Second/2), -20.0)
	r.pulse.signal(syscall.SIGCONT)
}

func TestUntrustedTLS(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	server := recordertest.StartRTMP(t)
	url := recordertest.TLSFront(t, server.URL("key"))
	k := record(t, r.spec(streamTo(url)), pipeline.Options{Stream: hasty()})
	k.begin()
	k.untilStream(url, "the certificate is refused", func(s recorder.StreamResult) bool { return s.Retries > 0 })
	require.Contains(t, strings.ToLower(k.stream(url).Error), "certificate")
	require.NoError(t, k.end())
	require.Empty(t, server.Recorded("key"))
}
