// Command demo shows the main job end to end: a page or a room, a queue, a worker,
// a recording. `make demo` and `make demo-room` run it.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

//go:embed page.html
var page []byte

func main() {
	binary := flag.String("tapedeck", "bin/tapedeck", "the binary to show")
	out := flag.String("out", "out", "directory of the recording")
	seconds := flag.Int("seconds", 12, "how long to record")
	room := flag.Bool("room", false, "record a LiveKit room instead of a page")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	d := demo{binary: *binary, out: *out, seconds: *seconds}
	if err := d.run(ctx, *room); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

type demo struct {
	binary, out string
	seconds     int
	redis       string
}

func (d *demo) run(ctx context.Context, room bool) (err error) {
	if d.binary, err = filepath.Abs(d.binary); err != nil {
		return err
	}
	if err := os.MkdirAll(d.out, 0o755); err != nil {
		return err
	}
	if room {
		return d.runRoom(ctx)
	}
	return d.runPage(ctx)
}

func (d *demo) runPage(ctx context.Context) error {
	pages, err := servePage()
	if err != nil {
		return err
	}
	defer pages.Close()
	worker, err := d.startWorker(ctx)
	if err != nil {
		return err
	}
	defer endWorker(worker)
	name := fmt.Sprintf("demo-%s.mp4", time.Now().Format("150405"))
	if err := d.record(ctx, "http://"+pages.Addr().String(), name); err != nil {
		return err
	}
	return d.show(ctx, filepath.Join(d.out, name), 3, 2)
}

func servePage() (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		err := http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = w.Write(page)
		}))
		if !errors.Is(err, net.ErrClosed) {
			fmt.Fprintln(os.Stderr, "demo: the page server ended:", err)
		}
	}()
	return l, nil
}

// startWorker runs a worker with a Redis in its process, on a free port.
func (d *demo) startWorker(ctx context.Context, env ...string) (*exec.Cmd, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	d.redis = "redis://" + addr
	step("worker", d.binary, "worker --embedded-redis="+addr, "--output-dir", d.out)
	cmd := exec.CommandContext(ctx, d.binary, "worker", "--embedded-redis="+addr, "--output-dir", d.out, "--log-level", "warn")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if err := waitFor(ctx, "the worker's Redis", addr); err != nil {
		endWorker(cmd)
		return nil, err
	}
	return cmd, nil
}

func waitFor(ctx context.Context, what, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not come up: %w", what, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func endWorker(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	if err := cmd.Wait(); err != nil {
		fmt.Fprintln(os.Stderr, "demo: the worker ended:", err)
	}
}

// record enqueues the page and follows the job to its end.
func (d *demo) record(ctx context.Context, pageURL, name string) error {
	job := fmt.Sprintf(`{"url": "%s/?seconds=%d", "await_start_signal": true, "file_outputs": [{"filepath": "%s", "disable_manifest": true}]}`, pageURL, d.seconds, name)
	step("job", job)
	enqueue := d.verb(ctx, "enqueue", "-")
	enqueue.Stdin = strings.NewReader(job)
	id, err := enqueue.Output()
	if err != nil {
		return fmt.Errorf("enqueue: %w", err)
	}
	if err := d.watch(ctx, strings.TrimSpace(string(id))); err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	list := d.verb(ctx, "list")
	list.Stdout = os.Stdout
	return list.Run()
}

// watch prints a job's events until it ends.
func (d *demo) watch(ctx context.Context, id string) error {
	watch := d.verb(ctx, "watch", id, "--after", "0", "--until-end")
	watch.Stdout = os.Stdout
	watch.Cancel = func() error { return watch.Process.Signal(os.Interrupt) }
	return watch.Run()
}

// verb is a command of the binary that speaks to the demo's queue.
func (d *demo) verb(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, d.binary, append(args, "--redis", d.redis)...)
	cmd.Stderr = os.Stderr
	return cmd
}

func step(what string, args ...string) {
	fmt.Printf("\n== %s: %s\n", what, strings.Join(args, " "))
}
