package recordertest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Redis is a real redis-server of one test, on a free loopback port.
type Redis struct {
	t    testing.TB
	dir  string
	addr string
	args []string
	env  []string
	cmd  *exec.Cmd
}

// RedisOption changes how StartRedis starts it.
type RedisOption func(*Redis)

// WithAppendOnly makes Redis write every change to disk before it answers, so
// that Restart keeps the data.
func WithAppendOnly() RedisOption {
	return func(r *Redis) { r.args = append(r.args, "--appendonly", "yes", "--appendfsync", "always") }
}

// WithRedisArgs hands further arguments to redis-server.
func WithRedisArgs(args ...string) RedisOption {
	return func(r *Redis) { r.args = append(r.args, args...) }
}

// WithRedisEnv adds to redis-server's environment.
func WithRedisEnv(env ...string) RedisOption {
	return func(r *Redis) { r.env = append(r.env, env...) }
}

// StartRedis starts redis-server and waits until it answers. It is killed, by
// its own process id, when the test ends.
func StartRedis(t testing.TB, opts ...RedisOption) *Redis {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatalf("redis-server is not installed: apt-get install redis-server (%v)", err)
	}
	r := &Redis{t: t, dir: t.TempDir()}
	for _, o := range opts {
		o(r)
	}
	onFreeAddr(t, func(addr string) error {
		r.addr = addr
		return r.start()
	})
	t.Cleanup(r.Kill)
	return r
}

// Addr is host:port.
func (r *Redis) Addr() string { return r.addr }

// URL is what a client takes.
func (r *Redis) URL() string { return "redis://" + r.addr + "/0" }

// Pid is the server's process.
func (r *Redis) Pid() int { return r.cmd.Process.Pid }

func (r *Redis) start() error {
	host, port, err := net.SplitHostPort(r.addr)
	if err != nil {
		return err
	}
	log := filepath.Join(r.dir, "redis.log")
	args := append([]string{
		"--bind", host, "--port", port, "--dir", r.dir, "--save", "", "--logfile", log, "--daemonize", "no",
	}, r.args...)
	cmd := exec.Command("redis-server", args...)
	cmd.Env = append(os.Environ(), r.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	r.cmd = cmd
	for range 500 {
		if r.ping() {
			return nil
		}
		var status syscall.WaitStatus
		if pid, _ := syscall.Wait4(cmd.Process.Pid, &status, syscall.WNOHANG, nil); pid != 0 {
			r.cmd = nil
			text, _ := os.ReadFile(log)
			return fmt.Errorf("redis-server ended (%d):\n%s", status, text)
		}
		time.Sleep(10 * time.Millisecond)
	}
	r.Kill()
	return fmt.Errorf("redis-server does not answer on %s", r.addr)
}

// ping speaks to the server itself, so that another one on the same port is not
// mistaken for it.
func (r *Redis) ping() bool {
	answer, err := r.Do("INFO", "server")
	return err == nil && strings.Contains(answer, fmt.Sprintf("process_id:%d\r", r.cmd.Process.Pid))
}

// Do sends one command over a connection of its own and gives the raw answer.
func (r *Redis) Do(args ...string) (string, error) {
	c, err := net.DialTimeout("tcp", r.addr, 2*time.Second)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := c.Write([]byte(b.String())); err != nil {
		return "", err
	}
	buf := make([]byte, 64<<10)
	n, err := c.Read(buf)
	return string(buf[:n]), err
}

// Kill ends the server at once and waits for it.
func (r *Redis) Kill() {
	if r.cmd == nil {
		return
	}
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
	r.cmd = nil
}

// Start starts a killed server again on the same port, with what is on disk.
func (r *Redis) Start() {
	r.t.Helper()
	var err error
	for range 20 {
		if err = r.start(); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	r.t.Fatalf("starting redis-server again: %v", err)
}

// Restart kills the server and starts it again.
func (r *Redis) Restart() {
	r.t.Helper()
	r.Kill()
	r.Start()
}

// Pause stops the server's process: connections stay open, nothing answers.
func (r *Redis) Pause() { _ = r.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume continues a paused server.
func (r *Redis) Resume() { _ = r.cmd.Process.Signal(syscall.SIGCONT) }
