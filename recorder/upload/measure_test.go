package upload_test

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/upload"
)

// A disk that does not even tell a file's size.
func TestLengthOfWhatCannotBeRead(t *testing.T) {
	f, err := os.Open(os.DevNull)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	length, whole, err := upload.LengthOf(f)
	require.ErrorIs(t, err, os.ErrClosed)
	require.Zero(t, length)
	require.False(t, whole)
}

// Whoever lost a recording knows its length as of seconds before; the file knows better.
func TestCutOffFileIsMeasured(t *testing.T) {
	f := shot(t)
	opts := upload.Options{Default: upload.Storage{Directory: t.TempDir()}}
	const paused = 5 * time.Second
	for name, c := range map[string]struct {
		write   func(*camera)
		partial bool
	}{
		"cut off":                     {func(c *camera) { c.roll(12) }, true},
		"finalised, and nobody knows": {func(c *camera) { c.cut() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDeck(t, opts)
			begun := task(one("job", recorder.FileOutput{}), nil)
			rec := &begun.Recording
			file := &rec.Files[0]
			file.Filename, file.Duration, file.Partial = name+".mp4", int64(time.Second), true
			rec.Pauses = []recorder.Span{
				{Start: rec.StartedAt + int64(time.Second), End: rec.StartedAt + int64(time.Second+paused)},
				{Start: rec.EndedAt - int64(time.Second)},
				{Start: rec.EndedAt + int64(time.Second)},
			}
			rec.Incidents = []recorder.Incident{
				{Reason: recorder.EndPageCrashed, At: rec.StartedAt + 1},
				{Reason: recorder.EndWorkerLost, At: rec.EndedAt + 1},
				{Reason: recorder.EndPageCrashed, At: rec.EndedAt + 2},
			}
			e := d.entryOf(begun)
			c.write(f.camera(t, e))
			data, err := os.ReadFile(media(e))
			require.NoError(t, err)
			done := deliver(t, e)
			got := done.Files[0]
			require.Equal(t, recorder.FileDelivered, got.State, got.Error)
			require.Equal(t, c.partial, got.Partial)
			plays := seconds(t, data)
			require.InDelta(t, plays, time.Duration(got.Duration).Seconds(), 0.05)
			require.Equal(t, done.StartedAt, got.StartedAt)
			require.InDelta(t, plays+paused.Seconds(), time.Duration(got.EndedAt-got.StartedAt).Seconds(), 0.05)

			text, err := os.ReadFile(got.ManifestLocation)
			require.NoError(t, err)
			var m upload.Manifest
			require.NoError(t, json.Unmarshal(text, &m))
			require.Equal(t, got.Duration, m.Files[0].Duration)
			require.Equal(t, []recorder.Span{rec.Pauses[0], {Start: rec.Pauses[1].Start, End: rec.EndedAt}}, m.Pauses, "none of a later part")
			require.Equal(t, rec.Incidents[:2], m.Incidents)
			require.NoError(t, e.Free())
		})
	}
}
