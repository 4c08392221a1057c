package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/upload"
)

// shelf is a spool with entries of a worker that is gone, and a storage.
type shelf struct {
	t       *testing.T
	spool   *upload.Spool
	storage string
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	dir := diskSpool(t)
	s := &shelf{t: t, storage: filepath.Join(dir, "storage")}
	var err error
	s.spool, err = upload.NewSpool(filepath.Join(dir, "spool"), upload.Options{})
	require.NoError(t, err)
	t.Setenv("TAPEDECK_SPOOL", s.spool.Dir())
	t.Setenv("TAPEDECK_STORAGE_DIRECTORY", s.storage)
	return s
}

// put makes an entry whose media were last written to so long ago. It is locked.
func (s *shelf) put(id, worker string, ago time.Duration) (recorder.SpoolEntry, string) {
	s.t.Helper()
	job := recorder.Job{
		ID: id, Source: recorder.Source{URL: "https://example.com"},
		Files: []recorder.FileOutput{{Filepath: id + ".mp4", DisableManifest: true}},
	}
	rec := recorder.NewRecording(job, time.Now())
	rec.Status, rec.Worker, rec.Attempt, rec.StartedAt = recorder.StatusActive, worker, 1, time.Now().UnixNano()
	rec.UpdatedAt = time.Now().Add(-ago).UnixNano()
	entry, err := s.spool.Create(recorder.Task{Job: job, Recording: rec})
	require.NoError(s.t, err)
	dir := entry.Task().Dir
	media := filepath.Join(dir, recorder.MediaName(0, rec.Files[0]))
	require.NoError(s.t, os.WriteFile(media, []byte(strings.Repeat("x", 2000)), 0o600))
	at := time.Now().Add(-ago)
	require.NoError(s.t, os.Chtimes(media, at, at))
	return entry, dir
}

// leave makes one that nobody works on.
func (s *shelf) leave(id, worker string, ago time.Duration) (dir string) {
	s.t.Helper()
	entry, dir := s.put(id, worker, ago)
	require.NoError(s.t, entry.Close())
	return dir
}

func (s *shelf) list(args ...string) map[string]spoolLine {
	s.t.Helper()
	code, out, errOut := verb(soon(s.t), append([]string{"spool", "ls", "--json"}, args...)...)
	require.Zero(s.t, code, errOut)
	found := map[string]spoolLine{}
	for _, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		var l spoolLine
		if line != "" {
			require.NoError(s.t, json.Unmarshal([]byte(line), &l), line)
			found[l.ID] = l
		}
	}
	return found
}

// stored lists what arrived. What is on its way has a name that begins with a dot.
func (s *shelf) stored() []string {
	s.t.Helper()
	found, err := filepath.Glob(filepath.Join(s.storage, "[^.]*"))
	require.NoError(s.t, err)
	for i := range found {
		found[i] = filepath.Base(found[i])
	}
	return found
}

func TestSpoolList(t *testing.T) {
	s := newShelf(t)
	running, _ := s.put("EG_running", "w1", 3*time.Hour)
	defer running.Close()
	s.leave("EG_orphan", "w1", 2*time.Hour)
	s.leave("EG_left", "", time.Minute)
	damaged := s.leave("EG_damaged-2", "w1", time.Minute)
	require.NoError(t, os.WriteFile(filepath.Join(damaged, "task.json"), []byte("{"), 0o600))

	all := s.list()
	states := map[string]string{}
	for id, l := range all {
		states[id] = l.State
	}
	assert.Equal(t, map[string]string{
		"EG_running": entryRunning, "EG_orphan": entryOrphan, "EG_left": entryLeft, "EG_damaged-2": entryDamaged,
	}, states)
	orphan := all["EG_orphan"]
	assert.EqualValues(t, 2000, orphan.Undelivered)
	assert.Equal(t, []any{"w1", 1, recorder.StatusActive}, []any{orphan.Worker, orphan.Part, orphan.Status})
	age, err := time.ParseDuration(orphan.Age)
	require.NoError(t, err)
	assert.InDelta(t, 2*time.Hour, age, float64(time.Minute), "counted from the media")

	assert.Len(t, s.list("--older-than", "10m"), 2)
	t.Setenv("TAPEDECK_WORKER_SPOOL_ORPHAN_AGE", "4h")
	assert.Equal(t, entryLeft, s.list()["EG_orphan"].State)
	code, out, _ := verb(soon(t), "spool", "ls")
	assert.Zero(t, code)
	lines := strings.Split(out.String(), "\n")
	assert.Contains(t, lines[1], "EG_running-1", "the oldest comes first")
	assert.Contains(t, lines[1], "2 kB")
}

func TestSpoolPushTellsTheJob(t *testing.T) {
	embedded(t, "127.0.0.1:0")
	s := newShelf(t)
	require.NoError(t, os.MkdirAll(s.storage, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(s.storage, "EG_1.mp4"), []byte("of the worker that took over"), 0o600))
	q, lease := claimed(t, "EG_1", "w2")
	dir := s.leave("EG_1", "w1", time.Minute)
	s.leave("EG_other", "w1", time.Minute)

	code, out, errOut := verb(soon(t), "spool", "push")
	assert.Zero(t, code, errOut)
	assert.Contains(t, out.String(), "EG_1-1: left to worker w1")
	assert.Equal(t, []string{"EG_1.mp4"}, s.stored())

	code, out, errOut = verb(soon(t), "spool", "push", "EG_1")
	assert.Zero(t, code, errOut)
	assert.Contains(t, out.String(), "EG_1.mp4: delivered")
	assert.Contains(t, out.String(), "as EG_1-2.mp4, for another recording has its name")
	assert.Contains(t, out.String(), "job EG_1 is told later", "its owner goes on")
	assert.ElementsMatch(t, []string{"EG_1.mp4", "EG_1-2.mp4"}, s.stored())
	assert.Equal(t, entryUntold, s.list()["EG_1"].State)

	rec := lease.Recording()
	rec.Status, rec.EndReason = recorder.StatusComplete, recorder.EndStopped
	rec.Files[0].State = recorder.FileDelivered
	require.NoError(t, lease.Finish(soon(t), rec))
	code, out, errOut = verb(soon(t), "spool", "push", filepath.Base(dir))
	assert.Zero(t, code, errOut)
	assert.Contains(t, out.String(), "job EG_1 was told")
	assert.NotContains(t, s.list(), "EG_1")
	assert.Len(t, s.stored(), 2, "nothing is stored twice")
	found, err := q.List(soon(t), recorder.Filter{IDs: []string{"EG_1"}})
	require.NoError(t, err)
	told, err := json.Marshal(found)
	require.NoError(t, err)
	assert.Contains(t, string(told), `"filename":"EG_1-2.mp4","state":"delivered"`)
	assert.Contains(t, s.list(), "EG_other", "nobody asked for it")
}

// What a part knew of the parts before it is older than the job's result.
func TestSpoolPushTellsOfOnePart(t *testing.T) {
	embedded(t, "127.0.0.1:0")
	s := newShelf(t)
	q, lease := claimed(t, "EG_1", "w2")
	rec := lease.Recording()
	rec.Status, rec.Part = recorder.StatusFailed, 2
	rec.Files[0] = recorder.FileResult{Filename: "EG_1.part2.mp4", State: recorder.FilePending}
	rec.Earlier = []recorder.Part{{Part: 1, Files: []recorder.FileResult{{Filename: "EG_1-2.mp4", State: recorder.FileDelivered}}}}
	require.NoError(t, lease.Finish(soon(t), rec))
	s.leaveAs("EG_1", func(late *recorder.Recording) {
		late.Part, late.Files[0].Filename = 2, "EG_1.part2.mp4"
		late.Earlier = []recorder.Part{{Part: 1, Files: []recorder.FileResult{{Filename: "EG_1.mp4", State: recorder.FilePending}}}}
	})

	code, out, errOut := verb(soon(t), "spool", "push", "EG_1")
	assert.Zero(t, code, errOut)
	assert.Contains(t, out.String(), "job EG_1 was told")
	found, err := q.List(soon(t), recorder.Filter{IDs: []string{"EG_1"}})
	require.NoError(t, err)
	require.Len(t, found, 1)
	assert.Equal(t, recorder.FileDelivered, found[0].Files[0].State)
	assert.Equal(t, rec.Earlier, found[0].Earlier)
}

func TestSpoolPushKeepsWhatIsNotDelivered(t *testing.T) {
	t.Setenv("TAPEDECK_REDIS_URL", "redis://127.0.0.1:1")
	s := newShelf(t)
	busy, _ := s.put("EG_busy", "w1", time.Hour)
	dir := s.leave("EG_1", "w1", time.Hour)
	s.leave("EG_new", "w1", 0)
	require.NoError(t, os.WriteFile(s.storage, []byte("no directory"), 0o600))

	code, _, errOut := verb(soon(t), "spool", "push", "EG_nobody")
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, errOut.String(), `"EG_nobody": no such job or entry`)
	code, out, errOut := verb(soon(t), "spool", "push", "EG_busy")
	assert.Equal(t, exitFailed, code, errOut)
	assert.Contains(t, out.String(), "EG_busy-1: a running process works on it")

	code, _, errOut = verb(soon(t), "spool", "push", "--older-than", "30m", "--patience", "1ms")
	assert.Equal(t, exitFailed, code, "what is busy is no failure, what is not delivered is")
	assert.Contains(t, errOut.String(), "EG_1-1 was not delivered: the spool keeps it")
	assert.NotContains(t, errOut.String(), "EG_busy")
	media, err := os.ReadFile(filepath.Join(dir, "media-0.mp4"))
	require.NoError(t, err)
	assert.Len(t, media, 2000)

	require.NoError(t, os.Remove(s.storage))
	code, out, errOut = verb(soon(t), "spool", "push", "--older-than", "30m")
	assert.Zero(t, code, errOut)
	assert.Contains(t, out.String(), "job EG_1 was not told, for Redis does not answer")
	assert.Equal(t, []string{"EG_1.mp4"}, s.stored())
	assert.Equal(t, entryUntold, s.list()["EG_1"].State, "it is told later")
	assert.Equal(t, entryLeft, s.list()["EG_new"].State, "it is too new")
	code, out, errOut = verb(soon(t), "spool", "push")
	assert.Zero(t, code, errOut)
	assert.Contains(t, out.String(), "EG_busy-1: a running process works on it")
	assert.Contains(t, out.String(), "EG_new-1: left to worker w1 (--all delivers it now)")
	code, _, errOut = verb(soon(t), "spool", "push", "--all")
	assert.Equal(t, exitFailed, code, "what is busy is not delivered")
	assert.Contains(t, errOut.String(), "EG_busy-1 was not delivered: whoever works on it delivers it")
	assert.Contains(t, errOut.String(), "EG_new-1 was not delivered: it was cut off", "a worker may go on from it")
	require.NoError(t, busy.Close())
	code, _, errOut = verb(soon(t), "spool", "push", "EG_busy")
	assert.Zero(t, code, errOut)
	assert.ElementsMatch(t, []string{"EG_1.mp4", "EG_busy.mp4"}, s.stored())
}

// What a worker records on from is the end of nothing, unless its job has ended.
func TestSpoolPushLeavesWhatIsGoneOnWith(t *testing.T) {
	embedded(t, "127.0.0.1:0")
	s := newShelf(t)
	_, lease := claimed(t, "EG_1", "w1")
	s.leave("EG_1", "w1", 0)
	code, _, errOut := verb(soon(t), "spool", "push", "EG_1")
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, errOut.String(), "a worker may record on")
	assert.Empty(t, s.stored())
	entry, err := s.spool.Left()
	require.NoError(t, err)
	require.Len(t, entry, 1, "nobody has it")
	assert.True(t, entry[0].Task().CutOff(time.Now()))
	require.NoError(t, entry[0].Close())

	rec := lease.Recording()
	rec.Status, rec.EndReason = recorder.StatusFailed, recorder.EndWorkerLost
	require.NoError(t, lease.Finish(soon(t), rec))
	code, _, errOut = verb(soon(t), "spool", "push", "EG_1")
	assert.Zero(t, code, errOut)
	assert.Equal(t, []string{"EG_1.mp4"}, s.stored())
}

// What is only looked at is not made.
func TestSpoolThatIsNotThere(t *testing.T) {
	spool := filepath.Join(diskSpool(t), "mistyped")
	t.Setenv("TAPEDECK_SPOOL", spool)
	for _, args := range [][]string{{"ls"}, {"ls", "--json"}, {"push"}, {"push", "--all"}} {
		code, out, errOut := verb(soon(t), append([]string{"spool"}, args...)...)
		assert.Zero(t, code, errOut)
		assert.Empty(t, out.String())
		assert.Contains(t, errOut.String(), "does not exist")
		assert.NoDirExists(t, spool)
	}
	code, _, errOut := verb(soon(t), "spool", "push", "EG_1")
	assert.Equal(t, exitUsage, code, errOut)
	for _, name := range []string{"ls", "push"} {
		code, _, errOut = verb(soon(t), "spool", name, "--older-than=-1h")
		assert.Equal(t, exitUsage, code)
		assert.Contains(t, errOut.String(), "--older-than: -1h0m0s: give 0 or more")
	}
}
