package child_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"tapedeck/recorder"
	"tapedeck/recorder/child"
	"tapedeck/recorder/recordertest"
)

// The test binary is also the child, and the parent that dies.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 2 && os.Args[1] == "play":
		if err := play(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case len(os.Args) > 3 && os.Args[1] == "parent":
		parent(os.Args[2:])
	default:
		// A second at the end of each child, for races that are reported late.
		if err := os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0")); err != nil {
			panic(err)
		}
		os.Exit(m.Run())
	}
}

const (
	secretToken  = "tok-5ecret5ecret"
	secretStream = "rtmp://ingest.example.com/app/live_5ecretkey"
)

// play is the child's main function.
func play(what string) error {
	report := os.NewFile(3, "report")
	switch what {
	case "deaf": // reads nothing and takes no hint
		time.Sleep(time.Hour)
	case "mute":
		return fmt.Errorf("cannot open shared object file")
	case "hurried": // is gone before anybody could tell it anything
		os.Stdin.Close()
		return fmt.Errorf("cannot open shared object file")
	case "burst": // dies in the middle of a report
		if _, err := io.WriteString(report, `{"recording": {"id": "job1", "sta`); err != nil {
			return err
		}
		return nil
	}
	prepare := func(settings json.RawMessage, task recorder.Task) (recorder.Runner, error) {
		if what == "unprepared" {
			return nil, fmt.Errorf("no GStreamer for %s", secretToken)
		}
		return &recordertest.FakeRunner{Play: plays(what, settings, report)}, nil
	}
	return child.Serve(context.Background(), os.Stdin, report, prepare, func() { os.Exit(3) })
}

type player = func(context.Context, recorder.Task, <-chan recorder.Command, func(recorder.Recording)) recorder.Recording

func plays(what string, settings json.RawMessage, report *os.File) player {
	return func(ctx context.Context, task recorder.Task, commands <-chan recorder.Command, tell func(recorder.Recording)) recorder.Recording {
		var runner recordertest.FakeRunner
		task.Recording.Metadata = map[string]string{"pid": strconv.Itoa(os.Getpid())}
		switch what {
		case "task":
			text, _ := json.Marshal(task)
			fmt.Fprintf(os.Stderr, "task %s settings %s\n", text, settings)
			runner.Length = time.Millisecond
		case "shout":
			for _, line := range []string{
				"first " + secretToken, strings.Repeat("x", 5<<20) + secretToken, strings.Repeat("y", 64<<10-8) + secretToken,
				`gst: could not connect to "` + secretStream + `"`, "last without a newline",
			} {
				fmt.Fprint(os.Stderr, strings.TrimSuffix(line+"\n", "newline\n"))
			}
			runner.Length = time.Millisecond
		case "garbage":
			fmt.Fprintf(report, "GStreamer-CRITICAL **: hello\n\n%s\n", strings.Repeat("g", 5<<20))
			runner.Length = time.Millisecond
		case "stubborn":
			runner.Record(context.Background(), task, nil, tell)
		case "stuck": // the recording ends, the process does not
			rec := runner.Record(ctx, task, commands, tell)
			tell(rec)
			select {}
		case "family": // a process of its own group holds every pipe
			cmd := exec.Command("/bin/sleep", "60")
			cmd.Stderr, cmd.ExtraFiles = os.Stderr, []*os.File{report}
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: 0}
			if err := cmd.Start(); err != nil {
				panic(err)
			}
			task.Recording.Metadata["family"] = strconv.Itoa(cmd.Process.Pid)
		case "echo":
			return echo(ctx, task, commands, tell)
		case "waits":
			tell(task.Recording)
			select {}
		case "chatter":
			for i := range chatterLines {
				fmt.Fprintf(os.Stderr, "chatter %d %s\n", i, chatterWords)
			}
			runner.Length = time.Millisecond
		case "steady":
			return steady(task, commands, tell)
		case "adds":
			return adds(task, commands, tell)
		case "orphan":
			return orphan(task, commands, tell)
		}
		return runner.Record(ctx, task, commands, tell)
	}
}

// echo reports every command it gets, and the end of its context.
func echo(ctx context.Context, task recorder.Task, commands <-chan recorder.Command, tell func(recorder.Recording)) recorder.Recording {
	rec := task.Recording
	rec.Status = recorder.StatusActive
	tell(rec)
	cancelled := ctx.Done()
	say := func(key string, what any) {
		text, _ := json.Marshal(what)
		rec.Metadata = map[string]string{key: string(text)}
		tell(rec.Clone())
	}
	for now := false; !now; {
		select {
		case <-cancelled:
			cancelled = nil
			say("cancel", context.Cause(ctx))
		case c := <-commands:
			now = c.Now
			say("command", c)
		}
	}
	rec.Status, rec.EndReason, rec.EndedAt = recorder.StatusEnding, recorder.EndStopped, 1
	return rec
}

// adds logs the stream URL that an update brings.
func adds(task recorder.Task, commands <-chan recorder.Command, tell func(recorder.Recording)) recorder.Recording {
	rec := task.Recording
	rec.Status = recorder.StatusActive
	tell(rec)
	fmt.Fprintln(os.Stderr, "adding", (<-commands).Update.AddStreamURLs)
	rec.Status, rec.EndReason, rec.EndedAt = recorder.StatusEnding, recorder.EndStopped, 1
	return rec
}

// begins reports that it records, and says so to the test's socket.
func begins(task recorder.Task, tell func(recorder.Recording)) (net.Conn, recorder.Recording) {
	conn, err := net.Dial("unix", task.Job.Metadata["socket"])
	if err != nil {
		panic(err)
	}
	rec := task.Recording
	rec.Status = recorder.StatusActive
	tell(rec)
	fmt.Fprintln(conn, "recording")
	return conn, rec
}

// orphan tells a socket how it ends, and logs when nobody reads any more.
func orphan(task recorder.Task, commands <-chan recorder.Command, tell func(recorder.Recording)) recorder.Recording {
	conn, rec := begins(task, tell)
	c := <-commands
	for range 100 {
		fmt.Fprintln(os.Stderr, "finalising")
		tell(rec)
	}
	fmt.Fprintln(conn, "finalised", c.Kind, c.Reason, c.Now)
	return rec
}

// parent is a worker: of a directory, a socket, and perhaps what is played and how long
// it may be silent.
func parent(args []string) {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	args = append(args, []string{"orphan", "0s"}[len(args)-2:]...)
	silence, err := time.ParseDuration(args[3])
	if err != nil {
		panic(err)
	}
	r := child.Runner{Command: []string{exe, "play", args[2]}, Silence: silence, Now: time.Now, Log: zap.NewNop()}
	task := taskIn(args[0])
	task.Job.Metadata = map[string]string{"socket": args[1]}
	r.Run(context.Background(), task, nil, func(recorder.Recording) {})
}

func taskIn(dir string) recorder.Task {
	job := recorder.Job{
		ID:     "job1",
		Source: recorder.Source{URL: "https://example.com", Token: secretToken},
		Files: []recorder.FileOutput{
			{Filepath: "a.mp4", UploadURL: "https://b.example.com/k?X-Amz-Signature=st0rage-a"},
			{Filepath: "b.mp4", Storage: recorder.Storage{S3: &recorder.S3Upload{Bucket: "bbb", AccessKey: "st0rage-b", Secret: "st0rage-c", SessionToken: "st0rage-d"}}},
		},
		Streams:  []recorder.StreamOutput{{URLs: []string{secretStream}}},
		Segments: []recorder.SegmentOutput{{Storage: recorder.Storage{GCP: &recorder.GCPUpload{Bucket: "bbb", Credentials: "st0rage-e"}}}},
		Images:   []recorder.ImageOutput{{Storage: recorder.Storage{Azure: &recorder.AzureBlobUpload{AccountKey: "st0rage-f"}}}},
		Backup:   &recorder.Storage{AliOSS: &recorder.AliOSSUpload{Secret: "st0rage-g"}},
		Webhooks: []recorder.Webhook{{URL: "https://hooks.example.com/st0rage-h"}},
	}
	return recorder.Task{Job: job, Recording: recorder.NewRecording(job, time.Now()), Dir: dir}
}

// run is one Runner.Run on a child that plays something.
type run struct {
	t        *testing.T
	dir      string
	commands chan recorder.Command
	cancel   context.CancelCauseFunc
	reports  chan recorder.Recording
	result   chan recorder.Recording
}

func start(t *testing.T, what string, change ...func(*child.Runner)) *run {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	r := &child.Runner{
		Command: []string{exe, "play", what}, Settings: json.RawMessage(`{"a": 1}`), Now: time.Now, Log: zap.NewNop(),
	}
	for _, c := range change {
		c(r)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	t.Cleanup(func() { cancel(nil) })
	s := &run{
		t: t, dir: t.TempDir(), commands: make(chan recorder.Command), cancel: cancel,
		reports: make(chan recorder.Recording, 1024), result: make(chan recorder.Recording, 1),
	}
	go func() {
		rec := r.Run(ctx, taskIn(s.dir), s.commands, func(rec recorder.Recording) { s.reports <- rec })
		close(s.reports)
		s.result <- rec
	}()
	return s
}

func quick(d time.Duration) func(*child.Runner) {
	return func(r *child.Runner) { r.KillAfter = d }
}

// active waits until the child records and gives its pid.
func (s *run) active() int {
	s.t.Helper()
	for rec := range s.reports {
		if rec.Status == recorder.StatusActive {
			pid, _ := strconv.Atoi(rec.Metadata["pid"])
			return pid
		}
	}
	s.t.Fatalf("it never became active: %v", (<-s.result).Error)
	return 0
}

func (s *run) end() recorder.Recording {
	s.t.Helper()
	select {
	case rec := <-s.result:
		return rec
	case <-time.After(30 * time.Second):
		s.t.Fatal("Run does not return")
		return recorder.Recording{}
	}
}

func (s *run) log() string {
	text, err := os.ReadFile(filepath.Join(s.dir, child.LogName))
	require.NoError(s.t, err)
	return string(text)
}

// gone checks that a process is reaped, and no zombie.
func gone(t *testing.T, pid int) {
	t.Helper()
	require.NotZero(t, pid)
	_, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func died(t *testing.T, rec recorder.Recording, says string) {
	t.Helper()
	require.NotNil(t, rec.Error)
	assert.Equal(t, recorder.CodeChildDied, rec.Error.Code)
	assert.Equal(t, recorder.EndChildDied, rec.EndReason)
	assert.Equal(t, recorder.StatusEnding, rec.Status)
	assert.NotZero(t, rec.EndedAt)
	assert.Contains(t, rec.Error.Message, says)
}

func TestChildRecordsToItsEnd(t *testing.T) {
	s := start(t, "record")
	pid := s.active()
	s.commands <- recorder.Command{Kind: recorder.CommandStop, Reason: recorder.EndDrained}
	rec := s.end()
	assert.Nil(t, rec.Error)
	assert.Equal(t, recorder.EndDrained, rec.EndReason)
	assert.Equal(t, recorder.FilePending, rec.Files[0].State)
	assert.False(t, rec.Files[0].Partial)
	gone(t, pid)
}

// A child whose context ended has been told once: a client's stop after it is
// the first and must not hurry it.
func TestEndOfContextIsNoCommand(t *testing.T) {
	for name, c := range map[string]struct {
		cause error
		want  recorder.Stop
	}{
		"plain":   {nil, recorder.Stop{}},
		"drained": {recorder.Stop{Reason: recorder.EndDrained}, recorder.Stop{Reason: recorder.EndDrained}},
		"lost":    {recorder.Stop{Reason: recorder.EndLeaseLost, Now: true}, recorder.Stop{Reason: recorder.EndLeaseLost, Now: true}},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, "echo")
			s.active()
			s.cancel(c.cause)
			var got recorder.Stop
			require.NoError(t, json.Unmarshal([]byte((<-s.reports).Metadata["cancel"]), &got))
			assert.Equal(t, c.want, got)
			for _, want := range []recorder.Command{{Kind: recorder.CommandStop}, {Kind: recorder.CommandStop, Now: true}} {
				s.commands <- want
				var got recorder.Command
				require.NoError(t, json.Unmarshal([]byte((<-s.reports).Metadata["command"]), &got))
				assert.Equal(t, want, got)
			}
			s.end()
			for rec := range s.reports {
				t.Errorf("told something more: %v", rec.Metadata)
			}
		})
	}
}

func TestCommandsReachTheChild(t *testing.T) {
	s := start(t, "echo")
	s.active()
	for _, c := range []recorder.Command{
		{Kind: recorder.CommandUpdate, Update: recorder.Update{AddStreamURLs: []string{secretStream}, RemoveStreamURLs: []string{"st_12345678"}}},
		{Kind: recorder.CommandStop, Reason: recorder.EndStopped},
		{Kind: recorder.CommandStop, Now: true},
	} {
		s.commands <- c
		rec := <-s.reports
		var got recorder.Command
		require.NoError(t, json.Unmarshal([]byte(rec.Metadata["command"]), &got))
		assert.Equal(t, c, got)
	}
	assert.Equal(t, recorder.EndStopped, s.end().EndReason)
}

func TestKilledChildIsSalvaged(t *testing.T) {
	s := start(t, "record")
	pid := s.active()
	killed := time.Now()
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	rec := s.end()
	assert.Less(t, time.Since(killed), 5*time.Second)
	died(t, rec, "killed")
	assert.NotZero(t, rec.StartedAt)
	for _, f := range rec.Files {
		assert.True(t, f.Partial)
		assert.Equal(t, recorder.FilePending, f.State)
		assert.EqualValues(t, 5, f.Size)
	}
	assert.Equal(t, recorder.StreamFailed, rec.Streams[0].State)
	gone(t, pid)
}

// What a dead child had started may live on and hold its pipes.
func TestKilledChildWithAFamily(t *testing.T) {
	s := start(t, "family")
	var family int
	for rec := range s.reports {
		if rec.Status == recorder.StatusActive {
			family, _ = strconv.Atoi(rec.Metadata["family"])
			pid, _ := strconv.Atoi(rec.Metadata["pid"])
			require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
			break
		}
	}
	require.NotZero(t, family)
	t.Cleanup(func() { _ = syscall.Kill(family, syscall.SIGKILL) })
	began := time.Now()
	died(t, s.end(), "killed")
	assert.Less(t, time.Since(began), 10*time.Second)
}

func TestChildThatIgnoresAStopIsKilled(t *testing.T) {
	for name, stop := range map[string]func(s *run){
		"command": func(s *run) { s.commands <- recorder.Command{Kind: recorder.CommandStop} },
		"context": func(s *run) { s.cancel(nil) },
		"many commands": func(s *run) {
			// More than the child's channel and the pipe hold: it takes none of them.
			for range 64 {
				s.commands <- recorder.Command{Kind: recorder.CommandUpdate, Update: recorder.Update{AddStreamURLs: []string{"rtmp://h/a/k"}}}
			}
			s.commands <- recorder.Command{Kind: recorder.CommandStop}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, "stubborn", quick(200*time.Millisecond))
			pid := s.active()
			stop(s)
			rec := s.end()
			died(t, rec, "killed")
			assert.True(t, rec.Files[0].Partial)
			gone(t, pid)
		})
	}
}

func TestChildThatHangsAtItsEndIsKilled(t *testing.T) {
	s := start(t, "stuck", quick(200*time.Millisecond))
	s.active()
	s.commands <- recorder.Command{Kind: recorder.CommandStop}
	rec := s.end()
	assert.Equal(t, recorder.CodeChildDied, rec.Error.Code)
	assert.Equal(t, recorder.EndStopped, rec.EndReason, "the first reason stays")
	assert.True(t, rec.Files[0].Partial)
}

func TestChildrenThatNeverRecord(t *testing.T) {
	for what, says := range map[string]string{
		"mute": "exit status 1", "unprepared": "exit status 1", "burst": "without an answer",
	} {
		t.Run(what, func(t *testing.T) {
			s := start(t, what)
			rec := s.end()
			died(t, rec, says)
			assert.Zero(t, rec.StartedAt)
			assert.Equal(t, recorder.FileEmpty, rec.Files[0].State)
			assert.NotContains(t, s.log(), "5ecret")
		})
	}
	t.Run("gone before it has its task", func(t *testing.T) {
		s := start(t, "hurried", func(r *child.Runner) {
			r.Settings = json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`) // more than a pipe holds
		})
		died(t, s.end(), "exit status 1")
		assert.NotContains(t, s.log(), "5ecret")
	})
	t.Run("deaf", func(t *testing.T) {
		s := start(t, "deaf", quick(100*time.Millisecond))
		s.cancel(nil)
		died(t, s.end(), "killed")
	})
	t.Run("no binary", func(t *testing.T) {
		s := start(t, "", func(r *child.Runner) { r.Command = []string{"/nonexistent/tapedeck"} })
		rec := s.end()
		require.NotNil(t, rec.Error)
		assert.Equal(t, recorder.CodeUnavailable, rec.Error.Code)
		assert.Equal(t, recorder.EndChildDied, rec.EndReason)
	})
}

func TestLogOfAChild(t *testing.T) {
	s := start(t, "shout")
	assert.Nil(t, s.end().Error)
	log := s.log()
	assert.NotContains(t, log, "5ecret")
	lines := strings.Split(strings.TrimSpace(log), "\n")
	require.Len(t, lines, 5, "a giant line does not end the log")
	assert.Equal(t, "first {redacted}", lines[0])
	assert.Less(t, len(lines[1]), 64<<10)
	assert.True(t, strings.HasSuffix(lines[1], "… (cut)"))
	assert.NotContains(t, lines[2], "tok", "a secret across the cut")
	assert.Contains(t, lines[3], "rtmp://ingest.example.com/app/{liv...key}")
	assert.Equal(t, "last without a", lines[4])
	info, err := os.Stat(filepath.Join(s.dir, child.LogName))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestLogThatCannotBeKept(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	r := child.Runner{Command: []string{exe, "play", "shout"}, Now: time.Now, Log: zap.NewNop()}
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, child.LogName), 0o700))
	assert.Nil(t, r.Run(context.Background(), taskIn(dir), nil, func(recorder.Recording) {}).Error)
}

func TestReportsAmongGarbage(t *testing.T) {
	s := start(t, "garbage")
	s.active()
	rec := s.end()
	assert.Nil(t, rec.Error)
	assert.Equal(t, recorder.EndSignal, rec.EndReason)
}

func TestChildDoesNotGetTheStorage(t *testing.T) {
	s := start(t, "task")
	assert.Nil(t, s.end().Error)
	log := s.log()
	assert.Contains(t, log, `settings {"a":1}`)
	assert.Contains(t, log, `"filepath":"b.mp4"`)
	assert.NotContains(t, log, "st0rage")
	assert.NotContains(t, log, `"s3"`)
	task := taskIn(s.dir)
	assert.Equal(t, "st0rage-b", task.Job.Files[1].S3.AccessKey, "the job itself is untouched")
}

func TestNothingOfAJobIsInTheProcessTable(t *testing.T) {
	s := start(t, "record")
	pid := s.active()
	for _, file := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		require.NoError(t, err)
		for _, secret := range []string{"5ecret", "st0rage", "job1"} {
			assert.NotContains(t, string(text), secret)
		}
	}
	s.cancel(nil)
	s.end()
}

func TestRunLeavesNoDescriptors(t *testing.T) {
	count := func() int {
		found, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(found)
	}
	start(t, "mute").end() // whatever the runtime opens once
	before := count()
	for _, what := range []string{"mute", "burst", "task", "garbage"} {
		start(t, what).end()
	}
	start(t, "", func(r *child.Runner) { r.Command = []string{"/nonexistent/tapedeck"} }).end()
	assert.LessOrEqual(t, count(), before)
}

// The worker is killed: its child finalises and exits, though it logs and
// reports to nobody.
func TestOrphanFinalises(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	defer listener.Close()
	exe, err := os.Executable()
	require.NoError(t, err)
	worker := exec.Command(exe, "parent", dir, socket)
	require.NoError(t, worker.Start())
	conn, err := listener.Accept()
	require.NoError(t, err)
	require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	first := make([]byte, len("recording\n"))
	_, err = io.ReadFull(conn, first)
	require.NoError(t, err)

	require.NoError(t, worker.Process.Kill())
	require.Error(t, worker.Wait())
	rest, err := io.ReadAll(conn) // until the child's end closes it
	require.NoError(t, err)
	assert.Equal(t, "finalised stop worker_lost true\n", string(rest))
}

func TestServe(t *testing.T) {
	task, err := json.Marshal(map[string]any{"task": taskIn(t.TempDir()), "settings": map[string]int{"a": 1}})
	require.NoError(t, err)
	echoing := func(json.RawMessage, recorder.Task) (recorder.Runner, error) {
		return &recordertest.FakeRunner{Play: func(ctx context.Context, task recorder.Task, commands <-chan recorder.Command, tell func(recorder.Recording)) recorder.Recording {
			return echo(ctx, task, commands, tell)
		}}, nil
	}
	t.Run("a torn command is no command", func(t *testing.T) {
		var out strings.Builder
		in := strings.NewReader(string(task) + "\n" + `{"command": {"command": "update"}}` + "\n{\"comm\n" + `{"command": {"comm`)
		require.NoError(t, child.Serve(context.Background(), in, &out, echoing, func() {}))
		assert.Equal(t, 4, strings.Count(out.String(), "\n"), "active, update, the end of stdin, final: %s", &out)
		assert.Contains(t, out.String(), `worker_lost`)
		assert.Contains(t, out.String(), `"final":true`)
	})
	t.Run("no task", func(t *testing.T) {
		for _, in := range []string{"", "\n", "{}x\n", "null, 1"} {
			assert.Error(t, child.Serve(context.Background(), strings.NewReader(in), io.Discard, echoing, func() {}), in)
		}
	})
}

func TestSilentChildIsKilled(t *testing.T) {
	s := start(t, "record", func(r *child.Runner) { r.Silence = 200 * time.Millisecond })
	pid := s.active()
	died(t, s.end(), "killed")
	gone(t, pid)
}

func TestChildThatNeverGetsToRecordIsKilled(t *testing.T) {
	for _, what := range []string{"deaf", "waits"} {
		t.Run(what, func(t *testing.T) {
			s := start(t, what, func(r *child.Runner) { r.StartSlack = 200*time.Millisecond - recorder.Limits{}.Starting() })
			died(t, s.end(), "killed")
		})
	}
}

// A report that takes long is the worker's doing.
func TestSlowReportIsNoSilence(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	const silence = time.Second
	r := child.Runner{Command: []string{exe, "play", "record"}, Silence: silence, Now: time.Now, Log: zap.NewNop()}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	rec := r.Run(ctx, taskIn(t.TempDir()), nil, func(rec recorder.Recording) {
		if rec.Status == recorder.StatusActive {
			<-time.After(3 * silence / 2)
			cancel()
		}
	})
	assert.Nil(t, rec.Error)
}

// A report waits for Redis while the child ends: its last answer is read all the same.
func TestSlowReportLosesNoAnswer(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	r := child.Runner{Command: []string{exe, "play", "task"}, Now: time.Now, Log: zap.NewNop()}
	reported := 0
	rec := r.Run(context.Background(), taskIn(t.TempDir()), nil, func(rec recorder.Recording) {
		if reported++; reported == 1 {
			require.Eventually(t, func() bool {
				_, err := os.Stat("/proc/" + rec.Metadata["pid"])
				return errors.Is(err, os.ErrNotExist)
			}, 10*time.Second, time.Millisecond)
			<-time.After(time.Second) // longer than a dead child's pipe is waited for
		}
	})
	assert.Nil(t, rec.Error)
	assert.Equal(t, recorder.EndSignal, rec.EndReason)
}

func TestLogHidesWhatAnUpdateBrings(t *testing.T) {
	const added = "rtmp://ingest.example.com/app/added_5ecretkey"
	s := start(t, "adds")
	s.active()
	s.commands <- recorder.Command{Kind: recorder.CommandUpdate, Update: recorder.Update{AddStreamURLs: []string{added}}}
	assert.Nil(t, s.end().Error)
	assert.Contains(t, s.log(), "adding")
	assert.NotContains(t, s.log(), "added_5ecretkey")
}
