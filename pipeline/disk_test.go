package pipeline_test

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// onSmallDisk runs a test with a directory on a file system of its own, of so many bytes.
// Where mounting is not allowed, the test runs again as root of a user namespace, where it
// is; where there is neither, it fails: a disk that fills up must not go untested.
func onSmallDisk(t *testing.T, size string, test func(t *testing.T, dir string)) {
	t.Helper()
	const inside = "TAPEDECK_TEST_NAMESPACE"
	dir := t.TempDir()
	refused := syscall.Mount("tapedeck-test", dir, "tmpfs", 0, "size="+size)
	switch {
	case refused == nil:
		t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
		test(t, dir)
		return
	case os.Getenv(inside) != "":
		t.Fatalf("mounting a tmpfs in a user namespace: %v", refused)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "mounting a tmpfs is refused (%v); in a user namespace (run as root, or set kernel.unprivileged_userns_clone=1, "+
		"where this cannot even start):\n%s", refused, out)
}
