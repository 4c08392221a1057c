package capture_test

import (
	"os"
	"os/exec"
	"path/filepath"
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

	stray := exec.Command("sleep", "600")
	stray.Env = []string{"TAPEDECK_SESSION=" + dead}
	require.NoError(t, stray.Start())
	capture.SweepDirs(base)
	assert.DirExists(t, dead, "its session lives")
	assert.NoError(t, stray.Process.Signal(syscall.Signal(0)))

	require.NoError(t, lock.Close()) // as the end of its process does
	capture.SweepDirs(base)
	assert.NoDirExists(t, dead)
	assert.ErrorContains(t, stray.Wait(), "killed")
	assert.DirExists(t, lived)
	assert.DirExists(t, filepath.Join(base, "new-1"))
}
