package recordertest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofrs/flock"
)

// The ports of servers that are started by address. They are below those that the
// kernel gives to clients (ip_local_port_range, from 32768 on): of these any may be a
// client's in the moment after it was found free, or while its server is being started
// again - even that client's who keeps asking for it, for TCP connects a socket to itself.
const firstPort, lastPort = 12000, 30000

// FreeAddr gives a loopback address, host:port, that no server listens at and no
// client will take. It is nobody else's for as long as this process lives: a server that a test
// has killed, to start it again there, must not find another test's in its place.
func FreeAddr(t testing.TB) string {
	t.Helper()
	var err error
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+rand.IntN(lastPort-firstPort))) //nolint:gosec // not a secret
		if err = errors.Join(free(addr), reserve(addr)); err == nil {
			return addr
		}
	}
	t.Fatalf("no port from %d to %d is free: %v", firstPort, lastPort, err)
	return ""
}

// reserved holds the locks of this process's addresses.
var reserved sync.Map //nolint:gochecknoglobals // held until the process ends

// reserve keeps an address from this and other test processes.
func reserve(addr string) error {
	const dir = "/tmp/tapedeck-test-ports" // whatever a test's own TMPDIR is
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	lock := flock.New(filepath.Join(dir, addr))
	locked, err := lock.TryLock()
	if err == nil && !locked {
		err = errors.New("another test has it")
	}
	if err != nil {
		return fmt.Errorf("reserving %s: %w", addr, err)
	}
	reserved.Store(addr, lock)
	return nil
}

// free tells whether an address can be listened at, by TCP and by UDP.
func free(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	p, err := net.ListenPacket("udp", addr)
	if err == nil {
		err = p.Close()
	}
	return errors.Join(err, l.Close())
}

// Listening lists the addresses where a process accepts TCP or takes UDP on IPv4
// (proc_net(5): the local address is in the second column, the state in the fourth, the
// inode in the tenth).
func Listening(pid int) (addresses []string) {
	sockets := map[string]bool{}
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, file := range files {
		if target, err := os.Readlink(file); err == nil {
			sockets[target] = true
		}
	}
	for table, listens := range map[string]string{"tcp": "0A", "udp": "07"} {
		text, _ := os.ReadFile("/proc/net/" + table)
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) < 10 || f[3] != listens || !sockets["socket:["+f[9]+"]"] {
				continue
			}
			var ip, port int
			if _, err := fmt.Sscanf(f[1], "%x:%x", &ip, &port); err == nil {
				// In the order of the machine's bytes.
				addresses = append(addresses, fmt.Sprintf("%d.%d.%d.%d:%d", ip&255, ip>>8&255, ip>>16&255, ip>>24&255, port))
			}
		}
	}
	return addresses
}

// awaitListening waits until this process, and no other that was quicker, listens at
// the address. A process that ends instead is waited for.
func awaitListening(cmd *exec.Cmd, addr string) error {
	const limit = 20 * time.Second
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		for _, at := range Listening(cmd.Process.Pid) {
			if at == addr {
				return nil
			}
		}
		if p, ok := readProcess(cmd.Process.Pid); !ok || p.state == 'Z' {
			_ = cmd.Wait() // its state says it all
			return fmt.Errorf("%s ended: %s", cmd.Path, cmd.ProcessState)
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	return fmt.Errorf("%s does not listen at %s within %s", cmd.Path, addr, limit)
}

// onFreeAddr has a server start at a free address. Another server of a test may take that
// in the meantime: then another one is tried.
func onFreeAddr(t testing.TB, start func(addr string) error) {
	t.Helper()
	var err error
	for range 5 {
		if err = start(FreeAddr(t)); err == nil {
			return
		}
	}
	t.Fatal(err)
}
