package upload_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"tapedeck/recorder"
	"tapedeck/recorder/upload"
)

func TestDirectory(t *testing.T) {
	out := t.TempDir()
	d := newDeck(t, upload.Options{Default: upload.Storage{Directory: out, Prefix: "rec"}})
	data := noise(1, 3*mib)
	e := d.entry(one("job", recorder.FileOutput{}), data)
	var states []recorder.FileState
	rec := e.Deliver(t.Context(), e.Task().Recording, func(r recorder.Recording) { states = append(states, r.Files[0].State) })
	requireDelivered(t, rec)
	require.Equal(t, []recorder.FileState{recorder.FileUploading, recorder.FileDelivered}, states)
	path := filepath.Join(out, "rec/talks/talk.mp4")
	require.Equal(t, path, rec.Files[0].Location)
	require.Equal(t, "talks/talk.mp4", rec.Files[0].Filename)
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, data, got)
	require.NoFileExists(t, media(e))

	var m upload.Manifest
	text, err := os.ReadFile(path + ".json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &m))
	require.Equal(t, "job", m.EgressID)
	require.Equal(t, "standup", m.RoomName)
	require.Equal(t, "standup", m.RoomID)
	require.EqualValues(t, 1_700_000_000_000_000_000, m.StartedAt)
	require.EqualValues(t, 1_700_000_060_000_000_000, m.EndedAt)
	require.Equal(t, recorder.EndSignal, m.EndReason)
	require.Equal(t, rec.Files[0].SHA256, m.Files[0].SHA256)
	require.EqualValues(t, 3*mib, m.Files[0].Size)
	info, err := os.Stat(path + ".json")
	require.NoError(t, err)
	require.NotZero(t, info.Mode().Perm()&0o040, "others may read what is delivered")
	names, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, names, 3, "two manifests, and no temporary file is left")
	require.NoError(t, e.Free())
	require.NoDirExists(t, e.Task().Dir)
}

func TestDirectoryOnAnotherFileSystem(t *testing.T) {
	out, err := os.MkdirTemp("/dev/shm", "tapedeck-test-")
	if err != nil {
		t.Skip("no second file system at /dev/shm")
	}
	t.Cleanup(func() { _ = os.RemoveAll(out) })
	d := newDeck(t, upload.Options{Default: upload.Storage{Directory: out}})
	data := noise(2, 2*mib)
	e := d.entry(one("job", recorder.FileOutput{}), data)
	requireDelivered(t, deliver(t, e))
	got, err := os.ReadFile(filepath.Join(out, "talks/talk.mp4"))
	require.NoError(t, err)
	require.Equal(t, data, got)
}

// Two workers may deliver parts of one job to one directory at once: neither
// touches what the other is copying.
func TestDirectoryIsSharedByTheEntriesOfAJob(t *testing.T) {
	out := t.TempDir()
	d := newDeck(t, upload.Options{Default: upload.Storage{Directory: out}})
	job := one("job", recorder.FileOutput{Filepath: "talk.mp4"})
	first, second := d.entry(job, []byte("one")), d.entry(job, []byte("two"))
	require.NoError(t, os.Chmod(media(first), 0o600)) // so that it is copied
	copying := filepath.Join(out, ".tapedeck-"+filepath.Base(second.Task().Dir)+"-0.part")
	require.NoError(t, os.WriteFile(copying, []byte("half of"), 0o600))
	requireDelivered(t, deliver(t, first))
	text, err := os.ReadFile(copying)
	require.NoError(t, err)
	require.Equal(t, "half of", string(text))
	requireDelivered(t, deliver(t, second))
	require.NoFileExists(t, copying)
}

func TestDirectoryNeverReplacesSilently(t *testing.T) {
	out := t.TempDir()
	d := newDeck(t, upload.Options{Default: upload.Storage{Directory: out}})
	first := d.entry(one("first", recorder.FileOutput{Filepath: "talk.mp4"}), []byte("one"))
	requireDelivered(t, deliver(t, first))
	second := d.entry(one("second", recorder.FileOutput{Filepath: "talk.mp4"}), []byte("two"))
	rec := deliver(t, second)
	requireDelivered(t, rec)
	require.Equal(t, "talk-2.mp4", rec.Files[0].Filename)
	require.Equal(t, filepath.Join(out, "talk-2.mp4"), rec.Files[0].Location)
	require.FileExists(t, filepath.Join(out, "talk-2.mp4.json"))
	text, _ := os.ReadFile(filepath.Join(out, "talk.mp4"))
	require.Equal(t, "one", string(text))

	d.opts.Default.Overwrite = true
	d.reopen()
	third := d.entry(one("third", recorder.FileOutput{Filepath: "talk.mp4"}), []byte("three"))
	rec = deliver(t, third)
	require.Equal(t, filepath.Join(out, "talk.mp4"), rec.Files[0].Location)
	text, _ = os.ReadFile(filepath.Join(out, "talk.mp4"))
	require.Equal(t, "three", string(text))
}

func TestPathsNeverLeaveTheStorage(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	d := newDeck(t, upload.Options{Default: upload.Storage{Directory: out}})
	for i, name := range []string{"../up.mp4", "/abs.mp4", "a/../../up.mp4", "..", "", "a\x00.mp4", `..\up.mp4`, "dir/"} {
		job := one("job", recorder.FileOutput{})
		tk := task(job, []byte("x"))
		tk.Recording.Files[0].Filename = name
		e, err := d.Create(tk)
		require.NoError(t, err)
		path := filepath.Join(e.Task().Dir, recorder.MediaName(0, tk.Recording.Files[0]))
		require.NoError(t, os.WriteFile(path, []byte("x"), 0o600))
		rec := e.Deliver(t.Context(), tk.Recording, nil)
		require.Equal(t, recorder.FileRefused, rec.Files[0].State, "%d %q", i, name)
		require.FileExists(t, path)
		require.ErrorIs(t, e.Free(), upload.ErrUndelivered)
	}
	require.NoFileExists(t, filepath.Join(filepath.Dir(out), "up.mp4"))
}

func TestEmptyAndAbsent(t *testing.T) {
	d := newDeck(t, upload.Options{Default: upload.Storage{Directory: t.TempDir()}})
	e := d.entry(recorder.Job{ID: "job"}, []byte{}, nil, []byte("here"))
	rec := deliver(t, e)
	require.Equal(t, recorder.FileEmpty, rec.Files[0].State)
	require.Equal(t, recorder.FileEmpty, rec.Files[1].State)
	require.NotEmpty(t, rec.Files[1].Error)
	require.Equal(t, recorder.FileDelivered, rec.Files[2].State)
	require.NoError(t, e.Free())
}

// What was recorded, and is not in the spool any more, is not told of as nothing: its entry stays, and
// when the file is back, it leaves.
func TestMediaThatAreGone(t *testing.T) {
	d := newDeck(t, upload.Options{Default: upload.Storage{Directory: t.TempDir()}})
	data := noise(3, 4096)
	begun := task(one("job", recorder.FileOutput{}), data)
	begun.Recording.Files[0].Size = int64(len(data))
	e := d.entryOf(begun, data)
	for name, lose := range map[string]func() error{
		"removed":   func() error { return os.Remove(media(e)) },
		"truncated": func() error { return os.WriteFile(media(e), nil, 0o600) },
	} {
		require.NoError(t, lose(), name)
		f := deliver(t, e).Files[0]
		require.Equal(t, recorder.FileRefused, f.State, name)
		require.Contains(t, f.Error, "media-0.mp4 is not in the spool any more, although 4096 bytes of it were")
		require.NoError(t, os.WriteFile(media(e), data, 0o600))
	}
	require.NoError(t, os.Remove(media(e)))
	require.ErrorIs(t, e.Free(), upload.ErrUndelivered)
	d.reopen()
	left, err := d.Left()
	require.NoError(t, err)
	require.Len(t, left, 1)
	require.NoError(t, os.WriteFile(media(left[0]), data, 0o600))
	requireDelivered(t, deliver(t, left[0]))
	require.NoError(t, left[0].Free())
}

func TestNoStorageAtAll(t *testing.T) {
	d := newDeck(t, upload.Options{})
	e := d.entry(one("job", recorder.FileOutput{}), []byte("kept"))
	rec := deliver(t, e)
	require.Equal(t, recorder.FileRefused, rec.Files[0].State)
	require.Contains(t, rec.Files[0].Error, "names no storage")
	require.FileExists(t, media(e))
}

func TestDiskErrorsAreRetriedAndExplained(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	require.NoError(t, os.WriteFile(out, []byte("a file where a directory should be"), 0o600))
	d := newDeck(t, upload.Options{Default: upload.Storage{Directory: out}})
	e := d.entry(one("job", recorder.FileOutput{}), []byte("kept"))
	mended := false
	rec := e.Deliver(t.Context(), e.Task().Recording, func(r recorder.Recording) {
		if f := r.Files[0]; f.State == recorder.FilePending && f.Retries == 2 && !mended {
			require.Contains(t, f.Error, "choose another name")
			require.NoError(t, os.Remove(out))
			mended = true
		}
	})
	requireDelivered(t, rec)
	require.Equal(t, 2, rec.Files[0].Retries)
}

func TestGiveUpKeepsTheMediaForTheNextLife(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	require.NoError(t, os.WriteFile(out, nil, 0o600))
	d := newDeck(t, upload.Options{GiveUpAfter: 100 * time.Millisecond, Default: upload.Storage{Directory: out}})
	e := d.entry(one("job", recorder.FileOutput{}), []byte("kept"))
	rec := deliver(t, e)
	require.Equal(t, recorder.FileRefused, rec.Files[0].State)
	require.ErrorIs(t, e.Free(), upload.ErrUndelivered)
	require.NoError(t, os.Remove(out))
	left, err := d.Left()
	require.NoError(t, err)
	require.Len(t, left, 1)
	requireDelivered(t, deliver(t, left[0]))
}

func TestCancelLeavesPending(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	require.NoError(t, os.WriteFile(out, nil, 0o600))
	d := newDeck(t, upload.Options{Default: upload.Storage{Directory: out}})
	e := d.entry(one("job", recorder.FileOutput{}), []byte("kept"))
	ctx, cancel := context.WithCancel(t.Context())
	rec := e.Deliver(ctx, e.Task().Recording, func(r recorder.Recording) {
		if r.Files[0].Retries > 0 {
			cancel()
		}
	})
	require.Equal(t, recorder.FilePending, rec.Files[0].State)
	require.NotEmpty(t, rec.Files[0].Error)
	require.Equal(t, rec, e.Task().Recording)
}

// A process that is killed between placing and saving must not place twice.
func TestPlacedButNotSaved(t *testing.T) {
	out := t.TempDir()
	d := newDeck(t, upload.Options{Default: upload.Storage{Directory: out}})
	e := d.entry(one("job", recorder.FileOutput{Filepath: "talk.mp4"}), []byte("placed"))
	require.NoError(t, os.WriteFile(filepath.Join(out, "talk.mp4"), []byte("placed"), 0o600))
	rec := deliver(t, e)
	require.Equal(t, filepath.Join(out, "talk.mp4"), rec.Files[0].Location)
	require.NoFileExists(t, filepath.Join(out, "talk-2.mp4"))
	// The caller's state is older than the spool's: what is delivered stays so.
	stale := rec.Clone()
	stale.Files[0] = recorder.FileResult{Filename: "talk.mp4", State: recorder.FilePending}
	rec = e.Deliver(t.Context(), stale, nil)
	requireDelivered(t, rec)
}

// A full disk must not keep the upload that would make room from ending.
func TestSpoolOnAFullDisk(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tapedeck-test", disk, "tmpfs", 0, "size=1m"); err != nil {
		mountInNamespace(t, err)
		return
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	out := t.TempDir()
	core, logs := observer.New(zapcore.DebugLevel)
	d := &deck{t: t, dir: filepath.Join(disk, "spool"), opts: upload.Options{
		AllowTemp: true, Default: upload.Storage{Directory: out}, GiveUpAfter: 20 * time.Second, Log: zap.New(core),
		Backoff: upload.Backoff{Min: 10 * time.Millisecond, Max: 50 * time.Millisecond},
	}, logs: logs}
	d.reopen()
	e := d.entry(one("job", recorder.FileOutput{DisableManifest: true}), []byte{})
	f, err := os.OpenFile(media(e), os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = io.Copy(f, bytes.NewReader(noise(30, 2*mib)))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, f.Close())
	want, err := os.ReadFile(media(e))
	require.NoError(t, err)
	rec := deliver(t, e)
	requireDelivered(t, rec)
	got, err := os.ReadFile(rec.Files[0].Location)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))
	require.NoError(t, e.Free())
}

// mountInNamespace runs the test again as root of a user namespace of its own,
// where mounting is allowed, so that it is skipped hardly anywhere.
func mountInNamespace(t *testing.T, refused error) {
	t.Helper()
	const inside = "TAPEDECK_TEST_NAMESPACE"
	if os.Getenv(inside) != "" {
		t.Fatalf("mounting in a namespace: %v", refused)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Skipf("no mounting (%v) and no user namespaces (%v) here", refused, err)
	}
	require.NoError(t, err, "%s", out)
}
