package recordertest

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFreePortsAreNoClients(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	require.NoError(t, err)
	var first, last int
	_, err = fmt.Sscan(string(text), &first, &last)
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(FreeAddr(t))
	require.NoError(t, err)
	n, err := strconv.Atoi(port)
	require.NoError(t, err)
	assert.True(t, n < first || n > last, "%d is a client's: %d to %d", n, first, last)
}

func TestListening(t *testing.T) {
	l, err := net.Listen("tcp", FreeAddr(t))
	require.NoError(t, err)
	p, err := net.ListenPacket("udp", FreeAddr(t))
	require.NoError(t, err)
	at := Listening(os.Getpid())
	assert.Contains(t, at, l.Addr().String())
	assert.Contains(t, at, p.LocalAddr().String())
	assert.Error(t, free(l.Addr().String()), "it is taken")
	assert.Error(t, free(p.LocalAddr().String()), "it is taken")
	require.NoError(t, l.Close())
	require.NoError(t, p.Close())
	assert.NotContains(t, Listening(os.Getpid()), l.Addr().String())
	assert.NoError(t, free(l.Addr().String()))
}

// Servers take another port when theirs is taken, and are told from who took it.
func TestServersStartBesideOthers(t *testing.T) {
	taken := StartRTMP(t)
	tries := 0
	r := &RTMP{Dir: taken.Dir, t: t, conf: taken.conf}
	onFreeAddr(t, func(addr string) error {
		if tries++; tries == 1 {
			r.Addr = taken.Addr
			err := r.start()
			require.Error(t, err)
			return err
		}
		r.Addr = addr
		config, err := os.ReadFile(r.conf)
		require.NoError(t, err)
		r.conf += ".other"
		require.NoError(t, os.WriteFile(r.conf, []byte(strings.Replace(string(config), taken.Addr, addr, 1)), 0o600))
		return r.start()
	})
	t.Cleanup(r.Kill)
	assert.Equal(t, 2, tries)
	assert.Contains(t, Listening(r.cmd.Process.Pid), r.Addr)
}

// An address that was given is not given again, though nobody listens there at present.
func TestAddressesAreReserved(t *testing.T) {
	addr := FreeAddr(t)
	require.NoError(t, free(addr))
	require.ErrorContains(t, reserve(addr), "another test has it")
}
