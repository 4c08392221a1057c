package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

func recordJob(t *testing.T, args ...string) (recorder.Job, string, error) {
	t.Helper()
	var f recordFlags
	cmd := &cobra.Command{}
	f.register(cmd.Flags(), "the")
	f.series.register(cmd.Flags(), "here")
	f.room.register(cmd.Flags())
	cmd.Flags().StringVarP(&f.output, "output", "o", "", "")
	require.NoError(t, cmd.ParseFlags(args))
	return f.job(cmd, "https://example.com")
}

func TestSeriesFlags(t *testing.T) {
	t.Chdir(t.TempDir())
	home, err := os.Getwd()
	require.NoError(t, err)
	elsewhere := t.TempDir()
	for _, c := range []struct {
		args                 []string
		dir, file, hls, imgs string
	}{
		{[]string{"--hls", "a/b/c"}, filepath.Join(home, "a/b"), "", "c", ""},
		{[]string{"--hls", "a/b/"}, filepath.Join(home, "a/b"), "", "", ""},
		{[]string{"-o", "x.mp4", "--hls", "a/b", "--images", "a/thumb"}, home, "x.mp4", "a/b", "a/thumb"},
		{[]string{"-o", "d/x.mp4", "--hls", "e/b", "--images", "c"}, home, "d/x.mp4", "e/b", "c"},
		{[]string{"--hls", "e/b", "--images", "e/f/c"}, filepath.Join(home, "e"), "", "b", "f/c"},
		{[]string{"--images", filepath.Join(elsewhere, "c")}, elsewhere, "", "", "c"},
	} {
		job, dir, err := recordJob(t, c.args...)
		require.NoError(t, err, c.args)
		assert.Equal(t, c.dir, dir, c.args)
		if c.file != "" {
			assert.Equal(t, c.file, job.Files[0].Filepath)
		}
		for _, o := range job.Segments {
			assert.Equal(t, c.hls, o.FilenamePrefix)
		}
		for _, o := range job.Images {
			assert.Equal(t, c.imgs, o.FilenamePrefix)
		}
	}
	job, _, err := recordJob(t, "--hls", "a", "--hls-live", "now", "--segment-duration", "2s", "--images", "b", "--image-interval", "1m", "--image-size", "320",
		"--stream", "srt://h:1?streamid=a", "--rtmp", "mux://key")
	require.NoError(t, err)
	assert.Equal(t, recorder.SegmentOutput{FilenamePrefix: "a", LivePlaylistName: "now", SegmentDuration: recorder.Duration(2 * time.Second), DisableManifest: true}, job.Segments[0])
	assert.Equal(t, recorder.ImageOutput{FilenamePrefix: "b", CaptureInterval: recorder.Duration(time.Minute), Width: 320, DisableManifest: true}, job.Images[0])
	assert.ElementsMatch(t, []string{"mux://key", "srt://h:1?streamid=a"}, job.StreamURLs())
	for _, args := range [][]string{
		{"-o", "a.mp4", "--hls-live", "b"},
		{"-o", "a.mp4", "--image-size", "320"},
		{"--images", "a", "--image-size", "x"},
		{"--hls", "/dev/null/a"},
		{"--stream", "http://h"},
		{},
	} {
		_, _, err := recordJob(t, args...)
		assert.Error(t, err, args)
	}
}
