package capture_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder/capture"
)

// TestSweep leaves the directories of sessions that live, and removes what others left:
// their processes as well.
func TestSweep(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	lived, locked, err := capture.MakeDir(base)
	require.NoError(t, err)
	defer locked.Close()
	dead, lock, err := capture.MakeDir(base)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dead, "profile"), nil, 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(base, "new-1"), 0o700)) // somebody is about to lock it

	stale := deadDisplay(t)
	require.NoError(t, os.WriteFile(filepath.Join(dead, capture.DisplayFile), []byte(strings.TrimPrefix(filepath.Base(stale), "X")), 0o600))

	stray := exec.Command("sleep", "600")
	stray.Env = []string{"TAPEDECK_SESSION=" + dead}
	require.NoError(t, stray.Start())
	capture.SweepDirs(base)
	assert.DirExists(t, dead, "its session lives")
	assert.NoError(t, stray.Process.Signal(syscall.Signal(0)))
	assert.FileExists(t, stale, "its session lives")

	require.NoError(t, lock.Close()) // as the end of its process does
	capture.SweepDirs(base)
	assert.NoDirExists(t, dead)
	assert.ErrorContains(t, stray.Wait(), "killed")
	assert.NoFileExists(t, stale, "its server was killed")
	assert.DirExists(t, lived)
	assert.DirExists(t, filepath.Join(base, "new-1"))
}

// deadDisplay leaves what an X server leaves that is killed: a socket that nobody listens on.
func deadDisplay(t *testing.T) string {
	t.Helper()
	require.NoError(t, os.MkdirAll("/tmp/.X11-unix", os.ModeSticky|0o777))
	for number := 60000; ; number++ { // none that a server would choose
		file := fmt.Sprintf("/tmp/.X11-unix/X%d", number)
		listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: file, Net: "unix"})
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		require.NoError(t, err)
		listener.SetUnlinkOnClose(false)
		require.NoError(t, listener.Close())
		t.Cleanup(func() { _ = os.Remove(file) })
		return file
	}
}

// TestSweepSparesDisplays: what is noted may be another server's by now, and the note itself
// may be anything, for the directory was Chrome's.
func TestSweepSparesDisplays(t *testing.T) {
	t.Parallel()
	stale := deadDisplay(t)
	number := strings.TrimPrefix(filepath.Base(stale), "X")
	require.NoError(t, os.Remove(stale))
	listener, err := net.Listen("unix", stale)
	require.NoError(t, err)
	defer listener.Close()

	for name, write := range map[string]func(file string) error{
		"a server listens": func(file string) error { return os.WriteFile(file, []byte(number), 0o600) },
		"a path":           func(file string) error { return os.WriteFile(file, []byte("0/../X"+number), 0o600) },
		"a pipe":           func(file string) error { return syscall.Mkfifo(file, 0o600) },
		"a link":           func(file string) error { return os.Symlink("/proc/self/environ", file) },
	} {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			dir, lock, err := capture.MakeDir(base)
			require.NoError(t, err)
			require.NoError(t, write(filepath.Join(dir, capture.DisplayFile)))
			require.NoError(t, lock.Close())
			capture.SweepDirs(base)
			assert.NoDirExists(t, dir)
			assert.FileExists(t, stale)
		})
	}
}
