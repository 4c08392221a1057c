package e2e

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// mistake is a command line, and what its user must be told.
type mistake struct {
	name  string
	args  string // split at blanks
	stdin string
	env   []string
	code  int
	says  string // texts, separated by " & "
}

func (m mistake) test(t *testing.T, h *home, env []string) {
	t.Helper()
	args := strings.Fields(strings.ReplaceAll(m.args, "HOME", h.dir))
	r := h.runWith(m.stdin, append(env, m.env...), args...)
	assert.Equal(t, m.code, r.code, "exit code of %s: %s", m.args, r.stderr)
	assert.Empty(t, r.stdout, m.args)
	assert.True(t, strings.HasPrefix(r.stderr, "tapedeck: "), "%s: %q", m.args, r.stderr)
	for _, text := range strings.Split(m.says, " & ") {
		assert.Contains(t, r.stderr, text, m.args)
	}
	for _, noise := range []string{"Usage:", "Flags:", "runtime error", "\tat ", ".go:"} {
		assert.NotContains(t, r.stderr, noise, m.args)
	}
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	write := func(name, text string) { require.NoError(t, os.WriteFile(h.path(name), []byte(text), 0o600)) }
	write("config.yaml", "worker:\n  id: w1\n  max_jbos: 3\n")
	write("broken.yaml", "worker: [\n")
	write("wrong.yaml", "worker:\n  max_jobs: 0\nredis:\n  lease_ttl: 1ms\nlog:\n  level: loud\n")
	write("job.yaml", "url: https://example.com\nfps: 30\nfile_outputs:\n  - filepath: a.mp4\n    bukket: b\n")
	write("syntax.yaml", "url: https://example.com\n file: [a\n")
	write("file", "")
	const ok = "https://example.com"
	record := "record " + ok + " "
	for _, m := range []mistake{
		{name: "odd size", args: record + "-o HOME/x.mp4 --size 1281x720", code: 2, says: `advanced.width & "1281" & use 1280 or 1282`},
		{name: "no size", args: record + "-o HOME/x.mp4 --size large", code: 2, says: `--size & "large" & 1280x720`},
		{name: "tiny", args: record + "-o HOME/x.mp4 --size 20x20", code: 2, says: `advanced.width & advanced.height & "20" & 160 to 3840`},
		{name: "rate", args: record + "-o HOME/x.mp4 --fps 61", code: 2, says: `advanced.framerate & "61" & 1 to 60`},
		{name: "no rate", args: record + "-o HOME/x.mp4 --fps 0", code: 2, says: "--fps 0 & above 0"},
		{name: "bitrate", args: record + "-o HOME/x.mp4 --bitrate 10", code: 2, says: `advanced.video_bitrate & "10" & 150 to 50000`},
		{name: "preset", args: record + "-o HOME/x.mp4 --preset 4K", code: 2, says: `preset & "4K" & H264_720P_30`},
		{name: "four streams", args: record + "--rtmp rtmp://a/b/c1 --rtmp rtmp://a/b/c2 --rtmp rtmp://a/b/c3 --rtmp rtmp://a/b/c4", code: 2, says: `stream_outputs & "4" & at most 3`},
		{name: "no key", args: "serve", code: 2, says: "serve needs livekit.api_key & TAPEDECK_LIVEKIT_API_SECRET"},
		{name: "no key of a server", args: "worker --livekit", code: 2, says: "--livekit needs livekit.api_key & livekit-server"},
		{name: "no address", args: "worker --http 7980", code: 2, says: `http.listen & "7980" & host:port & 127.0.0.1:7980`},
		{name: "no stream", args: record + "--rtmp http://a/b/c1", code: 2, says: `stream_outputs[0].urls[0] & http: & rtmp://`},
		{name: "stream without a key", args: record + "--rtmp rtmp://a/b", code: 2, says: `stream_outputs[0].urls[0] & rtmp://host/app/key`},
		{name: "stream of a file", args: record + "--rtmp @HOME/missing", code: 2, says: "--rtmp & missing & no such file"},
		{name: "neither", args: record + "-o HOME/x.mp4 --audio-only --video-only", code: 2, says: "video_only & exclude each other"},
		{name: "picture to mp3", args: record + "-o HOME/x.mp3 --video-only", code: 2, says: "file_outputs[0].filepath & .mp3 & .mp4"},
		{name: "file URL", args: "record file:///etc/passwd -o HOME/x.mp4", code: 2, says: "url & file: & http://, https://"},
		{name: "javascript URL", args: "record javascript:alert(1) -o HOME/x.mp4", code: 2, says: "url & javascript: & http://"},
		{name: "no URL", args: "record example.com -o HOME/x.mp4", code: 2, says: "url & https://"},
		{name: "two URLs", args: record + "https://two.example -o HOME/x.mp4", code: 2, says: "give one URL & record [URL] & you gave 2"},
		{name: "no output", args: record, code: 2, says: "-o out.mp4 & --hls & --stream & --s3"},
		{name: "directory", args: record + "-o HOME", code: 2, says: "-o & is a directory"},
		{name: "below a file", args: record + "-o HOME/file/x.mp4", code: 2, says: "-o & x.mp4 & not a directory"},
		{name: "not writable", args: record + "-o /proc/x.mp4", code: 2, says: "-o & /proc/x.mp4 & cannot be written"},
		{name: "extension", args: record + "-o HOME/x.avi", code: 2, says: "-o & x.avi & .webm"},
		{name: "duration", args: record + "-o HOME/x.mp4 --duration 5", code: 2, says: "--duration & 5 & unit"},
		{name: "negative", args: record + "-o HOME/x.mp4 --duration -5s", code: 2, says: "limits.max_duration & negative"},
		{name: "most", args: record + "-o HOME/x.mp4 --max-size lots", code: 2, says: "--max-size & lots & 500MB"},
		{name: "patience", args: record + "-o HOME/x.mp4 --start-timeout 1ms", code: 2, says: "limits.start_timeout & 1ms & 1s to 1h"},
		{name: "bucket", args: record + "--s3 recordings/talk.mp4", code: 2, says: "--s3 & s3://bucket/key"},
		{name: "upload", args: record + "--upload-url ftp://example.com/x", code: 2, says: "file_outputs[0].upload_url & ftp: & https://"},
		{name: "flag", args: record + "-o HOME/x.mp4 --colour", code: 2, says: "unknown flag & --colour"},
		{name: "verb", args: "rekord " + ok, code: 2, says: `unknown command & "rekord"`},
		{name: "spool", args: record + "-o HOME/x.mp4", env: []string{"TAPEDECK_SPOOL=/tmp/spool"}, code: 2, says: "spool & /tmp & /var/lib/tapedeck/spool"},
		{name: "climbing path", args: "enqueue --url " + ok + " --file ../../etc/x.mp4", code: 2, says: "file_outputs[0].filepath & ../../etc/x.mp4 & leaves"},
		{name: "absolute path", args: "enqueue --url " + ok + " --file /etc/x.mp4", code: 2, says: "file_outputs[0].filepath & /etc/x.mp4 & relative"},
		{name: "template", args: "enqueue --url " + ok + " --file {date}.mp4", code: 2, says: "{date} & {time}"},
		{name: "layout", args: "enqueue --room r --layout mosaic --file x.mp4", code: 2, says: "layout & mosaic & single-speaker"},
		{name: "room and page", args: "enqueue --room r --url " + ok + " --file x.mp4", code: 2, says: "url and room_name exclude"},
		{name: "id", args: "enqueue --url " + ok + " --file x.mp4 --id a/b", code: 2, says: `id & "a/b" & A-Z`},
		{name: "unknown key in JSON", args: "enqueue -", stdin: `{"url":"https://example.com","fps":30,"file_outputs":[{"filepath":"a.mp4","bukket":"b"}]}`, code: 2, says: "fps & file_outputs[0].bukket"},
		{name: "unknown key in YAML", args: "enqueue HOME/job.yaml", code: 2, says: "fps & file_outputs[0].bukket"},
		{name: "broken JSON", args: "enqueue -", stdin: `{"url":`, code: 2, says: "job & too early"},
		{name: "broken YAML", args: "enqueue HOME/syntax.yaml", code: 2, says: "job file & syntax.yaml & ["},
		{name: "no job file", args: "enqueue HOME/missing.yaml", code: 2, says: "job file & missing.yaml & no such file"},
		{name: "unknown key in the configuration", args: "list -c HOME/config.yaml", code: 2, says: "config.yaml & [3:3] & max_jbos"},
		{name: "broken configuration", args: "list -c HOME/broken.yaml", code: 2, says: "broken.yaml & ["},
		{name: "wrong configuration", args: "list -c HOME/wrong.yaml", code: 2, says: `worker.max_jobs & "0" & 1 to 256 & redis.lease_ttl & 1ms & 1s to 1h & log.level & loud & debug, info, warn or error`},
		{name: "no configuration", args: "list -c HOME/missing.yaml", code: 2, says: "missing.yaml & no such file"},
		{name: "variable", args: "list", env: []string{"TAPEDECK_WORKER_MAX_JOBS=many"}, code: 2, says: "TAPEDECK_ & many"},
		{name: "no Redis URL", args: "list --redis localhost:6379", code: 2, says: "redis & redis://"},
		{name: "no Redis", args: "list --redis redis://127.0.0.1:1", code: 1, says: "redis://127.0.0.1:1 & refused"},
		{name: "no id", args: "stop", code: 2, says: "give one job id & stop ID"},
		{name: "no change", args: "update x", code: 2, says: "add_stream_urls & remove_stream_urls"},
	} {
		t.Run(m.name, func(t *testing.T) { m.test(t, h, nil) })
	}
	assert.NoFileExists(t, h.path("x.mp4"))
}

func TestMistakesAboutJobs(t *testing.T) {
	t.Parallel()
	p := startPool(t)
	require.Equal(t, "taken\n", p.verb("enqueue", "--url", "https://example.com", "--file", "a.mp4", "--id", "taken").stdout)
	for _, m := range []mistake{
		{name: "stop", args: "stop nobody-knows-it", code: 1, says: "nobody-knows-it & nobody knows it"},
		{name: "update", args: "update nobody-knows-it --remove-rtmp st_00000000", code: 1, says: "nobody-knows-it & nobody knows it"},
		{name: "twice", args: "enqueue --url https://example.com --file a.mp4 --id taken", code: 1, says: "taken & exists already & queued"},
	} {
		t.Run(m.name, func(t *testing.T) { m.test(t, p.home, p.redisEnv()) })
	}
	require.Zero(t, p.verb("stop", "taken").code)
	mistake{args: "stop taken", code: 1, says: "taken & ended & aborted"}.test(t, p.home, p.redisEnv())
}

func TestHelp(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	r := h.run("--help")
	assert.Zero(t, r.code)
	for _, verb := range []string{"record", "worker", "enqueue", "stop", "update", "list", "watch", "doctor"} {
		assert.Contains(t, r.stdout, "  "+verb+" ")
		help := h.run(verb, "--help")
		assert.Zero(t, help.code, verb)
		assert.Contains(t, help.stdout, "tapedeck "+verb)
		assert.Contains(t, help.stdout, "--config")
		assert.Empty(t, help.stderr, verb)
	}
	assert.Zero(t, h.run("--version").code)
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	page := recordertest.StartPage(t)
	for _, once := range []syscall.Signal{syscall.SIGINT, syscall.SIGHUP} {
		t.Run("once: "+once.String(), func(t *testing.T) {
			h := newHome(t)
			c := h.startRecord("--json", page.URL+"/barcode", "-o", h.path("out.mp4"), "--await-start")
			c.awaitFile(h.path("spool", "*", "media-0.mp4"), someMedia, 30*time.Second)
			c.signal(once)
			assert.Zero(t, c.wait(15*time.Second), c.stderr)
			rec := c.recording()
			assert.Equal(t, recorder.StatusComplete, rec.Status)
			assert.Equal(t, recorder.EndStopped, rec.EndReason)
			probe(t, h.path("out.mp4")).requireWhole(t, 30)
		})
	}
	t.Run("twice", func(t *testing.T) {
		h, hanging := newHome(t), recordertest.NewHangingListener(t)
		c := h.startRecord("--json", page.URL+"/barcode", "-o", h.path("out.mp4"), "--await-start", "--rtmp", hanging.URL("key-000111222"))
		c.awaitFile(h.path("spool", "*", "media-0.mp4"), someMedia, 30*time.Second)
		c.signal(syscall.SIGINT)
		c.await(c.stderr, `"msg":"ending"`, 5*time.Second)
		c.signal(syscall.SIGINT)
		again := time.Now()
		c.wait(15 * time.Second)
		t.Logf("ended %v after the second signal with code %d", time.Since(again), c.code)
		assert.Less(t, time.Since(again), 3*time.Second)
		probe(t, h.path("out.mp4")).requireWhole(t, 30)
	})
	t.Run("three times", func(t *testing.T) {
		h := newHome(t)
		c := h.startRecord(page.URL+"/markers?start=0&end=500", "--await-start", "--upload-url", page.URL+"/silent-server")
		c.await(c.stderr, `"msg":"ending"`, 30*time.Second)
		c.signal(syscall.SIGINT)
		c.await(c.stderr, "a second signal leaves", 5*time.Second)
		c.signal(syscall.SIGINT)
		c.await(c.stderr, "a third signal kills", 5*time.Second)
		c.signal(syscall.SIGINT)
		assert.Equal(t, 128+int(syscall.SIGINT), c.wait(10*time.Second), "the upload would not end at all")
	})
	t.Run("before the start", func(t *testing.T) {
		h := newHome(t)
		c := h.start(nil, "record", "--json", "--log-format", "json", page.URL+"/never", "-o", h.path("out.mp4"), "--await-start")
		c.await(c.stderr, "session opened", recordStart)
		c.signal(syscall.SIGINT)
		assert.Equal(t, 1, c.wait(15*time.Second))
		rec := c.recording()
		assert.Equal(t, recorder.StatusAborted, rec.Status)
		assert.NoFileExists(t, h.path("out.mp4"))
	})
}

// TestTerminal looks at the live line the way a terminal gets it.
func TestTerminal(t *testing.T) {
	t.Parallel()
	page, h := recordertest.StartPage(t), newHome(t)
	_, err := exec.LookPath("script")
	require.NoError(t, err, "util-linux's script gives a terminal")
	c := h.startProgram(nil, "script", "--quiet", "--return", "--command",
		"stty cols 200; exec "+tapedeck+" record "+page.URL+"/barcode -o "+h.path("out.mp4")+" --await-start --rtmp rtmp://127.0.0.1:1/live/key-000111222", "/dev/null")
	c.await(c.stdout, "starting: waiting for http", recordStart)
	// Which second is shown, and at what rate, is the machine's.
	recorded := regexp.MustCompile(`active · 0:00:0[4-9] · \d+ fps · `)
	c.awaitLike(c.stdout, recorded, recordStart)
	h.look()
	_, err = c.stdin.Write([]byte{3}) // Ctrl-C
	require.NoError(t, err)
	assert.Zero(t, c.wait(20*time.Second))
	lines := strings.Split(c.stdout.String(), "\r\x1b[2K")
	line := lines[0]
	for _, l := range lines {
		if recorded.MatchString(l) {
			line = l
		}
	}
	t.Logf("live line: %s", line)
	for _, part := range []string{" dropped · ", " kB · audio -", " dB · ", "rtmp://127.0.0.1:1/live/{key...222} retrying ("} {
		assert.Contains(t, line, part)
	}
	last := lines[len(lines)-1]
	t.Logf("at the end: %s", last)
	for _, part := range []string{"complete (stopped)", h.path("out.mp4"), "1280x720", "h264 + aac", "Connection refused"} {
		assert.Contains(t, last, part)
	}
	probe(t, h.path("out.mp4"))
}
