// Package e2e drives the built binary as its users do: with arguments, signals,
// a real Redis, real pages in Chrome, real storage and ingest servers. What it
// recorded is judged frame by frame and beep by beep, never by its existence.
//
// Every test has a home of its own (spool, temp directory, Redis). When it
// ends, nothing that it started may be left: see home.requireNothingLeft.
//
// TAPEDECK_BIN names the binary to drive; TAPEDECK_E2E_KEEP=1 keeps what was
// recorded below out/e2e.
package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	tapedeck string // the binary
	ground   string // where the tests' homes are made
)

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	root, err := repoRoot()
	if err != nil {
		return 1, err
	}
	// The binary refuses a spool below a temp directory.
	ground = filepath.Join(root, "out", "e2e", strconv.Itoa(os.Getpid()))
	for _, temp := range []string{"/tmp/", "/var/tmp/", "/run/", "/dev/shm/", os.TempDir() + "/"} {
		if strings.HasPrefix(root+"/", temp) {
			ground = filepath.Join("/var/lib/tapedeck", "e2e-"+strconv.Itoa(os.Getpid()))
		}
	}
	if err := os.MkdirAll(ground, 0o755); err != nil {
		return 1, err
	}
	if os.Getenv("TAPEDECK_E2E_KEEP") == "" {
		defer func() { err = errors.Join(err, os.RemoveAll(ground)) }()
	}
	if tapedeck, err = binary(root); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

func repoRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.EvalSymlinks(dir)
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod above the test's directory")
		}
		dir = filepath.Dir(dir)
	}
}

// binary gives the one that was named or just built, or builds it.
func binary(root string) (string, error) {
	if named := os.Getenv("TAPEDECK_BIN"); named != "" {
		if !filepath.IsAbs(named) {
			named = filepath.Join(root, named)
		}
		_, err := os.Stat(named)
		return named, err
	}
	built := filepath.Join(root, "bin", "tapedeck")
	if info, err := os.Stat(built); err == nil {
		newest, err := newestSource(root)
		if err != nil {
			return "", err
		}
		if info.ModTime().After(newest) {
			return built, nil
		}
	}
	bin := filepath.Join(ground, "tapedeck")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", bin, "./cmd/tapedeck")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the binary: %w\n%s", err, out)
	}
	return bin, nil
}

// newestSource is when what the binary is made of was last changed.
func newestSource(root string) (time.Time, error) {
	var newest time.Time
	look := func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, "_test.go") {
			return err
		}
		info, err := d.Info()
		if err == nil && info.ModTime().After(newest) {
			newest = info.ModTime()
		}
		return err
	}
	for _, part := range []string{"go.mod", "cmd", "pipeline", "recorder", "templates"} {
		path := filepath.Join(root, part)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := filepath.WalkDir(path, look); err != nil {
			return newest, err
		}
	}
	return newest, nil
}
