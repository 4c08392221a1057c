package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

func TestPauseAndResume(t *testing.T) {
	embedded(t, "127.0.0.1:0")
	ctx := soon(t)
	code, id, _ := verb(ctx, "enqueue", "--url", "https://example.com", "--file", "a.mp4", "--id", "talk")
	require.Zero(t, code)
	require.Contains(t, id.String(), "talk")
	for _, name := range []string{"pause", "resume"} {
		code, _, said := verb(ctx, name, "talk")
		assert.Zero(t, code, said)
		assert.Contains(t, said.String(), "job talk has not begun to record yet")
		code, _, said = verb(ctx, name, "nobody-knows-it")
		assert.Equal(t, exitFailed, code)
		assert.Contains(t, said.String(), "nobody-knows-it")
		code, _, said = verb(ctx, name)
		assert.Equal(t, exitUsage, code)
		assert.Contains(t, said.String(), "give one job id: tapedeck "+name+" ID")
	}
	code, _, said := verb(ctx, "stop", "talk")
	require.Zero(t, code, said)
	code, _, said = verb(ctx, "pause", "talk")
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, said.String(), "job talk ended")
}

func TestTellPause(t *testing.T) {
	paused := []recorder.Span{{Start: 1}}
	for _, c := range []struct {
		on   bool
		rec  recorder.Recording
		says string
	}{
		{true, recorder.Recording{ID: "a", Status: recorder.StatusActive}, ""},
		{false, recorder.Recording{ID: "a", Status: recorder.StatusActive, Pauses: paused}, ""},
		{true, recorder.Recording{ID: "a", Status: recorder.StatusActive, Pauses: paused}, "tapedeck: job a is paused already\n"},
		{false, recorder.Recording{ID: "a", Status: recorder.StatusActive}, "tapedeck: job a is not paused\n"},
		{true, recorder.Recording{ID: "a", Status: recorder.StatusComplete}, ""},
	} {
		said := &output{}
		(&app{err: said}).tellPause(c.on, c.rec)
		assert.Equal(t, c.says, said.String())
	}
}
