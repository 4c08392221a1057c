package capture_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/capture"
	"tapedeck/recorder/recordertest"
)

// holderURL makes this test binary open a session on the page, say so, and hold
// it until it is killed.
const holderURL = "TAPEDECK_TEST_HOLD"

func TestMain(m *testing.M) {
	if url := os.Getenv(holderURL); url != "" {
		if err := hold(url); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func hold(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := capture.Open(ctx, recorder.SessionSpec{Width: 640, Height: 480, Dir: os.TempDir()}, capture.Options{})
	if err != nil {
		return err
	}
	if err := s.Navigate(ctx, url); err != nil {
		return err
	}
	if err := s.Wait(ctx, recorder.MarkerStart); err != nil {
		return err
	}
	fmt.Println(s.Dir(), s.Inputs().Display)
	select {} // until SIGKILL
}

// left lists what of a session is still there.
func left(t *testing.T, dir, display string, family []recordertest.Process) func() []string {
	return func() []string {
		var rest []string
		for _, p := range recordertest.Living(family)() {
			rest = append(rest, p.String())
		}
		if _, err := os.Lstat(dir); err == nil {
			rest = append(rest, dir)
		}
		return append(rest, recordertest.StaleDisplay(t, display)...)
	}
}

// family gives the session's processes, after checking that all are among them.
func family(t *testing.T, dir string) []recordertest.Process {
	t.Helper()
	processes := recordertest.Processes(t, dir)
	commands := recordertest.CommandLines(processes)
	for _, part := range []string{"Xvfb", "pulseaudio", "--remote-debugging-pipe", "--type=renderer", "--type=zygote"} {
		require.Contains(t, commands, part)
	}
	return processes
}

func TestNothingIsLeftAfterClose(t *testing.T) {
	t.Parallel()
	page := recordertest.StartPage(t)
	s := open(t, recorder.SessionSpec{})
	startPage(t, s, page.URL+"/barcode?token=very-secret-token")
	processes := family(t, s.Dir())
	assert.NotContains(t, recordertest.CommandLines(processes), "very-secret-token")
	display := s.Inputs().Display

	began := time.Now()
	require.NoError(t, s.Close())
	t.Logf("%d processes closed in %s", len(processes), time.Since(began))
	assert.Less(t, time.Since(began), 5*time.Second)
	assert.Empty(t, left(t, s.Dir(), display, processes)(), "at once")
	require.NoError(t, s.Close(), "again")
}

func TestNothingIsLeftAfterTheParentIsKilled(t *testing.T) {
	t.Parallel()
	page := recordertest.StartPage(t)
	self, err := os.Executable()
	require.NoError(t, err)
	holder := exec.CommandContext(t.Context(), self)
	holder.Env = append(os.Environ(), holderURL+"="+page.URL+"/barcode")
	holder.Stderr = os.Stderr
	out, err := holder.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, holder.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	dir, display, _ := strings.Cut(strings.TrimSpace(line), " ")
	processes := family(t, dir)

	began := time.Now()
	require.NoError(t, holder.Process.Signal(syscall.SIGKILL))
	_ = holder.Wait()
	recordertest.AwaitNone(t, patience, left(t, dir, display, processes))
	t.Logf("%d processes gone after %s", len(processes), time.Since(began))
	recordertest.AwaitNone(t, patience, func() []recordertest.Process { return recordertest.Processes(t, dir) })
}

func TestSilentSessionHasNoSoundServer(t *testing.T) {
	t.Parallel()
	s := open(t, recorder.SessionSpec{Silent: true})
	in := s.Inputs()
	assert.Empty(t, in.PulseServer)
	assert.Empty(t, in.PulseSource)
	assert.NotContains(t, s.Pids(), "PulseAudio")
}

func TestOpenThatFails(t *testing.T) {
	t.Parallel()
	spec := recorder.SessionSpec{Width: 640, Height: 480, Dir: t.TempDir()}
	expect := func(name string, opts capture.Options, code recorder.Code, message string) {
		t.Run(name, func(t *testing.T) {
			opts.RuntimeDir = either(opts.RuntimeDir, passableDir(t))
			s, err := capture.Open(within(t), spec, opts)
			require.ErrorContains(t, err, message)
			assert.Equal(t, code, recorder.CodeOf(err))
			assert.Nil(t, s)
			found, _ := os.ReadDir(opts.RuntimeDir)
			assert.Empty(t, found, "nothing is left")
		})
	}
	if os.Geteuid() == 0 {
		expect("for want of its user", capture.Options{User: "no-such-user"}, recorder.CodeUnavailable, "useradd --system")
		expect("as root", capture.Options{User: "root"}, recorder.CodeInvalid, "unprivileged")
		hidden := t.TempDir()
		require.NoError(t, os.Chmod(hidden, 0o700))
		expect("in a directory out of reach", capture.Options{RuntimeDir: hidden}, recorder.CodeInvalid, "out of reach")
	}
	expect("for want of Chrome", capture.Options{ChromePath: "/no/such/chrome"}, recorder.CodeUnavailable, "/no/such/chrome")
	expect("when Chrome ends at once", capture.Options{ChromePath: "/bin/false"}, recorder.CodeUnavailable, "Chrome did not start: Chrome ended: exit status 1")
	t.Run("when there is no time", func(t *testing.T) {
		dir := passableDir(t)
		_, err := capture.Open(within(t, 50*time.Millisecond), spec, capture.Options{RuntimeDir: dir})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		found, _ := os.ReadDir(dir)
		assert.Empty(t, found)
	})
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// passableDir is a temp directory that others may pass, unlike the testing package's.
func passableDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tapedeck-test-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o711))
	return dir
}
