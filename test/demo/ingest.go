package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// ingest is an RTMP server, nginx with its module, that keeps what it is sent as
// <stream key>.flv.
type ingest struct {
	addr, home string
	cmd        *exec.Cmd
}

// ingestConfig takes a user line, a directory for nginx's own files, the address
// and the directory of recordings. One process only, so that none is left behind.
const ingestConfig = `load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
%[1]s
daemon off;
master_process off;
pid %[2]s/nginx.pid;
error_log %[2]s/error.log info;
events { worker_connections 64; }
rtmp {
	access_log off;
	server {
		listen %[3]s;
		application live {
			live on;
			record all;
			record_path %[4]s;
			record_suffix .flv;
		}
	}
}
`

func (d *demo) startIngest(ctx context.Context) (*ingest, error) {
	recordings, err := filepath.Abs(d.out)
	if err != nil {
		return nil, err
	}
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	home, err := os.MkdirTemp("", "demo-rtmp-")
	if err != nil {
		return nil, err
	}
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;" // nginx's own may not write to the directory
	}
	in := &ingest{addr: addr, home: home}
	conf := filepath.Join(home, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, ingestConfig, user, home, addr, recordings), 0o600); err != nil {
		in.close()
		return nil, err
	}
	step("ingest", "an RTMP server on", addr, "that keeps what it is sent in", d.out)
	cmd := exec.CommandContext(ctx, "nginx", "-p", home, "-c", conf, "-e", filepath.Join(home, "error.log"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		in.close()
		return nil, err
	}
	in.cmd = cmd
	if err := waitFor(ctx, "the RTMP server", addr); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

func (in *ingest) url(key string) string { return "rtmp://" + in.addr + "/live/" + key }

func (in *ingest) close() {
	if in.cmd != nil {
		_ = in.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		_ = in.cmd.Wait()
	}
	_ = os.RemoveAll(in.home)
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
