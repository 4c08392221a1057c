package child_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/child"
	"tapedeck/recorder/recordertest"
)

// A worker that reads nothing costs its child neither time nor memory: what would fill
// its pipe many times is reported, and the last word waits for it.
func TestReportsDoNotWaitForTheWorker(t *testing.T) {
	const reports = 20_000
	task, err := json.Marshal(map[string]any{"task": taskIn(t.TempDir())})
	require.NoError(t, err)
	in, toChild, err := os.Pipe()
	require.NoError(t, err)
	defer toChild.Close()
	_, err = toChild.Write(append(task, '\n'))
	require.NoError(t, err)
	fromChild, out, err := os.Pipe()
	require.NoError(t, err)

	recorded, served := make(chan struct{}), make(chan error, 1)
	go func() {
		defer out.Close()
		served <- child.Serve(context.Background(), in, out, func(json.RawMessage, recorder.Task) (recorder.Runner, error) {
			return &recordertest.FakeRunner{Play: func(_ context.Context, task recorder.Task, _ <-chan recorder.Command, tell func(recorder.Recording)) recorder.Recording {
				rec := task.Recording
				rec.Status = recorder.StatusActive
				rec.Metadata = map[string]string{"weight": strings.Repeat("x", 1000)}
				for i := range reports {
					rec.UpdatedAt = int64(i)
					tell(rec.Clone())
				}
				close(recorded)
				rec.UpdatedAt = reports
				return rec
			}}, nil
		}, func() {})
	}()
	select {
	case <-recorded:
	case <-time.After(20 * time.Second):
		t.Fatal("the recording waits for its worker")
	}
	assert.Empty(t, served, "the last word waits to be read")

	var at []int64
	final := false
	for lines := bufio.NewScanner(fromChild); lines.Scan(); {
		var a struct {
			Recording recorder.Recording `json:"recording"`
			Final     bool               `json:"final"`
		}
		require.NoError(t, json.Unmarshal(lines.Bytes(), &a))
		at, final = append(at, a.Recording.UpdatedAt), a.Final
	}
	require.NoError(t, <-served)
	assert.True(t, final)
	assert.IsIncreasing(t, at)
	assert.Equal(t, int64(reports), at[len(at)-1])
	assert.Equal(t, int64(reports-1), at[len(at)-2], "the newest states are kept")
	assert.Less(t, len(at), 200, "the pipe's and a few more")
}

// Neither does what a child, or a C library in it, says on its standard error.
func TestLogDoesNotWaitForTheWorker(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	log := child.Unblocked(w)
	const lines = 5000
	for i := range lines {
		_, err := fmt.Fprintf(log, "line %d of many that nobody reads\n", i)
		require.NoError(t, err)
	}
	_, err = log.Write(bytes.Repeat([]byte("long "), 40_000))
	require.NoError(t, err)
	read := make([]byte, 1<<20)
	n, err := r.Read(read)
	require.NoError(t, err)
	fmt.Fprintln(log, "the end")
	require.NoError(t, w.Close())
	rest, err := io.ReadAll(r)
	require.NoError(t, err)

	text := strings.Split(strings.TrimSuffix(string(read[:n])+string(rest), "\n"), "\n")
	whole := 0
	for _, line := range text[:len(text)-2] {
		assert.Equal(t, fmt.Sprintf("line %d of many that nobody reads", whole), line)
		whole++
	}
	assert.Equal(t, fmt.Sprintf("%d log entries are missing here: nobody read them", lines+1-whole), text[len(text)-2])
	assert.Equal(t, "the end", text[len(text)-1])
	var buffer bytes.Buffer
	assert.Same(t, &buffer, child.Unblocked(&buffer), "what is no pipe is left alone")
}

// A worker that was stopped for longer than it lets a child be silent finds the
// reports of a healthy one, and does not kill it.
func TestWorkerThatWasStoppedSparesItsChild(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	defer listener.Close()
	exe, err := os.Executable()
	require.NoError(t, err)
	worker := exec.Command(exe, "parent", dir, socket, "steady", stoppedSilence.String())
	worker.Stderr = os.Stderr
	require.NoError(t, worker.Start())
	defer func() { _ = worker.Process.Kill(); _ = worker.Wait() }()
	conn, err := listener.Accept()
	require.NoError(t, err)
	require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	said := bufio.NewScanner(conn)
	next := func() string {
		require.True(t, said.Scan(), "the child is gone: %v", said.Err())
		return said.Text()
	}
	require.Equal(t, "recording", next())
	require.NoError(t, worker.Process.Signal(syscall.SIGSTOP))
	for range 20 { // of its own time, not of the worker's
		require.Equal(t, "on", next())
	}
	require.NoError(t, worker.Process.Signal(syscall.SIGCONT))
	for range 20 {
		require.Equal(t, "on", next())
	}
	require.NoError(t, worker.Process.Signal(syscall.SIGKILL))
	for said.Scan() {
		if said.Text() == "ended" {
			return
		}
	}
	t.Fatal("it did not end by itself")
}

const stoppedSilence = 800 * time.Millisecond

// steady reports and says so ten times in each silence, until its worker is gone.
func steady(task recorder.Task, commands <-chan recorder.Command, tell func(recorder.Recording)) recorder.Recording {
	conn, rec := begins(task, tell)
	tick := time.NewTicker(stoppedSilence / 10)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			rec.UpdatedAt++
			tell(rec.Clone())
			fmt.Fprintln(conn, "on")
		case <-commands:
			fmt.Fprintln(conn, "ended")
			return rec
		}
	}
}

func TestLogIsBounded(t *testing.T) {
	s := start(t, "chatter")
	require.Nil(t, s.end().Error)
	text := s.log()
	assert.Less(t, len(text), 11<<20)
	assert.Greater(t, len(text), 4<<20)
	assert.True(t, strings.HasPrefix(text, "chatter 0 "), "how it began")
	assert.Contains(t, text, "bytes are cut out here")
	assert.True(t, strings.HasSuffix(text, fmt.Sprintf("chatter %d %s\n", chatterLines-1, chatterWords)), "how it ended")
}

var chatterWords = strings.Repeat("and so on ", 100)

const chatterLines = 16_000 // of a kilobyte: two cuts
