package faults

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder/recordertest"
)

// node is a machine with one worker: its disk, its processes, its network.
type node struct {
	s     *stage
	id    string
	tmp   string
	spool string
	redis *link
	store *link
	// faults stands in the way of this node's requests to S3: the worker's HTTP proxy,
	// so that all nodes know the storage by one address.
	faults *recordertest.S3Proxy
	more   []string // environment
	// lost says that its disk is gone.
	lost bool

	cmd  *exec.Cmd
	out  *recordertest.Output
	done chan struct{}
}

func newNode(s *stage, id string) *node {
	s.Helper()
	n := &node{s: s, id: id, tmp: filepath.Join(s.tmp, id), spool: filepath.Join(s.dir, "spool-"+id)}
	require.NoError(s, os.Mkdir(n.tmp, 0o711)) //nolint:gosec // Chrome's user passes through
	n.redis = newLink(s, id+"-redis", s.redis.Addr())
	n.faults = recordertest.StartS3Proxy(s, s.s3.Endpoint)
	n.store = newLink(s, id+"-s3", strings.TrimPrefix(n.faults.URL, "http://"))
	return n
}

func (n *node) env() []string {
	return append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + n.s.dir, "TMPDIR=" + n.tmp, "LANG=C.UTF-8",
		"GST_REGISTRY=" + filepath.Join(ground.Dir, "gstreamer-registry.bin"),
		"TAPEDECK_SPOOL=" + n.spool, "TAPEDECK_WORKER_ID=" + n.id, "TAPEDECK_WORKER_MAX_JOBS=1",
		"TAPEDECK_REDIS_URL=redis://" + n.redis.addr() + "/0", "TAPEDECK_LOG_LEVEL=debug",
		"TAPEDECK_STORAGE_S3_BUCKET=" + n.s.s3.Bucket, "TAPEDECK_STORAGE_S3_ENDPOINT=" + n.s.s3.Endpoint,
		"TAPEDECK_STORAGE_S3_REGION=us-east-1", "TAPEDECK_STORAGE_S3_FORCE_PATH_STYLE=true",
		"TAPEDECK_STORAGE_S3_ACCESS_KEY=" + n.s.s3.AccessKey, "TAPEDECK_STORAGE_S3_SECRET=" + n.s.s3.Secret,
		"TAPEDECK_STORAGE_S3_PROXY=http://" + n.store.addr(),
	}, n.more...)
}

// start starts the worker, for the first time or again, and waits until it is up.
func (n *node) start() {
	n.s.Helper()
	n.launch()
	deadline := time.After(30 * time.Second)
	for {
		text, changed := n.out.Look()
		if strings.Contains(text, `"worker is up"`) {
			return
		}
		select {
		case <-changed:
		case <-n.done:
			require.FailNow(n.s, "the worker ended", "%s: %s", n.id, text)
		case <-deadline:
			require.FailNow(n.s, "the worker does not come up", "%s: %s", n.id, text)
		}
	}
}

func (n *node) launch() {
	n.s.Helper()
	log, err := os.OpenFile(filepath.Join(n.s.logs, n.id+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(n.s, err)
	n.out, n.done = recordertest.NewOutput(), make(chan struct{})
	cmd := exec.Command(ground.Binary, "worker")
	cmd.Env, cmd.Dir = n.env(), n.s.dir
	cmd.Stderr = io.MultiWriter(n.out, log)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 5 * time.Second // what it started may hold its pipes
	require.NoError(n.s, cmd.Start())
	n.cmd = cmd
	done := n.done
	go func() {
		defer close(done)
		_ = cmd.Wait()
		_ = log.Close()
	}()
}

func (n *node) running() bool {
	if n.cmd == nil {
		return false
	}
	select {
	case <-n.done:
		return false
	default:
		return true
	}
}

func (n *node) signal(sig os.Signal) {
	n.s.Helper()
	if err := n.cmd.Process.Signal(sig); !errors.Is(err, os.ErrProcessDone) {
		require.NoError(n.s, err)
	}
}

// kill ends the worker alone, as a crash would.
func (n *node) kill() {
	if n.running() {
		_ = n.cmd.Process.Kill()
		<-n.done
	}
}

// vanish kills the worker and everything that it started, at once.
func (n *node) vanish() {
	n.s.Helper()
	// Stopped first, so that none sees another's death and acts on it.
	for _, sig := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} {
		for _, p := range n.s.look(n.tmp) {
			_ = syscall.Kill(p.PID, sig)
		}
	}
	n.kill()
}

// lose is vanish with all that was on the disk, the sockets of its displays among it: here
// they stay until another node's X server, or another row's, takes their numbers.
func (n *node) lose() {
	n.s.Helper()
	var displays []string
	for _, p := range n.s.look(n.tmp) {
		displays = append(displays, recordertest.DisplayOf(p.PID))
	}
	n.vanish()
	n.lost = true
	for _, gone := range displays {
		delete(n.s.displays, gone)
	}
	require.NoError(n.s, os.Rename(n.spool, filepath.Join(n.s.dir, "lost-"+n.id)))
	require.NoError(n.s, os.RemoveAll(n.tmp))
}

// ended waits for the worker's end.
func (n *node) ended(limit time.Duration) {
	n.s.Helper()
	select {
	case <-n.done:
	case <-time.After(limit):
		n.s.Errorf("%s does not end within %s of its signal", n.id, limit)
		n.kill()
	}
}

// find gives the recording's process of a kind: child, chrome, xvfb or pulse.
func (n *node) find(kind string) recordertest.Process {
	n.s.Helper()
	all := n.s.look(n.tmp)
	i := slices.IndexFunc(all, func(p recordertest.Process) bool {
		return p.Parent == n.cmd.Process.Pid && strings.HasSuffix(p.Command, " child")
	})
	require.GreaterOrEqual(n.s, i, 0, "%s has a recording", n.id)
	child := all[i]
	if kind == "child" {
		return child
	}
	mark := map[string]string{"chrome": "--user-data-dir=", "xvfb": "Xvfb", "pulse": "pulseaudio"}[kind]
	i = slices.IndexFunc(all, func(p recordertest.Process) bool {
		return p.Parent == child.PID && strings.Contains(p.Command, mark) && !strings.HasPrefix(p.Command, "/bin/sh")
	})
	require.GreaterOrEqual(n.s, i, 0, "%s has a %s: %v", n.id, kind, all)
	return all[i]
}

// hit sends a signal to the recording's process of a kind.
func (n *node) hit(kind string, sig syscall.Signal) {
	n.s.Helper()
	require.NoError(n.s, syscall.Kill(n.find(kind).PID, sig))
}

// renderer finds the process that draws the page.
func (n *node) renderer() recordertest.Process {
	n.s.Helper()
	return recordertest.Renderer(n.s, func() []recordertest.Process { return n.s.look(n.tmp) })
}
