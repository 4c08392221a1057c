package upload_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/upload"
)

func TestDeliverToADirectory(t *testing.T) {
	out := t.TempDir()
	spool, err := upload.NewSpool(filepath.Join(t.TempDir(), "spool"), upload.Options{AllowTemp: true, Default: upload.Storage{Directory: out}})
	require.NoError(t, err)
	job := recorder.Job{ID: "j1", Files: []recorder.FileOutput{{Filepath: "a/b.mp4"}}}
	rec := recorder.Recording{ID: "j1", Files: []recorder.FileResult{{Filename: "a/b.mp4"}}}
	e, err := spool.Create(recorder.Task{Job: job, Recording: rec})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(e.Task().Dir, "media-0.mp4"), []byte("moving picture"), 0o644))
	require.ErrorIs(t, e.Free(), upload.ErrUndelivered)
	rec = e.Deliver(t.Context(), rec, nil)
	require.Equal(t, recorder.FileDelivered, rec.Files[0].State, "%+v", rec)
	require.FileExists(t, filepath.Join(out, "a/b.mp4"))
	require.FileExists(t, filepath.Join(out, "a/b.mp4.json"))
	require.NoError(t, e.Free())
	require.NoDirExists(t, e.Task().Dir)
}
