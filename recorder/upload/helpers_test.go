package upload_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"tapedeck/recorder"
	"tapedeck/recorder/upload"
)

const mib = 1 << 20

// deck is a spool for one test, with what it logged.
type deck struct {
	t    *testing.T
	dir  string
	opts upload.Options
	*upload.Spool
	logs *observer.ObservedLogs
}

func newDeck(t *testing.T, opts upload.Options) *deck {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	opts.AllowTemp, opts.Log = true, zap.New(core)
	if opts.GiveUpAfter == 0 {
		opts.GiveUpAfter = 2 * time.Minute // only a failing test waits for it
	}
	opts.Backoff = upload.Backoff{Min: 10 * time.Millisecond, Max: 50 * time.Millisecond}
	d := &deck{t: t, dir: filepath.Join(t.TempDir(), "spool"), opts: opts, logs: logs}
	d.reopen()
	return d
}

// reopen is what a restarted process does.
func (d *deck) reopen() {
	d.t.Helper()
	var err error
	d.Spool, err = upload.NewSpool(d.dir, d.opts)
	require.NoError(d.t, err)
}

// entry makes an entry whose files have these bytes.
func (d *deck) entry(job recorder.Job, media ...[]byte) recorder.SpoolEntry {
	d.t.Helper()
	return d.entryOf(task(job, media...), media...)
}

func (d *deck) entryOf(begun recorder.Task, media ...[]byte) recorder.SpoolEntry {
	d.t.Helper()
	e, err := d.Create(begun)
	require.NoError(d.t, err)
	for i, data := range media {
		if data != nil {
			path := filepath.Join(e.Task().Dir, recorder.MediaName(i, e.Task().Recording.Files[i]))
			require.NoError(d.t, os.WriteFile(path, data, 0o644))
		}
	}
	return e
}

func task(job recorder.Job, media ...[]byte) recorder.Task {
	rec := recorder.Recording{
		ID: job.ID, RoomName: "standup", Attempt: 1, Part: 1, Status: recorder.StatusEnding,
		StartedAt: 1_700_000_000_000_000_000, EndedAt: 1_700_000_060_000_000_000, EndReason: recorder.EndSignal,
	}
	for i := range media {
		name := fmt.Sprintf("talks/file-%d.mp4", i)
		if i < len(job.Files) {
			name = job.Files[i].Filepath
		}
		rec.Files = append(rec.Files, recorder.FileResult{
			Filename: name, State: recorder.FileRecording, Duration: int64(time.Minute), Codecs: []string{"h264", "aac"},
		})
	}
	return recorder.Task{Job: job, Recording: rec}
}

func one(id string, f recorder.FileOutput) recorder.Job {
	if f.Filepath == "" {
		f.Filepath = "talks/talk.mp4"
	}
	return recorder.Job{ID: id, Files: []recorder.FileOutput{f}}
}

func deliver(t *testing.T, e recorder.SpoolEntry) recorder.Recording {
	t.Helper()
	return e.Deliver(t.Context(), e.Task().Recording, nil)
}

func requireDelivered(t *testing.T, rec recorder.Recording) {
	t.Helper()
	for _, f := range rec.Files {
		require.Equal(t, recorder.FileDelivered, f.State, "%+v", f)
		require.Empty(t, f.Error)
		require.NotEmpty(t, f.Location)
		require.Len(t, f.SHA256, 64)
	}
}

// media is the path of file 0.
func media(e recorder.SpoolEntry) string { return filepath.Join(e.Task().Dir, "media-0.mp4") }

// noise is incompressible and the same for the same seed.
func noise(seed uint64, size int) []byte {
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(data)
	return data
}

// requireNoSecret looks for secrets where none may be: results, logs, and every
// file of the spool but task.json.
func (d *deck) requireNoSecret(rec recorder.Recording, secrets ...string) {
	d.t.Helper()
	var all bytes.Buffer
	require.NoError(d.t, json.NewEncoder(&all).Encode(rec))
	for _, entry := range d.logs.All() {
		fmt.Fprintln(&all, entry.Message, entry.ContextMap())
	}
	require.NoError(d.t, filepath.WalkDir(d.dir, func(path string, f os.DirEntry, err error) error {
		if err != nil || f.IsDir() || f.Name() == "task.json" || strings.HasPrefix(f.Name(), "media-") {
			return err
		}
		data, err := os.ReadFile(path)
		all.Write(data)
		return err
	}))
	for _, s := range secrets {
		if s != "" {
			require.False(d.t, strings.Contains(all.String(), s), "secret %q in\n%s", s, all.String())
		}
	}
}
