package recordertest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// RTMP is a real ingest server (nginx with its RTMP module) on a free loopback
// port. It records what it ingests to FLV files. It ends with the test.
type RTMP struct {
	// Addr is host:port of the server.
	Addr string
	// Dir holds what was ingested.
	Dir string

	t    testing.TB
	conf string
	cmd  *exec.Cmd
}

// rtmpConfig takes the user line, a directory for nginx's own files, the
// address and the directory for recordings. One process only, so that a kill
// leaves no worker behind.
const rtmpConfig = `load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
%[1]s
daemon off;
master_process off;
worker_processes 1;
pid %[2]s/nginx.pid;
error_log %[2]s/error.log info;
events { worker_connections 64; }
rtmp {
	access_log off;
	server {
		listen %[3]s;
		chunk_size 4096;
		application live {
			live on;
			idle_streams off;
			drop_idle_publisher 30s;
			record all;
			record_path %[4]s;
			record_unique on;
			record_suffix .flv;
		}
	}
}
`

// StartRTMP starts the server and returns when it accepts connections.
func StartRTMP(t testing.TB) *RTMP {
	t.Helper()
	home := t.TempDir()
	r := &RTMP{Dir: filepath.Join(home, "ingested"), t: t, conf: filepath.Join(home, "nginx.conf")}
	require.NoError(t, os.Mkdir(r.Dir, 0o755))
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;" // nobody cannot write to the test's directory
	}
	onFreeAddr(t, func(addr string) error {
		r.Addr = addr
		require.NoError(t, os.WriteFile(r.conf, fmt.Appendf(nil, rtmpConfig, user, home, r.Addr, r.Dir), 0o600))
		return r.start()
	})
	t.Cleanup(r.Kill)
	return r
}

// URL is where to publish under a stream key.
func (r *RTMP) URL(key string) string { return "rtmp://" + r.Addr + "/live/" + key }

// Restart starts the server again after Kill: same port, same recordings.
func (r *RTMP) Restart() {
	r.t.Helper()
	require.NoError(r.t, r.start())
}

func (r *RTMP) start() error {
	home := filepath.Dir(r.conf)
	cmd := exec.Command("nginx", "-p", home, "-c", r.conf, "-e", filepath.Join(home, "error.log"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := awaitListening(cmd, r.Addr); err != nil {
		return err
	}
	r.cmd = cmd
	return nil
}

// Kill ends the server at once, as a crash would, and waits for it.
func (r *RTMP) Kill() {
	if r.cmd == nil {
		return
	}
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
	r.cmd = nil
}

// Recorded lists the files ingested under a stream key, oldest first: one per
// publication.
func (r *RTMP) Recorded(key string) []string {
	r.t.Helper()
	entries, err := os.ReadDir(r.Dir)
	require.NoError(r.t, err)
	type file struct {
		path string
		at   time.Time
	}
	var files []file
	for _, e := range entries {
		// nginx names a publication <key>-<seconds>.flv.
		i := strings.LastIndex(e.Name(), "-")
		if i < 0 || e.Name()[:i] != key {
			continue
		}
		if info, err := e.Info(); err == nil {
			files = append(files, file{filepath.Join(r.Dir, e.Name()), info.ModTime()})
		}
	}
	sort.Slice(files, func(a, b int) bool { return files[a].at.Before(files[b].at) })
	var paths []string
	for _, f := range files {
		paths = append(paths, f.path)
	}
	return paths
}
