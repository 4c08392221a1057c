package queue_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// shown gives the code that docs/queue.md shows under a mark.
func shown(t *testing.T, mark string) string {
	t.Helper()
	doc, err := os.ReadFile("../../docs/queue.md")
	require.NoError(t, err)
	found := regexp.MustCompile("(?s)<!-- test: " + mark + " -->\n```[a-z]*\n(.*?)```").FindSubmatch(doc)
	require.NotNil(t, found, "docs/queue.md shows nothing under %q", mark)
	return string(found[1])
}

// requireStoppedJob checks that what an example did is one job and one stop.
func requireStoppedJob(t *testing.T, url string) {
	t.Helper()
	q := open(t, url, testOptions(t, "w1"))
	l := claim(t, q)
	assert.Equal(t, "https://example.com/", l.Job().URL)
	assert.Equal(t, "talks/"+l.Job().ID+".mp4", l.Recording().Files[0].Filename)
	select {
	case c := <-l.Commands():
		assert.Equal(t, recorder.Command{Kind: recorder.CommandStop, Reason: recorder.EndStopped}, c)
	case <-time.After(patience):
		t.Fatal("no command came")
	}
	require.NoError(t, l.Finish(t.Context(), as(l.Recording(), recorder.StatusAborted)))
}

// execute runs a program of an example with the server's URL in its environment.
func execute(t *testing.T, dir, url, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "REDIS_URL="+url)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}

func TestDocsRedisCLI(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	execute(t, t.TempDir(), r.URL(), "sh", "-euc", shown(t, "redis-cli"))
	requireStoppedJob(t, r.URL())
}

func TestDocsGo(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	require.Contains(t, string(source), shown(t, "go"), "docs/queue.md and example_test.go differ")
	r := recordertest.StartRedis(t)
	_, err = enqueueAndStop(t.Context(), client(t, r.URL()))
	require.NoError(t, err)
	requireStoppedJob(t, r.URL())
}

func TestDocsPython(t *testing.T) {
	t.Parallel()
	code := shown(t, "python")
	const python = "/usr/bin/python3" // Debian's own: set-up gives it the redis package
	r := recordertest.StartRedis(t)
	execute(t, t.TempDir(), r.URL(), python, "-c", code)
	requireStoppedJob(t, r.URL())
}

func TestDocsNode(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("no node here")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "enqueue.mjs")
	require.NoError(t, os.WriteFile(file, []byte(shown(t, "node")), 0o600))
	execute(t, dir, "", "node", "--check", file)
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--silent", "redis@6.3.1")
	npm.Dir = dir
	if out, err := npm.CombinedOutput(); err != nil {
		t.Logf("the redis package was not to be had, only the syntax was checked: %v %s", err, strings.TrimSpace(string(out)))
		return
	}
	r := recordertest.StartRedis(t)
	execute(t, dir, r.URL(), "node", file)
	requireStoppedJob(t, r.URL())
}
