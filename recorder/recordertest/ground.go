package recordertest

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

// Ground is where a suite that drives the built binary works.
type Ground struct {
	Root string // the checkout
	// Dir is the suite's own: below out/, or, where that is below a temp directory,
	// where the binary takes a spool.
	Dir string
	// Binary is the one that TAPEDECK_BIN names, else the one that was built last, else
	// one that is built here.
	Binary string
}

// NewGround makes the directory for a suite of this name and finds the binary.
func NewGround(suite string) (*Ground, error) {
	root, err := checkout()
	if err != nil {
		return nil, err
	}
	g := &Ground{Root: root, Dir: filepath.Join(root, "out", suite, strconv.Itoa(os.Getpid()))}
	for _, temp := range []string{"/tmp/", "/var/tmp/", "/run/", "/dev/shm/", os.TempDir() + "/"} {
		if strings.HasPrefix(root+"/", temp) {
			g.Dir = filepath.Join("/var/lib/tapedeck", suite+"-"+strconv.Itoa(os.Getpid()))
		}
	}
	if err := os.MkdirAll(g.Dir, 0o755); err != nil {
		return nil, err
	}
	g.Binary, err = g.binary()
	return g, err
}

// RepoRoot gives the checkout's directory.
func RepoRoot(t testing.TB) string {
	t.Helper()
	root, err := checkout()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func checkout() (string, error) {
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

func (g *Ground) binary() (string, error) {
	if named := os.Getenv("TAPEDECK_BIN"); named != "" {
		if !filepath.IsAbs(named) {
			named = filepath.Join(g.Root, named)
		}
		_, err := os.Stat(named)
		return named, err
	}
	built := filepath.Join(g.Root, "bin", "tapedeck")
	if info, err := os.Stat(built); err == nil {
		newest, err := newestSource(g.Root)
		if err != nil {
			return "", err
		}
		if info.ModTime().After(newest) {
			return built, nil
		}
	}
	bin := filepath.Join(g.Dir, "tapedeck")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", bin, "./cmd/tapedeck")
	cmd.Dir, cmd.Env = g.Root, append(os.Environ(), "CGO_ENABLED=1")
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
