package upload_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/upload"
)

func TestSpoolRefusesPlacesThatForget(t *testing.T) {
	link := filepath.Join(t.TempDir(), "innocent")
	require.NoError(t, os.Symlink("/dev/shm", link))
	for _, dir := range []string{"", os.TempDir(), "/tmp/spool", "/var/tmp/a/b", "/dev/shm/x", link + "/spool"} {
		_, err := upload.NewSpool(dir, upload.Options{})
		require.Error(t, err, dir)
		require.Equal(t, recorder.CodeInvalid, recorder.CodeOf(err))
		require.Contains(t, err.Error(), "spool directory")
	}
	require.NoDirExists(t, "/var/tmp/a")
	open := filepath.Join(t.TempDir(), "open")
	require.NoError(t, os.Mkdir(open, 0o777))
	require.NoError(t, os.Chmod(open, 0o777))
	_, err := upload.NewSpool(open, upload.Options{AllowTemp: true})
	require.ErrorContains(t, err, "chmod 700")
	_, err = upload.NewSpool(t.TempDir(), upload.Options{AllowTemp: true, Default: upload.Storage{Directory: "relative"}})
	require.ErrorContains(t, err, "absolute")
}

func TestCreateKeepsToTheSpool(t *testing.T) {
	d := newDeck(t, upload.Options{})
	for _, id := range []string{"", "..", "../x", "a/b", "a\x00", "a.b", strings.Repeat("a", 65), "-\n"} {
		_, err := d.Create(recorder.Task{Job: recorder.Job{ID: id}})
		require.Error(t, err, "%q", id)
	}
	found, err := os.ReadDir(d.dir)
	require.NoError(t, err)
	require.Empty(t, found)
}

func TestEntryIsPrivateAndLocked(t *testing.T) {
	d := newDeck(t, upload.Options{})
	a := d.entry(one("job", recorder.FileOutput{}), []byte("a"))
	b := d.entry(one("job", recorder.FileOutput{}), []byte("b")) // the same id and attempt once more
	require.NotEqual(t, a.Task().Dir, b.Task().Dir)
	require.Equal(t, filepath.Join(d.dir, "job-1"), a.Task().Dir)
	for path, mode := range map[string]os.FileMode{d.dir: 0o700, a.Task().Dir: 0o700, a.Task().Dir + "/task.json": 0o600, a.Task().Dir + "/recording.json": 0o600} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm(), path)
	}
	left, err := d.Left()
	require.NoError(t, err)
	require.Empty(t, left, "both are locked")
	require.NoError(t, a.Close())
	left, err = d.Left()
	require.NoError(t, err)
	require.Len(t, left, 1)
	require.Equal(t, a.Task(), left[0].Task())
}

func TestSaveComesBack(t *testing.T) {
	d := newDeck(t, upload.Options{})
	e := d.entry(one("job", recorder.FileOutput{}), []byte("a"))
	rec := e.Task().Recording
	rec.Status, rec.Files[0].Size = recorder.StatusActive, 7
	require.NoError(t, e.Save(rec))
	rec.Files[0].Size = 8 // the entry keeps what was saved
	require.NoError(t, e.Close())
	left, err := d.Left()
	require.NoError(t, err)
	require.Equal(t, recorder.StatusActive, left[0].Task().Recording.Status)
	require.EqualValues(t, 7, left[0].Task().Recording.Files[0].Size)
}

func TestLeftSurvivesGarbage(t *testing.T) {
	d := newDeck(t, upload.Options{})
	write := func(path, text string) {
		path = filepath.Join(d.dir, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	write("broken-1/task.json", `{"job": {"secret": "hunter2hunter2`)
	write("broken-1/media-0.mp4", "precious")
	write("orphan-1/media-0.mp4", "precious too")
	write("climber-1/task.json", `{"job":{"id":"../../etc"}}`)
	write("empty-1/job.log", "a log that was kept")
	write("lost+found/x", "")
	write("file-1", "not a directory")
	good := d.entry(one("good", recorder.FileOutput{}), []byte("a"))
	require.NoError(t, os.WriteFile(filepath.Join(good.Task().Dir, "recording.json"), []byte("{"), 0o600))
	require.NoError(t, good.Close())

	left, err := d.Left()
	require.NoError(t, err)
	require.Len(t, left, 1)
	require.Equal(t, "good", left[0].Task().Job.ID)
	require.Equal(t, "talks/talk.mp4", left[0].Task().Recording.Files[0].Filename)
	require.FileExists(t, filepath.Join(d.dir, "broken-1/media-0.mp4"))
	require.FileExists(t, filepath.Join(d.dir, "orphan-1/media-0.mp4"))
	again, err := d.Left()
	require.NoError(t, err)
	require.Empty(t, again)
	require.Equal(t, 3, d.logs.FilterMessageSnippet("damaged and kept").Len(), "told once, however often somebody looks")
	d.requireNoSecret(recorder.Recording{}, "hunter2hunter2hunter2") // task.json is exempt; the log is not
	for _, l := range d.logs.All() {
		require.NotContains(t, l.ContextMap(), "hunter2")
	}
	left[0].Close()
	_, err = d.Left()
	require.NoError(t, err, "again and again")
}

func TestLeftSweepsWhatCreateDidNotFinish(t *testing.T) {
	d := newDeck(t, upload.Options{})
	dir := filepath.Join(d.dir, ".new-123")
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, os.WriteFile(dir+"/task.json", []byte("{}"), 0o600))
	_, err := d.Left()
	require.NoError(t, err)
	require.DirExists(t, dir, "a process may be at it")
	old := time.Now().Add(-2 * time.Hour)
	require.NoError(t, os.Chtimes(dir, old, old))
	_, err = d.Left()
	require.NoError(t, err)
	require.NoDirExists(t, dir)
}

func TestFreeKeepsTheNewestLogs(t *testing.T) {
	d := newDeck(t, upload.Options{KeepLogs: 2, Default: upload.Storage{Directory: t.TempDir()}})
	var dirs []string
	for i, id := range []string{"a", "b", "c"} {
		e := d.entry(one(id, recorder.FileOutput{Filepath: id + ".mp4"}), []byte(id))
		dir := e.Task().Dir
		require.NoError(t, os.WriteFile(dir+"/job.log", []byte("log"), 0o600))
		requireDelivered(t, deliver(t, e))
		require.NoError(t, e.Free())
		at := time.Now().Add(time.Duration(i-10) * time.Minute)
		require.NoError(t, os.Chtimes(dir, at, at))
		dirs = append(dirs, dir)
	}
	d.entry(one("d", recorder.FileOutput{}), []byte("d"))
	e := d.entry(one("e", recorder.FileOutput{}), nil)
	deliver(t, e)
	require.NoError(t, e.Free())
	require.NoDirExists(t, dirs[0])
	require.NoDirExists(t, dirs[1])
	require.FileExists(t, dirs[2]+"/job.log")
	require.NoFileExists(t, dirs[2]+"/task.json", "it held secrets")
	left, err := d.Left()
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestLeftAfterKill is a process that is killed while it has an entry.
func TestLeftAfterKill(t *testing.T) {
	if dir := os.Getenv("TAPEDECK_TEST_HOLD"); dir != "" {
		holdEntry(t, dir)
	}
	d := newDeck(t, upload.Options{Default: upload.Storage{Directory: t.TempDir()}})
	cmd := exec.Command(os.Args[0], "-test.run=^TestLeftAfterKill$")
	cmd.Env = append(os.Environ(), "TAPEDECK_TEST_HOLD="+d.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = out.Read(make([]byte, 1)) // it has the entry
	require.NoError(t, err)
	left, err := d.Left()
	require.NoError(t, err)
	require.Empty(t, left)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	left, err = d.Left()
	require.NoError(t, err)
	require.Len(t, left, 1)
	requireDelivered(t, deliver(t, left[0]))
	require.NoError(t, left[0].Free())
}

func holdEntry(t *testing.T, dir string) {
	s, err := upload.NewSpool(dir, upload.Options{AllowTemp: true})
	require.NoError(t, err)
	e, err := s.Create(task(one("held", recorder.FileOutput{}), []byte("x")))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(media(e), []byte("half a recording"), 0o644))
	_, _ = os.Stdout.WriteString("!")
	select {}
}

func TestLeftLeavesWhatIsStillRecorded(t *testing.T) {
	d := newDeck(t, upload.Options{Default: upload.Storage{Directory: t.TempDir()}})
	e := d.entry(one("job", recorder.FileOutput{}), []byte("a"))
	child := flock.New(filepath.Join(e.Task().Dir, recorder.MediaLock))
	ok, err := child.TryLock()
	require.NoError(t, err)
	require.True(t, ok)
	require.NoError(t, e.Close()) // the worker dies, its child finalises
	left, err := d.Left()
	require.NoError(t, err)
	require.Empty(t, left)
	require.NoError(t, child.Close())
	left, err = d.Left()
	require.NoError(t, err)
	require.Len(t, left, 1)
	requireDelivered(t, deliver(t, left[0]))
	require.NoError(t, left[0].Free())
}
