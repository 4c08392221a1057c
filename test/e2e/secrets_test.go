package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// secret is in every secret that a test makes up, and nowhere else.
const secret = "s3cr3tMARK"

// secrets are texts that nobody may be shown.
type secrets []string

// around shows where a text holds a secret.
func (s secrets) around(text string) string {
	for _, secret := range s {
		if i := strings.Index(text, secret); i >= 0 {
			return "…" + strings.ToValidUTF8(text[max(0, i-160):min(len(text), i+60)], "?") + "…"
		}
	}
	return ""
}

func (s secrets) requireNone(t *testing.T, what, text string) {
	t.Helper()
	assert.Empty(t, s.around(text), what)
}

// spy looks at the command lines and environments of everything a home
// started, again and again.
type spy struct {
	h       *home
	secrets secrets
	exclude func(recordertest.Process) bool // whose environment is the operator's own
	done    chan struct{}
	ended   chan struct{}
	mu      sync.Mutex
	found   map[string]bool
	kinds   map[string]bool // names of the programs that were looked at
}

func (h *home) spy(hidden secrets, exclude func(recordertest.Process) bool) *spy {
	s := &spy{h: h, secrets: hidden, exclude: exclude, done: make(chan struct{}), ended: make(chan struct{}), found: map[string]bool{}, kinds: map[string]bool{}}
	go func() {
		defer close(s.ended)
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for {
			s.look()
			select {
			case <-ticker.C:
			case <-s.done:
				return
			}
		}
	}()
	return s
}

func (s *spy) look() {
	for _, p := range recordertest.Processes(s.h.t, s.h.tmp) {
		environment, _ := os.ReadFile("/proc/" + strconv.Itoa(p.PID) + "/environ")
		s.mu.Lock()
		s.kinds[filepath.Base(strings.Fields(p.Command + " ?")[0])] = true
		if hit := s.secrets.around(p.Command); hit != "" {
			s.found["command line of "+hit] = true
		}
		if hit := s.secrets.around(string(environment)); hit != "" && !s.exclude(p) {
			s.found["environment of "+p.Command+": "+hit] = true
		}
		s.mu.Unlock()
	}
}

// requireNothing ends the spying.
func (s *spy) requireNothing(kinds ...string) {
	s.h.t.Helper()
	close(s.done)
	<-s.ended
	for hit := range s.found {
		assert.Fail(s.h.t, "a secret is shown", hit)
	}
	for _, kind := range kinds {
		assert.True(s.h.t, s.kinds[kind], "%s was looked at: %v", kind, s.kinds)
	}
}

// dump gives everything in Redis as text, but for the given keys.
func (p *pool) dump(but ...string) string {
	p.t.Helper()
	keys, err := p.client.Keys(p.t.Context(), "*").Result()
	require.NoError(p.t, err)
	var all strings.Builder
	for _, key := range keys {
		skip := false
		for _, b := range but {
			skip = skip || strings.HasPrefix(key, b)
		}
		if skip {
			continue
		}
		kind, err := p.client.Type(p.t.Context(), key).Result()
		require.NoError(p.t, err)
		var value any
		switch kind {
		case "stream":
			value, err = p.client.XRange(p.t.Context(), key, "-", "+").Result()
		case "hash":
			value, err = p.client.HGetAll(p.t.Context(), key).Result()
		case "zset":
			value, err = p.client.ZRange(p.t.Context(), key, 0, -1).Result()
		case "string":
			value, err = p.client.Get(p.t.Context(), key).Result()
		case "set":
			value, err = p.client.SMembers(p.t.Context(), key).Result()
		default:
			p.t.Fatalf("%s is a %s", key, kind)
		}
		require.NoError(p.t, err)
		fmt.Fprintf(&all, "%s = %v\n", key, value)
	}
	return all.String()
}

// files gives the text of all files of a directory, but for media and the given names.
func files(t *testing.T, dir string, but ...string) string {
	t.Helper()
	var all strings.Builder
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		for _, b := range but {
			if d.Name() == b {
				return nil
			}
		}
		text, err := os.ReadFile(path)
		fmt.Fprintf(&all, "%s:\n%s\n", path, text)
		return err
	}))
	return all.String()
}

// TestSecretsOfJobs runs jobs that hold every kind of secret, well and badly.
func TestSecretsOfJobs(t *testing.T) {
	t.Parallel()
	page, ingest, p := recordertest.StartPage(t), recordertest.StartRTMP(t), startPool(t)
	s3 := recordertest.StartS3(t)
	require.NoError(t, p.client.Do(t.Context(), "ACL", "SETUSER", "deck", "on", ">pw-"+secret, "~*", "&*", "+@all").Err())
	withPassword := "TAPEDECK_REDIS_URL=redis://deck:pw-" + secret + "@" + p.redis.Addr() + "/0"
	presigned := s3.PresignPut(s3.Endpoint, "b.mp4", time.Hour)
	_, signature, _ := strings.Cut(presigned, "X-Amz-Signature=")
	signature, _, _ = strings.Cut(signature, "&")
	require.Len(t, signature, 64)
	hidden := secrets{secret, s3.AccessKey, s3.Secret, signature}
	spy := p.spy(hidden, func(p recordertest.Process) bool {
		// What the operator gave to the worker and the verbs; not what these start.
		return strings.HasPrefix(p.Command, tapedeck) && !strings.HasSuffix(p.Command, " child")
	})
	w := p.startWorker("w1", withPassword)
	watch := p.start([]string{withPassword}, "watch", "--json", "--after", "0")

	room := recorder.Job{
		ID: "secretive",
		Source: recorder.Source{
			RoomName: "studio", CustomBaseURL: page.URL + "/markers?start=100&key=" + secret + "-query#/room?key=" + secret + "-hash",
			Token: secret + "-token.of.page", LiveKitURL: "wss://user:" + secret + "-ws@livekit.example.com",
		},
		Files: []recorder.FileOutput{
			{Filepath: "a.mp4", Storage: recorder.Storage{S3: s3.Upload()}},
			{Filepath: "b.mp4", UploadURL: presigned},
			{Filepath: "c.mp4", UploadURL: page.URL + "/status/403?X-Amz-Signature=" + secret + "-signature"},
		},
		Streams: []recorder.StreamOutput{{URLs: []string{
			ingest.URL(secret + "-key-1"), "rtmp://127.0.0.1:1/live/" + secret + "-key-2?auth=" + secret + "-auth",
		}}},
	}
	failing := recorder.Job{
		ID: "failing",
		Source: recorder.Source{
			RoomName: "studio", CustomBaseURL: page.URL + "/console?key=" + secret + "-query", Token: secret + "-token.of.page",
		},
		Files:  []recorder.FileOutput{{Filepath: "f.mp4"}},
		Limits: recorder.Limits{StartTimeout: recorder.Duration(time.Second), ReloadAttempts: new(int)},
	}
	id := p.enqueue(room)
	p.awaitActive(id)
	key := p.path("key.txt")
	require.NoError(t, os.WriteFile(key, []byte(ingest.URL(secret+"-key-3")+"\n"), 0o600))
	require.Zero(t, p.runWith("", []string{withPassword}, "update", id, "--add-rtmp", "@"+key).code)
	p.await(id, "the added stream", 20*time.Second, func(rec recorder.Recording) bool { return len(rec.Streams) == 3 })
	// The entry and the commands are the work itself: they hold what it takes, and go with the job.
	hidden.requireNone(t, "Redis while the job runs", p.dump(jobsKey, "{tapedeck}:commands:"))

	require.Zero(t, p.verb("stop", id).code)
	rec := p.awaitEnd(id, time.Minute)
	assert.Equal(t, recorder.StatusFailed, rec.Status, "one of the uploads is refused")
	for _, f := range rec.Files {
		t.Logf("%s %s %s", f.Filename, f.State, f.Error)
	}
	id = p.enqueue(failing)
	rec = p.awaitEnd(id, time.Minute)
	assert.Equal(t, recorder.EndStartFailed, rec.EndReason)
	bad := `{"url":"http://x/?a=` + secret + `","tokn":"` + secret + `","stream_outputs":[{"urls":["rtmp://h/` + secret + `","x://h/a/` + secret + `"]}]}`
	require.NoError(t, p.client.XAdd(t.Context(), &redis.XAddArgs{Stream: jobsKey, Values: map[string]any{"job": bad}}).Err())
	p.awaitDead(1)
	refused := p.runWith(bad, []string{withPassword}, "enqueue", "-")
	assert.Equal(t, 2, refused.code)
	list := p.verb("list", "--json")

	spy.requireNothing("tapedeck", "chromium", "Xvfb", "pulseaudio")
	hidden.requireNone(t, "Redis", p.dump())
	hidden.requireNone(t, "list", list.stdout+list.stderr+p.verb("list").stdout)
	hidden.requireNone(t, "a refused job", refused.stdout+refused.stderr)
	watch.await(watch.stdout, `"id":"failing"`, 10*time.Second)
	hidden.requireNone(t, "watch", watch.stdout.String()+watch.stderr.String())
	hidden.requireNone(t, "the worker's log", w.stderr.String()+w.stdout.String())
	kept := files(t, p.spool("w1"), "task.json")
	hidden.requireNone(t, "the spool", kept)
	assert.Contains(t, kept, "job.log")
	assert.Contains(t, kept, "recording.json")
	hidden.requireNone(t, "the manifest", string(s3.Get("a.mp4.json")))
}

// TestSecretsOfRecord gives secrets on the command line, where they are wiped,
// and in the environment of AWS tools, which nobody inherits.
func TestSecretsOfRecord(t *testing.T) {
	t.Parallel()
	page, s3, h := recordertest.StartPage(t), recordertest.StartS3(t), newHome(t)
	c := h.start([]string{"AWS_ACCESS_KEY_ID=" + s3.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s3.Secret, "AWS_REGION=us-east-1"},
		"record", page.URL+"/markers?start=200&end=4000&token="+secret+"-page", "--await-start", "--json", "--log-level", "debug",
		"--rtmp", "rtmp://127.0.0.1:1/live/"+secret+"-key", "--upload-url", page.URL+"/status/403?sig="+secret+"-put",
		"--s3", "s3://"+s3.Bucket+"/talk.mp4", "--s3-endpoint", s3.Endpoint, "--s3-path-style")
	c.await(c.stderr, "starting", recordStart)
	hidden := secrets{secret, s3.AccessKey, s3.Secret}
	spy := h.spy(hidden, func(p recordertest.Process) bool {
		// GStreamer's scanner is record itself in another process.
		return p.PID == c.pid() || strings.Contains(p.Command, "gst-plugin-scanner")
	})
	assert.Equal(t, 1, c.wait(time.Minute), "one upload is refused")
	assert.Contains(t, s3.Keys(), "talk.mp4", "the other one is not")
	spy.requireNothing("tapedeck", "chromium", "Xvfb", "pulseaudio")
	hidden.requireNone(t, "the log", c.stderr.String())
	hidden.requireNone(t, "the result", c.stdout.String())
	hidden.requireNone(t, "the spool", files(t, h.path("spool"), "task.json"))
}
