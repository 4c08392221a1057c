package capture

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"tapedeck/recorder"
)

// Finding is what Check found out about one thing a session needs.
type Finding struct {
	Name   string // "chrome"
	OK     bool
	Detail string // what there is, or what is wrong
	Remedy string // how to mend it; empty when OK
}

// How long one look may take; opening a whole session gets longer.
const (
	checkLimit   = 5 * time.Second
	sessionLimit = 20 * time.Second
)

// Check looks whether this machine can open sessions, by looking at each part
// and then by opening one.
func Check(ctx context.Context, opts Options) []Finding {
	findings := []Finding{
		checkUser(opts), checkChrome(ctx, opts),
		checkTool("Xvfb", "xvfb"), checkTool("pulseaudio", "pulseaudio"), checkShm(),
		checkFont(ctx, "fonts for Chinese, Japanese and Korean", ":lang=ja", "fonts-noto-cjk"),
		checkFont(ctx, "emoji font", ":charset=1f600:color=true", "fonts-noto-color-emoji"),
	}
	for _, f := range findings[:4] {
		if !f.OK {
			return findings
		}
	}
	return append(findings, checkSession(ctx, opts))
}

func checkUser(opts Options) Finding {
	f := Finding{Name: "user"}
	a, err := opts.account()
	switch {
	case err != nil:
		f.Detail, f.Remedy = err.Error(), "build/setup.sh runtime"
	case a.switched:
		f.OK, f.Detail = true, fmt.Sprintf("Chrome runs as uid %d, not as root", a.uid)
	default:
		f.OK, f.Detail = true, fmt.Sprintf("uid %d", a.uid)
	}
	return f
}

func checkChrome(ctx context.Context, opts Options) Finding {
	f := Finding{Name: "chrome"}
	path, err := opts.chrome()
	if err != nil {
		f.Detail, f.Remedy = err.Error(), "apt-get install chromium, or set the path of a Chrome"
		return f
	}
	a, err := opts.account()
	if err != nil {
		a = account{}
	}
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.Env, cmd.Dir = []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent"}, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: a.credential()}
	out, err := cmd.Output()
	if err != nil {
		f.Detail, f.Remedy = fmt.Sprintf("%s --version: %v", path, err), "apt-get install --reinstall chromium"
		return f
	}
	f.OK, f.Detail = true, fmt.Sprintf("%s (%s)", strings.TrimSpace(string(out)), path)
	return f
}

func checkTool(name, debianPackage string) Finding {
	path, err := tool(name, debianPackage)
	if err != nil {
		return Finding{Name: name, Detail: "not installed", Remedy: "apt-get install " + debianPackage}
	}
	return Finding{Name: name, OK: true, Detail: path}
}

func checkShm() Finding {
	const mega = 1 << 20
	size, err := shmSize()
	f := Finding{Name: "/dev/shm", OK: err == nil && size >= smallShm, Detail: fmt.Sprintf("%d MB", size/mega)}
	if !f.OK {
		// A session works without, through files, only slower.
		f.Remedy = fmt.Sprintf("mount at least %d MB there (docker run --shm-size=1g); until then Chrome uses files", smallShm/mega)
	}
	return f
}

func checkFont(ctx context.Context, name, pattern, debianPackage string) Finding {
	f := Finding{Name: name, Remedy: "apt-get install " + debianPackage}
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, "fc-list", pattern, "family").Output()
	families := strings.Split(strings.TrimSpace(string(out)), "\n")
	switch {
	case err != nil:
		f.Detail = fmt.Sprintf("fc-list: %v", err)
	case families[0] == "":
		f.Detail = "none; such text would be boxes"
	default:
		f.OK, f.Remedy, f.Detail = true, "", families[0]
	}
	return f
}

// checkSession opens a session on an empty page: what works here works in a
// recording, the sandbox above all.
func checkSession(ctx context.Context, opts Options) Finding {
	f := Finding{Name: "session"}
	ctx, cancel := context.WithTimeout(ctx, sessionLimit)
	defer cancel()
	began := time.Now()
	s, err := Open(ctx, recorder.SessionSpec{Width: 1280, Height: 720, Dir: os.TempDir()}, opts)
	if err == nil {
		err = s.Navigate(ctx, "about:blank")
		if closed := s.Close(); err == nil {
			err = closed
		}
	}
	if err != nil {
		f.Detail, f.Remedy = recorder.ScrubText(err.Error()), "see the message; docs and build/setup.sh name what a session needs"
		return f
	}
	f.OK, f.Detail = true, fmt.Sprintf("display, sound and Chrome with its sandbox, in %d ms", time.Since(began).Milliseconds())
	if opts.NoSandbox {
		f.Detail, f.Remedy = "works, but Chrome's sandbox is switched off", "leave the sandbox on"
	}
	return f
}
