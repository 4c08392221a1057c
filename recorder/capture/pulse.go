package capture

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"tapedeck/recorder"
)

// pulseServer is a running PulseAudio.
type pulseServer struct {
	*process
	socket string
}

func (p *pulseServer) address() string { return "unix:" + p.socket }

// The sink that Chrome plays to and the source that hears it.
const (
	pulseSink   = "tapedeck"
	pulseSource = pulseSink + ".monitor"
)

// pulseScript is all the server does. The sink plays to nobody at the pace of
// the system's clock; without rewinds it keeps at most 50 ms ahead. Whoever can
// reach the socket may use it: the directory it is in lets only its owner and
// root pass.
func pulseScript(socket string) string {
	return fmt.Sprintf(`load-module module-null-sink sink_name=%s format=s16le rate=48000 channels=2 norewinds=1 sink_properties=device.description=Tapedeck
set-default-sink %s
set-default-source %s
load-module module-native-protocol-unix auth-anonymous=1 socket=%s
`, pulseSink, pulseSink, pulseSource, socket)
}

func (s *Session) pulseSocket() string { return filepath.Join(s.dir, "pulse.sock") }

// startPulse starts a sound server of the session's own. Its log says when the
// start is complete.
func (s *Session) startPulse(ctx context.Context) (*pulseServer, error) {
	path, err := tool("pulseaudio", "pulseaudio")
	if err != nil {
		return nil, err
	}
	p := &pulseServer{socket: s.pulseSocket()}
	script := filepath.Join(s.dir, "pulse.pa")
	if err := os.WriteFile(script, []byte(pulseScript(p.socket)), 0o644); err != nil {
		return nil, recorder.Errorf(recorder.CodeUnavailable, "writing PulseAudio's script: %w", err)
	}
	ready := make(chan struct{})
	var once sync.Once
	p.process, err = s.spawn(command{
		name: "PulseAudio", path: path, env: s.environment(), dies: syscall.SIGTERM,
		args: []string{
			"-n", "-F", script, "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", "--disallow-module-loading=yes",
			"--high-priority=no", "--realtime=no", "--log-target=stderr", "--log-level=info",
			// Its shared memory would outlive a SIGKILL in /dev/shm.
			"--disable-shm=yes",
		},
		onLine: func(line string) {
			if strings.Contains(line, "Daemon startup complete") {
				once.Do(func() { close(ready) })
			}
		},
	}, s.mourn(recorder.EndSoundDied))
	if err != nil {
		return nil, err
	}
	if err := p.await(ctx, ready); err != nil {
		return nil, err
	}
	return p, nil
}
