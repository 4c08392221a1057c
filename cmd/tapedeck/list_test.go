package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

// A list says what keeps a job from its end, also beside what has arrived.
func TestResultsInAList(t *testing.T) {
	rec := recorder.Recording{Status: recorder.StatusEnding, Files: []recorder.FileResult{
		{Filename: "a.mp4", State: recorder.FileDelivered, Location: "s3://talks/a.mp4", Error: "its manifest was given up", Duration: int64(5230 * time.Millisecond)},
		{Filename: "b.mp4", State: recorder.FileUploading},
	}}
	assert.Equal(t, "s3://talks/a.mp4", result(rec))
	assert.Equal(t, "5s", recorded(rec), "of a recording that was cut off")
	rec.Files[1].Error = "AccessDenied"
	assert.Equal(t, "b.mp4: AccessDenied", result(rec))
	rec.Stats.Elapsed = recorder.Duration(8 * time.Second)
	assert.Equal(t, "8s", recorded(rec))
	assert.Equal(t, "-", recorded(recorder.Recording{}))
	series := recorder.Recording{Segments: []recorder.SegmentsResult{{PlaylistName: "all.m3u8", PlaylistLocation: "s3://talks/all.m3u8"}}}
	assert.Equal(t, "s3://talks/all.m3u8", result(series))
}

// A room's name is anybody's: it stays in its column.
func TestNamesInAList(t *testing.T) {
	var out strings.Builder
	rec := recorder.Recording{ID: "EG_1", RoomName: "a\u202egpj.\u2066b\x1b[2Jc\td\u200de"}
	require.NoError(t, printTable(&out, []recorder.Recording{rec}, time.Now()))
	assert.Contains(t, out.String(), "room agpj.b[2Jcd\u200de  ")
}
