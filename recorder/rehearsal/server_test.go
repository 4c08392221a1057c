package rehearsal

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/stun/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

func startServer(t *testing.T, o ServerOptions) *Server {
	t.Helper()
	s, err := StartServer(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

func rooms(s *Server) *lksdk.RoomServiceClient {
	return lksdk.NewRoomServiceClient("http"+strings.TrimPrefix(s.URL(), "ws"), s.APIKey, s.APISecret)
}

func TestServerKeepsItsAddressAndKeysOverARestart(t *testing.T) {
	s := startServer(t, ServerOptions{})
	url, pid := s.URL(), s.life.cmd.Process.Pid
	_, err := rooms(s).CreateRoom(t.Context(), &livekit.CreateRoomRequest{Name: "kept"})
	require.NoError(t, err)

	s.Kill()
	assert.False(t, running(t, pid))
	_, err = rooms(s).ListRooms(t.Context(), &livekit.ListRoomsRequest{})
	assert.Error(t, err)

	require.NoError(t, s.Restart(t.Context()))
	assert.Equal(t, url, s.URL())
	list, err := rooms(s).ListRooms(t.Context(), &livekit.ListRoomsRequest{})
	require.NoError(t, err)
	assert.Empty(t, list.GetRooms(), "a new server has no rooms")

	require.NoError(t, s.Restart(t.Context()), "one that runs is killed first")
	pid = s.life.cmd.Process.Pid
	s.Close()
	s.Close()
	assert.False(t, running(t, pid))
	assert.Equal(t, recorder.CodeConflict, recorder.CodeOf(s.Restart(t.Context())))
}

// running reports whether there is such a process, zombie or not.
func running(t *testing.T, pid int) bool {
	t.Helper()
	_, err := os.Stat(filepath.Join("/proc", strconv.Itoa(pid)))
	return err == nil
}

func TestServerOptionsReachTheServer(t *testing.T) {
	s := startServer(t, ServerOptions{EmptyTimeout: 7 * time.Second, DepartureTimeout: 3 * time.Second, RefuseUnknownRooms: true})
	room, err := rooms(s).CreateRoom(t.Context(), &livekit.CreateRoomRequest{Name: "timed"})
	require.NoError(t, err)
	assert.EqualValues(t, 7, room.GetEmptyTimeout())
	assert.EqualValues(t, 3, room.GetDepartureTimeout())
	_, err = Join(t.Context(), Participant{URL: s.URL(), APIKey: s.APIKey, APISecret: s.APISecret, Room: "unknown", Identity: "a"})
	assert.Error(t, err, "no such room")
}

// Everything the server opens is on loopback, and its secret is nowhere to be seen.
func TestServerIsOnLoopbackAndDiscreet(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	t.Setenv("LIVEKIT_KEYS", "other: and-not-this-one-either-and-not-this-one")
	before := map[string]bool{}
	for _, name := range temporary(t) {
		before[name] = true
	}
	s := startServer(t, ServerOptions{Log: zap.New(core)})
	pid := s.life.cmd.Process.Pid
	for _, file := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), file))
		require.NoError(t, err)
		assert.NotContains(t, string(text), s.APISecret)
		assert.NotContains(t, string(text), s.APIKey)
		assert.NotContains(t, string(text), "and-not-this-one")
	}
	require.NotZero(t, logs.Len(), "the server logged something")
	for _, entry := range logs.All() {
		line := entry.ContextMap()["line"]
		assert.NotContains(t, line, s.APISecret)
		assert.NotContains(t, line, s.APIKey)
	}
	out, err := exec.CommandContext(t.Context(), "ss", "-Hlntup").Output()
	require.NoError(t, err)
	var ours []string
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "pid="+strconv.Itoa(pid)+",") {
			ours = append(ours, line)
			assert.Regexp(t, `\s127\.0\.0\.1:\d+\s`, line)
		}
	}
	assert.Len(t, ours, 2, "signalling and media: %s", ours)
	for _, name := range temporary(t) {
		assert.True(t, before[name] || !strings.Contains(name, "livekit"), "left: %s", name)
	}
}

func temporary(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(os.TempDir(), "*"))
	require.NoError(t, err)
	return names
}

func TestAServerThatCannotRunSaysWhy(t *testing.T) {
	fails := func(o ServerOptions) string {
		t.Helper()
		_, err := StartServer(t.Context(), o)
		require.Error(t, err)
		assert.Equal(t, recorder.CodeUnavailable, recorder.CodeOf(err))
		return err.Error()
	}
	assert.Contains(t, fails(ServerOptions{Binary: "/no/such/server"}), `"/no/such/server"`)

	broken := filepath.Join(t.TempDir(), "livekit-server")
	require.NoError(t, os.WriteFile(broken, []byte("#!/bin/sh\ncat /dev/fd/3; echo; echo the floor is lava; exit 3\n"), 0o755))
	said := fails(ServerOptions{Binary: broken})
	assert.Contains(t, said, "exit status 3")
	assert.Contains(t, said, "the floor is lava")
	assert.NotRegexp(t, `API[A-Z0-9]{12}`, said, "the configuration is not quoted with its key")

	hangs := filepath.Join(t.TempDir(), "livekit-server")
	require.NoError(t, os.WriteFile(hangs, []byte("#!/bin/sh\necho thinking; exec sleep 60\n"), 0o755))
	assert.Contains(t, fails(ServerOptions{Binary: hangs, StartWithin: 300 * time.Millisecond}), "thinking")

	t.Setenv("PATH", t.TempDir())
	assert.Contains(t, fails(ServerOptions{}), "make tools")

	_, err := StartServer(t.Context(), ServerOptions{Binary: "/bin/true", EmptyTimeout: time.Millisecond})
	assert.Equal(t, recorder.CodeInvalid, recorder.CodeOf(err))
}

// holdServer makes this test binary start a server, say so, and hold it until it
// is killed.
const holdServer = "TAPEDECK_TEST_HOLD_SERVER"

func TestMain(m *testing.M) {
	// Where `make tools` puts livekit-server.
	if tools, err := filepath.Abs("../../build/bin"); err == nil {
		_ = os.Setenv("PATH", tools+string(filepath.ListSeparator)+os.Getenv("PATH"))
	}
	if os.Getenv(holdServer) != "" {
		s, err := StartServer(context.Background(), ServerOptions{})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(s.URL())
		select {} // until SIGKILL
	}
	os.Exit(m.Run())
}

func TestServerDiesWithItsParent(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	parent := exec.CommandContext(t.Context(), self)
	parent.Env = append(os.Environ(), holdServer+"="+t.Name())
	parent.Stderr = os.Stderr
	parent.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := parent.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, parent.Start())
	_, err = bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	all := recordertest.Processes(t, holdServer+"="+t.Name())
	assert.Len(t, all, 2, "the parent and its server: %v", all)
	require.NoError(t, parent.Process.Kill())
	_ = parent.Wait()
	recordertest.AwaitNone(t, 5*time.Second, recordertest.Living(all))
}

func TestSTUNAnswersBindingsOnly(t *testing.T) {
	s, err := startSTUN()
	require.NoError(t, err)
	defer s.close()
	conn, err := net.Dial("udp4", s.address())
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("not a message at all, but long enough to be one"))
	require.NoError(t, err)
	request := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
	_, err = conn.Write(request.Raw)
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
	answer := make([]byte, 1500)
	n, err := conn.Read(answer)
	require.NoError(t, err)
	m := &stun.Message{Raw: answer[:n]}
	require.NoError(t, m.Decode())
	assert.Equal(t, request.TransactionID, m.TransactionID, "the first answer is to the second packet")
	var seen stun.XORMappedAddress
	require.NoError(t, seen.GetFrom(m))
	assert.Equal(t, conn.LocalAddr().String(), seen.String())
}

func TestLogTailKeepsItsEnd(t *testing.T) {
	tail := &logTail{log: zap.NewNop(), hide: redactor([]string{"sesame"})}
	_, _ = tail.Write([]byte("first\nopen ses"))
	_, _ = tail.Write([]byte("ame now\n" + strings.Repeat("x", 2*longestLine) + "\nlast"))
	assert.Contains(t, tail.suffix(), "open {…} now")
	assert.NotContains(t, tail.suffix(), "sesame")
	assert.True(t, strings.HasSuffix(tail.suffix(), "\nlast"))
	for range 3 * tailLines {
		_, _ = tail.Write([]byte("more\n"))
	}
	assert.NotContains(t, tail.suffix(), "first")
	assert.Equal(t, tailLines, strings.Count(tail.suffix(), "more"))
}
