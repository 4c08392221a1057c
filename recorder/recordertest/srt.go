package recordertest

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// SRT is a real SRT listener (GStreamer's srtsrc) on a free loopback port. Each
// of its lives writes what it receives to a file of its own. It ends with the test.
type SRT struct {
	// Addr is host:port of the listener.
	Addr string

	t          testing.TB
	dir        string
	passphrase string
	lives      int
	cmd        *exec.Cmd
}

// StartSRT starts a listener that takes streams with this passphrase, or any
// without one.
func StartSRT(t testing.TB, passphrase string) *SRT {
	t.Helper()
	s := &SRT{t: t, dir: t.TempDir(), passphrase: passphrase, lives: 1}
	onFreeAddr(t, func(addr string) error {
		s.Addr = addr
		return s.start()
	})
	t.Cleanup(func() {
		if s.cmd != nil {
			s.Kill()
		}
	})
	return s
}

// URL gives the listener's URL with what more the query says.
func (s *SRT) URL(query string) string { return "srt://" + s.Addr + "?" + query }

// Restart starts the listener again.
func (s *SRT) Restart() {
	s.t.Helper()
	s.lives++
	require.NoError(s.t, s.start())
}

func (s *SRT) start() error {
	args := []string{"-q", "-e", "srtsrc", "uri=srt://" + s.Addr + "?mode=listener", "keep-listening=true"}
	if s.passphrase != "" {
		args = append(args, "passphrase="+s.passphrase)
	}
	cmd := exec.Command("gst-launch-1.0", append(args, "!", "filesink", "buffer-mode=unbuffered", "location="+s.Received(s.lives))...) //nolint:gosec // a test's
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	// An SRT listener answers nobody but SRT: it is there when it has its port.
	if err := awaitListening(cmd, s.Addr); err != nil {
		return err
	}
	s.cmd = cmd
	return nil
}

// Kill ends the listener without a goodbye.
func (s *SRT) Kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}

// Received is the file of a life, counted from 1: MPEG-TS.
func (s *SRT) Received(life int) string {
	return filepath.Join(s.dir, strconv.Itoa(life)+".ts")
}
