package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// row is one fault: a line of the table.
type row struct {
	name  string
	done  string // what is done, for the table
	short bool   // belongs to the short form
	// bound is the most that may be missing; 10 s when zero. why says what else than the
	// fault's notice it holds.
	bound time.Duration
	why   string
	// set prepares the job and the nodes; play brings the fault and sees to the end.
	set  func(s *stage)
	play func(s *stage)
	// lost says that w1 is lost to the job: should its file come late, the job has failed.
	lost bool
	// ends are the end reasons that the fault may have; stopped when none.
	ends []recorder.EndReason
	// needs says why the row cannot be played here; nil and "" are that it can.
	needs func() string
}

// stage is where one row is played.
type stage struct {
	*witness
	row  row
	dir  string // what lasts: spools, storage
	tmp  string // by which its processes are told from everybody else's
	logs string

	page   *recordertest.Page
	redis  *recordertest.Redis
	clock  string // file that says what Redis's clock is off by, when it can be
	client *redis.Client
	s3     *recordertest.S3
	rtmp   *recordertest.RTMP
	uplink *link     // to rtmp, of all nodes
	base   time.Time // what the page's clock counts from
	w1, w2 *node

	job      recorder.Job
	id       string
	began    time.Time // first frame
	stopped  time.Time // when the end was asked for
	ended    time.Time // when the job's result was there
	displays map[string]bool
	seen     map[recordertest.Process]bool
	notes    []string
	late     []string // what is wrong, but may be the machine's
	atClose  []func()
}

// most bounds a row, so that one that hangs does not take the others with it.
const most = 4 * time.Minute

// newStage starts the servers, and makes the nodes without starting them.
func newStage(t testing.TB, r row) *stage {
	t.Helper()
	s := &stage{
		witness: &witness{TB: t}, row: r, displays: map[string]bool{}, seen: map[recordertest.Process]bool{},
		dir: filepath.Join(ground.Dir, slug(r.name)), logs: filepath.Join(logs, slug(r.name)),
	}
	require.NoError(s, os.RemoveAll(s.logs))
	require.NoError(s, os.MkdirAll(s.logs, 0o755))
	require.NoError(s, os.MkdirAll(s.dir, 0o755))
	var err error
	s.tmp, err = os.MkdirTemp("/tmp", "td-flt-") // short, for sockets are made in it
	require.NoError(s, err)
	require.NoError(s, os.Chmod(s.tmp, 0o711)) //nolint:gosec // Chrome's user passes through
	s.page = recordertest.StartPage(s)
	opts := []recordertest.RedisOption{recordertest.WithAppendOnly()}
	if strings.Contains(r.name, "clock") {
		opts = append(opts, s.fakeClock())
	}
	s.redis = recordertest.StartRedis(s, opts...)
	s.client = redis.NewClient(&redis.Options{Addr: s.redis.Addr()})
	t.Cleanup(func() { _ = s.client.Close() })
	s.s3 = recordertest.StartS3(s)
	s.base = time.Now().Add(-time.Second).Truncate(time.Second)
	s.w1, s.w2 = newNode(s, "w1"), newNode(s, "w2")
	s.job = recorder.Job{
		ID:     "EG_" + strings.ReplaceAll(slug(r.name), "-", "_"),
		Source: recorder.Source{URL: s.url(""), AwaitStartSignal: true},
		Files:  []recorder.FileOutput{{Filepath: "talk.mp4"}},
		Limits: recorder.Limits{MaxDuration: recorder.Duration(most)},
	}
	s.job.Advanced = &recorder.EncodingOptions{Width: 640, Height: 360, Framerate: fps}
	return s
}

const fps = 15

func slug(name string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		default:
			return '-'
		}
	}, name), "-")
}

// url is the page's, with more query.
func (s *stage) url(more string) string {
	return fmt.Sprintf("%s/barcode?since=%d%s", s.page.URL, s.base.UnixMilli(), more)
}

// dense makes the picture one that no encoder makes small, at so many kbit/s.
func (s *stage) dense(kbps int) {
	s.job.URL = s.url("&noise=1")
	s.job.Advanced.VideoBitrate = kbps
}

// record has w1 record, with w2 free, and returns with the first frame.
func (s *stage) record() {
	s.Helper()
	s.w1.start()
	text, err := json.Marshal(s.job)
	require.NoError(s, err)
	s.verb(string(text), "enqueue", "-")
	s.id = s.job.ID
	s.await("w1 has the job", 20*time.Second, func(rec recorder.Recording) bool { return rec.Worker == "w1" })
	s.w2.start()
	rec := s.await("the first frame", 60*time.Second, func(rec recorder.Recording) bool { return rec.Status == recorder.StatusActive && rec.StartedAt > 0 })
	s.began = time.Unix(0, rec.StartedAt)
	s.look(s.tmp)
}

// verb runs a verb of the binary against the row's Redis, as a user does.
func (s *stage) verb(stdin string, args ...string) string {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, ground.Binary, args...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "TMPDIR=" + s.tmp, "TAPEDECK_REDIS_URL=" + s.redis.URL(),
		"TAPEDECK_SPOOL=" + filepath.Join(s.dir, "no-spool"),
	}
	cmd.Stdin = strings.NewReader(stdin)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	require.NoError(s, err, "%v: %s", args, said.String())
	return string(out)
}

// state is what Redis holds of the job; zero when there is nothing or no Redis.
func (s *stage) state() recorder.Recording {
	var rec recorder.Recording
	h, err := s.client.HGetAll(s.Context(), "{tapedeck}:job:"+s.id).Result()
	if err == nil && h["recording"] != "" {
		require.NoError(s, json.Unmarshal([]byte(h["recording"]), &rec))
		rec.ID, rec.Status = s.id, recorder.Status(h["status"])
	}
	return rec
}

// await waits until the job's state is as wanted.
func (s *stage) await(what string, limit time.Duration, wanted func(recorder.Recording) bool) recorder.Recording {
	s.Helper()
	deadline := time.Now().Add(limit)
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		rec := s.state()
		if wanted(rec) {
			return rec
		}
		if time.Now().After(deadline) {
			text, _ := json.MarshalIndent(rec, "", " ")
			require.FailNow(s, "it does not come", "%s within %s: status %q, %v\n%s", what, limit, rec.Status, rec.Error, text)
		}
		<-ticker.C
	}
}

// at waits for a moment of the recording, counted from its first frame.
func (s *stage) at(d time.Duration) {
	s.Helper()
	s.look(s.tmp)
	timer := time.NewTimer(time.Until(s.began.Add(d)))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.Context().Done():
	}
}

// stopAt ends the job at a moment of the recording, as a user does.
func (s *stage) stopAt(d time.Duration) {
	s.Helper()
	s.at(d)
	s.look(s.tmp)
	s.stopped = time.Now()
	if rec := s.state(); rec.Status.Ended() {
		s.Errorf("the job ended by itself before it was stopped: %s %s", rec.Status, rec.EndReason)
		return
	}
	s.verb("", "stop", s.id)
}

// awaitEnd waits for the job's result.
func (s *stage) awaitEnd(limit time.Duration) recorder.Recording {
	s.Helper()
	rec := s.await("the job's end", limit, func(rec recorder.Recording) bool { return rec.Status.Ended() })
	if s.ended.IsZero() {
		s.ended = time.Now()
	}
	return rec
}

// look notes which processes and displays are there, for the end to compare.
func (s *stage) look(marker string) []recordertest.Process {
	s.Helper()
	found := recordertest.Processes(s, marker)
	for _, p := range found {
		s.seen[p] = true
		if display := recordertest.DisplayOf(p.PID); display != "" {
			s.displays[display] = true
		}
	}
	return found
}

// remark adds to the row's line in the table.
func (s *stage) remark(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

// complain is for what takes too long, which a busy machine can excuse: see
// recordertest.Judged.
func (s *stage) complain(format string, args ...any) {
	s.late = append(s.late, fmt.Sprintf(format, args...))
}

// close ends what still runs, whatever became of the row.
func (s *stage) close() {
	for _, n := range []*node{s.w1, s.w2} {
		if n.running() {
			_ = n.cmd.Process.Signal(syscall.SIGCONT)
			n.kill()
		}
	}
	for _, p := range recordertest.Processes(s.TB, s.tmp) {
		_ = syscall.Kill(p.PID, syscall.SIGCONT)
		_ = syscall.Kill(p.PID, syscall.SIGKILL)
	}
	for _, undo := range s.atClose {
		undo()
	}
	_ = os.RemoveAll(s.tmp)
	if !s.Failed() {
		_ = os.RemoveAll(s.dir)
	}
}
