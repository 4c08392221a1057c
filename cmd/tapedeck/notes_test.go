package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

// eventful is a recording that lived through something.
func eventful() recorder.Recording {
	return recorder.Recording{
		ID: "EG_1", URL: "https://example.com", Status: recorder.StatusActive, CreatedAt: time.Now().UnixNano(), Part: 2,
		Files: []recorder.FileResult{{Filename: "a.part2.mp4", State: recorder.FileRecording}},
		Earlier: []recorder.Part{{Part: 1, EndReason: recorder.EndWorkerLost, Files: []recorder.FileResult{
			{Filename: "a.mp4", State: recorder.FileDelivered, Location: "s3://b/a.mp4", Size: 2000, Duration: int64(3 * time.Second), Partial: true},
		}}},
		Incidents: []recorder.Incident{{Reason: recorder.EndWorkerLost}, {Reason: recorder.EndBrowserDied}, {Reason: recorder.EndBrowserDied}},
		Pauses:    []recorder.Span{{Start: 1}},
	}
}

func TestListTellsWhatARecordingLivedThrough(t *testing.T) {
	var out bytes.Buffer
	rec := eventful()
	require.NoError(t, printTable(&out, []recorder.Recording{rec}, time.Now()))
	assert.Contains(t, out.String(), "active  ")
	assert.Contains(t, out.String(), "(paused; 2 parts; 3 incidents: worker_lost, browser_died)")
	out.Reset()
	(&app{out: &out}).printEvent(recorder.Event{Type: recorder.EventUpdated, Recording: rec}, false)
	assert.Contains(t, out.String(), "(paused; 2 parts; 3 incidents: worker_lost, browser_died)")
	out.Reset()
	require.NoError(t, printJSON(&out, []recorder.Recording{rec}))
	for _, field := range []string{`"earlier_parts":[{"part":1,`, `"incidents":[{"reason":"worker_lost"`, `"pauses":[{"start":1}]`} {
		assert.Contains(t, out.String(), field)
	}

	rec.Status, rec.Incidents = recorder.StatusComplete, rec.Incidents[:1]
	assert.Equal(t, "2 parts; 1 incident: worker_lost", notes(rec), "what ended is not paused")
	assert.Equal(t, "done", withNotes("done", recorder.Recording{}))
}

func TestSummaryTellsEveryPart(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, printSummary(&out, eventful(), "/spool"))
	assert.Regexp(t, `(?s)part 1 \(worker_lost\).*s3://b/a.mp4.*3s, 2 kB, partial.*part 2.*a.part2.mp4: recording`, out.String())
	assert.Contains(t, out.String(), "3 incidents: worker_lost, browser_died")
}
