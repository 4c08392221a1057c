package queue

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"tapedeck/recorder"
)

func TestFingerprint(t *testing.T) {
	t.Parallel()
	base := func() recorder.Job {
		return recorder.Job{Source: recorder.Source{RoomName: "studio"}, Files: []recorder.FileOutput{{}}}
	}
	same := fingerprint(base())
	for name, change := range map[string]func(*recorder.Job){
		"id":                func(j *recorder.Job) { j.ID = "x" },
		"token":             func(j *recorder.Job) { j.Token = "t" },
		"sid":               func(j *recorder.Job) { j.RoomID = "RM_x" },
		"outputs":           func(j *recorder.Job) { j.Files[0].Filepath = "elsewhere"; j.Metadata = map[string]string{"a": "b"} },
		"preset by default": func(j *recorder.Job) { j.Preset = "H264_720P_30" },
		"spelled out":       func(j *recorder.Job) { j.Advanced = &recorder.EncodingOptions{Width: 1280} },
		"default layout":    func(j *recorder.Job) { j.Layout = base().LayoutName() },
		"limits":            func(j *recorder.Job) { j.Limits.MaxSize = 1 },
	} {
		job := base()
		change(&job)
		assert.Equal(t, same, fingerprint(job), name)
	}
	screen := true
	seen := map[string]string{same: "base"}
	for name, change := range map[string]func(*recorder.Job){
		"room":     func(j *recorder.Job) { j.RoomName = "other" },
		"server":   func(j *recorder.Job) { j.LiveKitURL = "wss://other" },
		"layout":   func(j *recorder.Job) { j.Layout = "single-speaker" },
		"base url": func(j *recorder.Job) { j.CustomBaseURL = "https://example.com" },
		"identity": func(j *recorder.Job) { j.Identity = "ann" },
		"screen":   func(j *recorder.Job) { j.Identity, j.ScreenShare = "ann", &screen },
		"audio":    func(j *recorder.Job) { j.AudioTrackID = "TR_a" },
		"video":    func(j *recorder.Job) { j.VideoTrackID = "TR_a" },
		"page":     func(j *recorder.Job) { j.RoomName, j.URL = "", "https://example.com" },
		"size":     func(j *recorder.Job) { j.Advanced = &recorder.EncodingOptions{Width: 640} },
		"no sound": func(j *recorder.Job) { j.VideoOnly = true },
		"no video": func(j *recorder.Job) { j.AudioOnly = true },
	} {
		job := base()
		change(&job)
		other := fingerprint(job)
		assert.NotContains(t, seen, other, name)
		seen[other] = name
	}
}
