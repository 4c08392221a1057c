package upload_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
	"tapedeck/recorder/upload"
)

// A process ends in each phase of an upload; the next one goes on with it and sends
// only what is missing.
func TestGrowthGoesOnAfterARestart(t *testing.T) {
	s := recordertest.StartS3(t)
	f := shot(t)
	for name, c := range map[string]struct {
		fragments int
		hang      func(*http.Request) bool
		again     int64 // parts that are sent twice at most
	}{
		"grew":       {fragments: 14, again: 1},
		"tail":       {hang: isTail, again: 2},
		"header":     {hang: isHeader, again: 1},
		"completion": {hang: isCompletion, again: 1},
		"manifest":   {hang: isManifest, again: 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := recordertest.StartS3Proxy(t, s.Endpoint)
			job := toS3(through(s, p))
			job.Files[0].Filepath = name + ".mp4"
			d := growing(t)
			k := d.roll(job, f)
			k.lose(p, c.fragments, c.hang)
			k.camera.cut()
			p.Fault(nil)
			d.reopen()
			left, err := d.Left()
			require.NoError(t, err)
			require.Len(t, left, 1)
			rec := deliver(t, left[0])
			requireDelivered(t, rec)
			require.Equal(t, name+".mp4", rec.Files[0].Filename)
			require.True(t, bytes.Equal(f.final, s.Get(name+".mp4")))
			require.LessOrEqual(t, p.Sent(isPart), int64(len(f.final))+c.again*takePart)
			require.Zero(t, s.Uploads())
		})
	}
}

// Files that leave at the end have their storage asked at the start as well, and
// nothing stays of the question.
func TestOthersAreAskedAtTheStart(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	blocked := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(blocked, nil, 0o600))
	expired := s.Endpoint + "/recordings/talk.mp4?X-Amz-Date=20200101T000000Z&X-Amz-Expires=60&X-Amz-Signature=abc"
	for name, c := range map[string]struct {
		out  recorder.FileOutput
		opts upload.Options
		says string
	}{
		"webm":      {out: recorder.FileOutput{Filepath: "talk.webm", Storage: recorder.Storage{S3: through(s, p)}}, says: "s3:PutObject"},
		"presigned": {out: recorder.FileOutput{UploadURL: expired}, says: "has expired"},
		"directory": {opts: upload.Options{Default: upload.Storage{Directory: filepath.Join(blocked, "below")}}, says: "a part of the path is a file"},
	} {
		t.Run(name, func(t *testing.T) {
			p.Fault(func(int, *http.Request) recordertest.S3Fault {
				return recordertest.S3Fault{Status: http.StatusForbidden, Code: "AccessDenied"}
			})
			k := newDeck(t, c.opts).roll(one("job", c.out), film{})
			eventually(t, func() bool { return k.error() != "" })
			require.Contains(t, k.error(), c.says)
			require.NotContains(t, k.error(), "X-Amz")
			if name == "webm" {
				p.Fault(nil)
				eventually(t, func() bool { return k.error() == "" })
			}
			k.stop()
			require.Zero(t, s.Uploads())
		})
	}
}

// The manifest tells of the parts a job was recorded in, and of what is not in them.
func TestManifestTellsOfEarlierParts(t *testing.T) {
	dir, opts := directory(t)
	d := newDeck(t, opts)
	e := d.entry(one("job", recorder.FileOutput{}), noise(1, 100))
	rec := e.Task().Recording
	rec.Part = 2
	rec.Earlier = []recorder.Part{{
		Part: 1, StartedAt: 5, EndedAt: 7, EndReason: recorder.EndWorkerLost,
		Files: []recorder.FileResult{{Filename: "talks/talk.mp4", Location: "/there/talk.mp4", Size: 9, Duration: 2, Partial: true, State: recorder.FileUploading}},
	}}
	rec.Pauses = []recorder.Span{{Start: 11, End: 12}}
	rec.Incidents = []recorder.Incident{{Reason: recorder.EndWorkerLost, At: 7}}
	requireDelivered(t, e.Deliver(t.Context(), rec, nil))
	data, err := os.ReadFile(filepath.Join(dir, "talks/talk.mp4.json"))
	require.NoError(t, err)
	for _, says := range []string{
		`"part": 2`, `"earlier_parts": [`, `"started_at": 5`, `"ended_at": 7`, `"end_reason": "worker_lost"`,
		`"location": "/there/talk.mp4"`, `"partial": true`, `"state": "uploading"`, `"pauses": [`, `"incidents": [`,
	} {
		require.Contains(t, string(data), says)
	}
	require.Equal(t, 1, strings.Count(string(data), `"state"`), "only what is not there has one")
}

func TestRoom(t *testing.T) {
	room, err := newDeck(t, upload.Options{}).Room()
	require.NoError(t, err)
	require.Positive(t, room)
}
