package pipeline_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"tapedeck/pipeline"
	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// rig is an X display with something that moves and a sound server with
// something that sounds.
type rig struct {
	t      testing.TB
	inputs recorder.Inputs
	xvfb   *process
	pulse  *process
	dir    string
	late   recordertest.Complaints // of a try of judged
}

const (
	rigWidth  = 640
	rigHeight = 360
)

func newRig(t testing.TB) *rig {
	return newRigOf(t, "pattern=ball animation-mode=frames motion=sweep")
}

// newNoisyRig shows what does not compress: it fills a stalled connection's
// buffers within seconds.
func newNoisyRig(t testing.TB) *rig { return newRigOf(t, "pattern=snow") }

func newRigOf(t testing.TB, pattern string) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir()}
	r.startX(fmt.Sprintf("%dx%dx24", rigWidth, rigHeight))
	r.startPulse()
	r.player("videotestsrc is-live=true %s ! video/x-raw,width=%d,height=%d,framerate=60/1"+
		" ! ximagesink display=%s sync=true", pattern, rigWidth, rigHeight, r.inputs.Display)
	r.player("audiotestsrc is-live=true wave=sine freq=440 volume=0.25 ! audio/x-raw,rate=48000,channels=2 ! pulsesink server=%s", r.inputs.PulseServer)
	return r
}

func (r *rig) startX(screen string) {
	r.t.Helper()
	read, write, err := os.Pipe()
	require.NoError(r.t, err)
	cmd := exec.Command("Xvfb", "-displayfd", "3", "-screen", "0", screen, "-nolisten", "tcp", "-noreset", "-ac")
	cmd.ExtraFiles = []*os.File{write}
	r.xvfb = start(r.t, cmd)
	require.NoError(r.t, write.Close())
	require.NoError(r.t, read.SetReadDeadline(time.Now().Add(20*time.Second)))
	line, err := bufio.NewReader(read).ReadString('\n')
	require.NoError(r.t, err, "Xvfb names its display")
	r.inputs.Display = ":" + strings.TrimSpace(line)
}

func (r *rig) startPulse() {
	r.t.Helper()
	socket := filepath.Join(r.dir, "pulse.sock")
	script := filepath.Join(r.dir, "pulse.pa")
	require.NoError(r.t, os.WriteFile(script, fmt.Appendf(nil,
		"load-module module-native-protocol-unix auth-anonymous=1 socket=%s\n"+
			"load-module module-null-sink sink_name=out rate=48000 channels=2\nset-default-sink out\n", socket), 0o600))
	cmd := exec.Command("pulseaudio", "-n", "-F", script, "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1",
		"--disable-shm=yes", "--realtime=no", "--high-priority=no", "--log-level=error")
	cmd.Env = append(os.Environ(), "HOME="+r.dir, "XDG_RUNTIME_DIR="+r.dir, "PULSE_RUNTIME_PATH="+r.dir)
	r.pulse = start(r.t, cmd)
	require.Eventually(r.t, func() bool {
		c, err := net.Dial("unix", socket)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, 20*time.Second, 10*time.Millisecond, "pulseaudio listens")
	r.inputs.PulseServer, r.inputs.PulseSource = "unix:"+socket, "out.monitor"
}

// player runs something to be recorded.
func (r *rig) player(launch string, args ...any) *process {
	return start(r.t, exec.Command("gst-launch-1.0", append([]string{"-q"}, strings.Fields(fmt.Sprintf(launch, args...))...)...))
}

func (r *rig) spec(outputs ...recorder.Output) recorder.PipelineSpec {
	return recorder.PipelineSpec{
		Inputs: r.inputs, Outputs: outputs,
		Options: recorder.EncodingOptions{
			Width: rigWidth, Height: rigHeight, Framerate: 30, VideoBitrate: 1000,
			AudioBitrate: 128, AudioFrequency: 48000, KeyFrameInterval: 2,
		},
	}
}

func (r *rig) file(name string) recorder.Output {
	return recorder.Output{ID: name, Kind: recorder.KindFile, Path: filepath.Join(r.dir, name)}
}

// judged runs what is judged by the clock, on the same display and sound server, with
// files of its own each time. Complaints that a busy machine excuses go to r.late.
func (r *rig) judged(try func()) {
	r.t.Helper()
	recordertest.Judged(r.t, func() []string {
		r.dir, r.late = r.t.TempDir(), nil
		try()
		return r.late
	})
}

// process is a child that is killed and waited for at the end of the test.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func start(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_ = cmd.Wait()
	}()
	t.Cleanup(p.kill)
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// take is a running pipeline.
type take struct {
	t testing.TB
	*pipeline.Pipeline
	stop context.CancelFunc
	done chan error
}

func record(t testing.TB, spec recorder.PipelineSpec, opts pipeline.Options) *take {
	t.Helper()
	if opts.Log == nil {
		opts.Log = zaptest.NewLogger(t)
	}
	if opts.FinaliseWithin == 0 {
		opts.FinaliseWithin = time.Minute // how long the end takes is not what is judged
	}
	p, err := pipeline.New(spec, opts)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	k := &take{t: t, Pipeline: p, stop: cancel, done: make(chan error, 1)}
	go func() { k.done <- p.Run(ctx) }()
	return k
}

// hear waits until the rig's sound is there: its player may start after the recording.
func (k *take) hear() {
	k.t.Helper()
	require.Eventually(k.t, func() bool { return k.Snapshot().Stats.AudioPeak > -20 }, 20*time.Second, 10*time.Millisecond, "the rig sounds")
}

func (k *take) begin() {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), 20*time.Second)
	defer cancel()
	require.NoError(k.t, k.Begin(ctx))
}

// until waits for so much media.
func (k *take) until(d time.Duration) {
	k.t.Helper()
	require.Eventually(k.t, func() bool { return k.Snapshot().Stats.Elapsed.Std() >= d }, d+20*time.Second, 20*time.Millisecond, "recorded %v", d)
}

// end stops and gives Run's error.
func (k *take) end() error {
	k.t.Helper()
	k.stop()
	return k.wait()
}

func (k *take) wait() error {
	k.t.Helper()
	select {
	case err := <-k.done:
		return err
	case <-time.After(90 * time.Second):
		k.t.Fatal("Run does not return")
		return nil
	}
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }
