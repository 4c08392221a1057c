package recordertest

import (
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

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
	free, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &SRT{Addr: free.LocalAddr().String(), t: t, dir: t.TempDir(), passphrase: passphrase}
	require.NoError(t, free.Close())
	s.Restart()
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
	args := []string{"-q", "-e", "srtsrc", "uri=srt://" + s.Addr + "?mode=listener", "keep-listening=true"}
	if s.passphrase != "" {
		args = append(args, "passphrase="+s.passphrase)
	}
	s.cmd = exec.Command("gst-launch-1.0", append(args, "!", "filesink", "buffer-mode=unbuffered", "location="+s.Received(s.lives))...) //nolint:gosec // a test's
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(s.t, s.cmd.Start())
	_, port, err := net.SplitHostPort(s.Addr)
	require.NoError(s.t, err)
	// An SRT listener answers nobody but SRT: it is there when its port is taken.
	require.Eventually(s.t, func() bool {
		n, err := strconv.Atoi(port)
		if err != nil {
			return false
		}
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: n})
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	}, 20*time.Second, 10*time.Millisecond, "the listener listens")
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
