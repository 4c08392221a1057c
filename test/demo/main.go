// Command demo shows the main job end to end: a page, a queue, a worker, a
// recording. `make demo` runs it.
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
	seconds := flag.Int("seconds", 12, "how long the page plays")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	d := demo{binary: *binary, out: *out, seconds: *seconds}
	if err := d.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

type demo struct {
	binary, out string
	seconds     int
	redis       string
}

func (d *demo) run(ctx context.Context) error {
	var err error
	if d.binary, err = filepath.Abs(d.binary); err != nil {
		return err
	}
	if err := os.MkdirAll(d.out, 0o755); err != nil {
		return err
	}
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
	return d.show(ctx, filepath.Join(d.out, name))
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
func (d *demo) startWorker(ctx context.Context) (*exec.Cmd, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, err
	}
	d.redis = "redis://" + addr
	step("worker", d.binary, "worker --embedded-redis="+addr, "--output-dir", d.out)
	cmd := exec.CommandContext(ctx, d.binary, "worker", "--embedded-redis="+addr, "--output-dir", d.out, "--log-level", "warn")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return cmd, waitFor(ctx, addr)
}

func waitFor(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the worker's Redis did not come up: %w", err)
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
	enqueue := exec.CommandContext(ctx, d.binary, "enqueue", "-", "--redis", d.redis)
	enqueue.Stdin, enqueue.Stderr = strings.NewReader(job), os.Stderr
	id, err := enqueue.Output()
	if err != nil {
		return fmt.Errorf("enqueue: %w", err)
	}
	watch := exec.CommandContext(ctx, d.binary, "watch", strings.TrimSpace(string(id)), "--after", "0", "--until-end", "--redis", d.redis)
	watch.Stdout, watch.Stderr = os.Stdout, os.Stderr
	watch.Cancel = func() error { return watch.Process.Signal(os.Interrupt) }
	if err := watch.Run(); err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	list := exec.CommandContext(ctx, d.binary, "list", "--redis", d.redis)
	list.Stdout, list.Stderr = os.Stdout, os.Stderr
	return list.Run()
}

// show measures the recording: a file alone proves nothing.
func (d *demo) show(ctx context.Context, path string) error {
	probe, err := exec.CommandContext(ctx, "ffprobe", "-v", "error", "-show_entries",
		"stream=codec_name,width,height,avg_frame_rate,sample_rate:format=duration,size", "-of", "compact=nk=0", path).Output()
	if err != nil {
		return fmt.Errorf("ffprobe %s: %w", path, err)
	}
	moving, err := ffmpegCount(ctx, path, "-vf", "mpdecimate", "frame=")
	if err != nil {
		return err
	}
	loud, err := ffmpegCount(ctx, path, "-af", "volumedetect", "mean_volume:")
	if err != nil {
		return err
	}
	sheet := strings.TrimSuffix(path, filepath.Ext(path)) + ".png"
	tile := exec.CommandContext(ctx, "ffmpeg", "-v", "error", "-y", "-i", path, "-vf", "fps=0.5,scale=480:-2,tile=3x2", "-frames:v", "1", sheet)
	if out, err := tile.CombinedOutput(); err != nil {
		return fmt.Errorf("contact sheet: %w: %s", err, out)
	}
	step("recording", path)
	fmt.Printf("%s    moving pictures: %s    sound: %s\n    contact sheet: %s\n", indent(string(probe)), moving, loud, sheet)
	return nil
}

// ffmpegCount runs a measuring filter and gives what it printed last after label.
func ffmpegCount(ctx context.Context, path, flag, filter, label string) (string, error) {
	out, err := exec.CommandContext(ctx, "ffmpeg", "-hide_banner", "-nostdin", "-i", path, flag, filter, "-f", "null", "-").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("ffmpeg %s: %w", filter, err)
	}
	i := strings.LastIndex(string(out), label)
	if i < 0 {
		return "", fmt.Errorf("ffmpeg %s said nothing of %q", filter, label)
	}
	fields := strings.Fields(string(out)[i+len(label):])
	if label == "frame=" {
		return fields[0] + " distinct frames", nil
	}
	return fields[0] + " dB mean", nil
}

func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n    ") + "\n"
}

func step(what string, args ...string) {
	fmt.Printf("\n== %s: %s\n", what, strings.Join(args, " "))
}
