package recorder_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

// The table in doc.go is what Follows does, and the other way round.
func TestStatusFollowsTheDiagram(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	legal := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^//\t(\w+):\s+(.*)$`).FindAllStringSubmatch(string(doc), -1) {
		for _, to := range strings.Split(m[2], ", ") {
			legal[m[1]+" "+to] = true
		}
	}
	require.Len(t, legal, 16)
	all := []recorder.Status{
		recorder.StatusQueued, recorder.StatusStarting, recorder.StatusActive, recorder.StatusEnding,
		recorder.StatusComplete, recorder.StatusFailed, recorder.StatusAborted, recorder.StatusLimitReached, "", "nonsense",
	}
	for _, from := range all {
		for _, to := range all {
			name := fmt.Sprintf("%s %s", from, to)
			assert.Equal(t, legal[name], from.Follows(to), name)
			assert.False(t, from.Ended() && from.Follows(to), name)
		}
	}
}

func TestConclude(t *testing.T) {
	file := func(states ...recorder.FileState) (files []recorder.FileResult) {
		for _, s := range states {
			files = append(files, recorder.FileResult{Filename: "a.mp4", State: s, Error: "denied"})
		}
		return files
	}
	stream := func(state recorder.StreamState, started int64) []recorder.StreamResult {
		return []recorder.StreamResult{{State: state, StartedAt: started}}
	}
	failure := func(c recorder.Code) *recorder.Error { return recorder.Errorf(c, "because") }
	for name, c := range map[string]struct {
		rec    recorder.Recording
		status recorder.Status
		code   recorder.Code
	}{
		"complete":                              {recorder.Recording{StartedAt: 1, EndReason: recorder.EndSignal, Files: file(recorder.FileDelivered)}, recorder.StatusComplete, ""},
		"drained":                               {recorder.Recording{StartedAt: 1, EndReason: recorder.EndDrained, Files: file(recorder.FileDelivered)}, recorder.StatusComplete, ""},
		"page closed":                           {recorder.Recording{StartedAt: 1, EndReason: recorder.EndPageClosed, Files: file(recorder.FileDelivered)}, recorder.StatusComplete, ""},
		"max duration":                          {recorder.Recording{StartedAt: 1, EndReason: recorder.EndMaxDuration, Files: file(recorder.FileDelivered)}, recorder.StatusLimitReached, ""},
		"max size":                              {recorder.Recording{StartedAt: 1, EndReason: recorder.EndMaxSize, Files: file(recorder.FileDelivered)}, recorder.StatusLimitReached, ""},
		"limit and no upload":                   {recorder.Recording{StartedAt: 1, EndReason: recorder.EndMaxSize, Files: file(recorder.FileRefused)}, recorder.StatusFailed, recorder.CodeUpload},
		"one upload refused":                    {recorder.Recording{StartedAt: 1, EndReason: recorder.EndSignal, Files: file(recorder.FileDelivered, recorder.FileRefused)}, recorder.StatusFailed, recorder.CodeUpload},
		"empty file":                            {recorder.Recording{StartedAt: 1, EndReason: recorder.EndSignal, Files: file(recorder.FileEmpty)}, recorder.StatusFailed, recorder.CodePipeline},
		"error, file delivered":                 {recorder.Recording{StartedAt: 1, Error: failure(recorder.CodePageCrashed), Files: file(recorder.FileDelivered)}, recorder.StatusFailed, recorder.CodePageCrashed},
		"error, file refused":                   {recorder.Recording{StartedAt: 1, Error: failure(recorder.CodePageCrashed), Files: file(recorder.FileRefused)}, recorder.StatusFailed, recorder.CodePageCrashed},
		"aborted":                               {recorder.Recording{Error: failure(recorder.CodeAborted), Files: file(recorder.FileEmpty)}, recorder.StatusAborted, recorder.CodeAborted},
		"aborted after a start":                 {recorder.Recording{StartedAt: 1, Error: failure(recorder.CodeAborted), Files: file(recorder.FileDelivered)}, recorder.StatusFailed, recorder.CodeAborted},
		"start failed":                          {recorder.Recording{Error: failure(recorder.CodeStartTimeout), Files: file(recorder.FileEmpty)}, recorder.StatusFailed, recorder.CodeStartTimeout},
		"stream sent":                           {recorder.Recording{StartedAt: 1, Streams: stream(recorder.StreamFinished, 5)}, recorder.StatusComplete, ""},
		"stream failed":                         {recorder.Recording{StartedAt: 1, Streams: stream(recorder.StreamFailed, 5)}, recorder.StatusFailed, recorder.CodeStream},
		"stream never connected":                {recorder.Recording{StartedAt: 1, Streams: stream(recorder.StreamRetrying, 0)}, recorder.StatusFailed, recorder.CodeStream},
		"stream that ended before it connected": {recorder.Recording{StartedAt: 1, Streams: stream(recorder.StreamFinished, 0)}, recorder.StatusFailed, recorder.CodeStream},
		"stream failed, file":                   {recorder.Recording{StartedAt: 1, Streams: stream(recorder.StreamFailed, 0), Files: file(recorder.FileDelivered)}, recorder.StatusComplete, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := recorder.Conclude(c.rec)
			assert.Equal(t, c.status, got.Status)
			assert.True(t, got.Status.Ended())
			if c.code == "" {
				assert.Nil(t, got.Error)
			} else {
				require.NotNil(t, got.Error)
				assert.Equal(t, c.code, got.Error.Code)
			}
			assert.Equal(t, got, recorder.Conclude(got), "concluding twice")
		})
	}
}

func TestSalvage(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "media-0.mp4"), []byte("12345"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "media-1.mp4"), nil, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "media-3.mp4"), []byte("left by an upload"), 0o600))
	rec := recorder.Recording{
		Status: recorder.StatusActive, StartedAt: 7,
		Files: []recorder.FileResult{
			{Filename: "a.mp4", State: recorder.FileRecording, Size: 3},
			{Filename: "b.mp4", State: recorder.FileRecording},
			{Filename: "c.mp4", State: recorder.FileRecording},
			{Filename: "d.mp4", State: recorder.FileDelivered, Size: 1},
		},
		Streams: []recorder.StreamResult{
			{State: recorder.StreamActive}, {State: recorder.StreamRetrying, Error: "refused"}, {State: recorder.StreamFinished, EndedAt: 3},
		},
	}
	before := rec.Clone()
	got := recorder.Salvage(rec, dir, recorder.Errorf(recorder.CodeChildDied, "signal: killed"), recorder.EndChildDied, 99)
	assert.Equal(t, before, rec, "what it was given is untouched")
	assert.Equal(t, recorder.StatusEnding, got.Status)
	assert.Equal(t, recorder.EndChildDied, got.EndReason)
	assert.Equal(t, recorder.CodeChildDied, got.Error.Code)
	assert.EqualValues(t, 99, got.EndedAt)
	assert.Equal(t, recorder.FileResult{Filename: "a.mp4", State: recorder.FilePending, Size: 5, Partial: true}, got.Files[0])
	assert.Equal(t, recorder.FileEmpty, got.Files[1].State)
	assert.Equal(t, recorder.FileEmpty, got.Files[2].State)
	assert.Equal(t, rec.Files[3], got.Files[3])
	assert.Equal(t, "signal: killed", got.Streams[0].Error)
	assert.Equal(t, "refused", got.Streams[1].Error)
	assert.Equal(t, recorder.StreamFailed, got.Streams[1].State)
	assert.Equal(t, rec.Streams[2], got.Streams[2])
	assert.False(t, got.Settled())

	got.Files[0].State = recorder.FileDelivered
	assert.True(t, got.Settled())
	// The first reason is the one that stays.
	again := recorder.Salvage(got, dir, recorder.Errorf(recorder.CodeWorkerLost, "x"), recorder.EndWorkerLost, 100)
	assert.Equal(t, recorder.EndChildDied, again.EndReason)
	assert.EqualValues(t, 99, again.EndedAt)
}

// What is seen without the media: nothing of an ended job looks alive.
func TestConcludeLost(t *testing.T) {
	cause := recorder.Errorf(recorder.CodeWorkerLost, "nobody came back")
	rec := recorder.Recording{
		Status: recorder.StatusActive, StartedAt: 7,
		Files: []recorder.FileResult{
			{State: recorder.FileRecording}, {State: recorder.FileUploading, Error: "slow"}, {State: recorder.FileDelivered}, {State: recorder.FileRefused},
		},
		Streams: []recorder.StreamResult{{State: recorder.StreamActive}, {State: recorder.StreamFinished, EndedAt: 3}},
	}
	got := recorder.ConcludeLost(rec, cause, recorder.EndWorkerLost, 99)
	assert.Equal(t, recorder.StatusFailed, got.Status)
	assert.Equal(t, recorder.EndWorkerLost, got.EndReason)
	assert.EqualValues(t, 99, got.EndedAt)
	assert.Equal(t, []recorder.FileResult{
		{State: recorder.FilePending, Error: "nobody came back"},
		{State: recorder.FilePending, Error: "slow"},
		{State: recorder.FileDelivered},
		{State: recorder.FileRefused},
	}, got.Files)
	assert.Equal(t, recorder.StreamResult{State: recorder.StreamFailed, EndedAt: 99, Error: "nobody came back"}, got.Streams[0])
	assert.Equal(t, rec.Streams[1], got.Streams[1])
	assert.Equal(t, recorder.FileRecording, rec.Files[0].State, "what it was given is untouched")

	rec.StartedAt = 0
	got = recorder.ConcludeLost(rec, cause, recorder.EndTooManyTries, 99)
	assert.Equal(t, recorder.FileEmpty, got.Files[0].State)
	assert.Equal(t, recorder.EndTooManyTries, got.EndReason)
}

func TestErrors(t *testing.T) {
	sentinels := map[*recorder.Error]recorder.Code{
		recorder.ErrSessionDied: recorder.CodeSessionDied, recorder.ErrPageCrashed: recorder.CodePageCrashed,
		recorder.ErrPageClosed: recorder.CodePageClosed, recorder.ErrNotFound: recorder.CodeNotFound,
		recorder.ErrConflict: recorder.CodeConflict, recorder.ErrLeaseLost: recorder.CodeLeaseLost,
	}
	for sentinel, code := range sentinels {
		err := fmt.Errorf("outer: %w", recorder.Errorf(code, "inner: %w", os.ErrClosed))
		require.ErrorIs(t, err, sentinel)
		require.ErrorIs(t, err, os.ErrClosed)
		assert.Equal(t, code, recorder.CodeOf(err))
		for other := range sentinels {
			assert.Equal(t, other == sentinel, errors.Is(err, other))
		}
		as := recorder.AsError(err, recorder.CodeInternal)
		assert.Equal(t, code, as.Code)
		assert.Equal(t, "outer: inner: file already closed", as.Message)
		require.ErrorIs(t, as, sentinel)
		bare := recorder.AsError(sentinel, recorder.CodeInternal)
		assert.NotEmpty(t, bare.Message, "users see a text, whatever an adapter returned")
		require.ErrorIs(t, bare, sentinel)
	}
	assert.Nil(t, recorder.AsError(nil, recorder.CodeInternal))
	assert.Equal(t, recorder.CodeUpload, recorder.AsError(os.ErrClosed, recorder.CodeUpload).Code)
	assert.Equal(t, recorder.CodeInvalid, recorder.AsError(recorder.Faults{{Field: "x"}}, recorder.CodeInternal).Code)
	assert.Equal(t, recorder.CodeInternal, recorder.CodeOf(os.ErrClosed))
	assert.NotErrorIs(t, recorder.Errorf(recorder.CodeNotFound, "a"), recorder.Errorf(recorder.CodeNotFound, "b"))
	text, err := json.Marshal(recorder.Errorf(recorder.CodeUpload, "x: %w", os.ErrClosed))
	require.NoError(t, err)
	assert.JSONEq(t, `{"code": "upload_error", "message": "x: file already closed"}`, string(text))
}

func TestEventFor(t *testing.T) {
	for _, c := range []struct {
		from, to recorder.Status
		want     recorder.EventType
	}{
		{"", recorder.StatusQueued, recorder.EventQueued},
		{recorder.StatusQueued, recorder.StatusStarting, recorder.EventUpdated},
		{recorder.StatusStarting, recorder.StatusQueued, recorder.EventUpdated},
		{recorder.StatusStarting, recorder.StatusActive, recorder.EventStarted},
		{recorder.StatusActive, recorder.StatusActive, recorder.EventUpdated},
		{recorder.StatusActive, recorder.StatusEnding, recorder.EventUpdated},
		{recorder.StatusEnding, recorder.StatusFailed, recorder.EventEnded},
		{recorder.StatusQueued, recorder.StatusAborted, recorder.EventEnded},
		{recorder.StatusEnding, recorder.StatusLimitReached, recorder.EventEnded},
	} {
		assert.Equal(t, c.want, recorder.EventFor(c.from, c.to), "%s to %s", c.from, c.to)
	}
}

func TestDurationJSON(t *testing.T) {
	for text, want := range map[string]time.Duration{
		`90`: 90 * time.Second, `1.5`: 1500 * time.Millisecond, `"90"`: 90 * time.Second, `"1h30m"`: 90 * time.Minute,
		`" 5s "`: 5 * time.Second, `0`: 0, `"0"`: 0, `-3`: -3 * time.Second, `null`: 0, `1e3`: 1000 * time.Second, `"500ms"`: 500 * time.Millisecond,
	} {
		var d recorder.Duration
		require.NoError(t, json.Unmarshal([]byte(text), &d), text)
		assert.Equal(t, want, d.Std(), text)
		out, err := json.Marshal(d)
		require.NoError(t, err)
		var again recorder.Duration
		require.NoError(t, json.Unmarshal(out, &again))
		assert.Equal(t, d, again)
	}
	for _, text := range []string{`""`, `"x"`, `"NaN"`, `"+Inf"`, `1e10`, `-1e10`, `true`, `{}`, `[]`, `"5"s`, `"1h30"`} {
		var d recorder.Duration
		assert.Error(t, json.Unmarshal([]byte(text), &d), text)
	}
	five := recorder.Duration(5)
	require.NoError(t, json.Unmarshal([]byte("null"), &five))
	assert.EqualValues(t, 5, five, "null changes nothing")
}

func TestLimitsDefaults(t *testing.T) {
	none := 0
	assert.Equal(t, 30*time.Second, recorder.Limits{}.Start())
	assert.Equal(t, 2, recorder.Limits{}.Reloads())
	assert.Equal(t, 0, recorder.Limits{ReloadAttempts: &none}.Reloads())
	assert.Equal(t, time.Minute, recorder.Limits{StartTimeout: recorder.Duration(time.Minute)}.Start())
	text, err := json.Marshal(recorder.Job{})
	require.NoError(t, err)
	assert.JSONEq(t, `{}`, string(text), "nothing that was not asked for is written")
}

func TestEncodingOptions(t *testing.T) {
	base := recorder.EncodingOptions{
		Width: 1280, Height: 720, Framerate: 30, VideoBitrate: 3000, AudioBitrate: 128, AudioFrequency: 48000, KeyFrameInterval: 4,
	}
	assert.Equal(t, base, recorder.Encoding{}.Options())
	assert.Equal(t, 4*time.Second, base.KeyFrames())
	presets := map[string][4]int{
		"H264_720P_30": {1280, 720, 30, 3000}, "H264_720P_60": {1280, 720, 60, 4500},
		"H264_1080P_30": {1920, 1080, 30, 4500}, "H264_1080P_60": {1920, 1080, 60, 6000},
		"PORTRAIT_H264_720P_30": {720, 1280, 30, 3000}, "PORTRAIT_H264_720P_60": {720, 1280, 60, 4500},
		"PORTRAIT_H264_1080P_30": {1080, 1920, 30, 4500}, "PORTRAIT_H264_1080P_60": {1080, 1920, 60, 6000},
	}
	assert.Len(t, recorder.PresetNames(), len(presets))
	for name, p := range presets {
		assert.Contains(t, recorder.PresetNames(), name)
		want := base
		want.Width, want.Height, want.Framerate, want.VideoBitrate = p[0], p[1], p[2], p[3]
		assert.Equal(t, want, recorder.Encoding{Preset: name}.Options())
		assert.Equal(t, want, recorder.Encoding{Preset: strings.ToLower(name)}.Options())
		want.VideoBitrate, want.KeyFrameInterval = 700, 0.5
		got := recorder.Encoding{Preset: name, Advanced: &recorder.EncodingOptions{VideoBitrate: 700, KeyFrameInterval: 0.5}}.Options()
		assert.Equal(t, want, got)
	}
	assert.Equal(t, base, recorder.Encoding{Advanced: &recorder.EncodingOptions{}}.Options())
}

func TestNewRecordingHoldsNoSecrets(t *testing.T) {
	job := roomJob()
	job.CustomBaseURL += "?api=5ecret"
	job.Template, job.Metadata = "grid", map[string]string{"a": "b"}
	rec := recorder.NewRecording(job, noon)
	text, err := json.Marshal(rec)
	require.NoError(t, err)
	assert.NotContains(t, string(text), "5ecret")
	assert.Equal(t, "grid", rec.Layout)
	assert.Equal(t, recorder.StatusQueued, rec.Status)
	assert.Equal(t, noon.UnixNano(), rec.CreatedAt)
	assert.Equal(t, []string{secretKey}, []string{job.StreamURLs()[0][len("rtmp://ingest.example.com/app/"):]})
	assert.Equal(t, recorder.StreamID(streamURL), rec.Streams[0].ID)
}

func TestAmendedRecordingSaysSo(t *testing.T) {
	file := func(state recorder.FileState) []recorder.FileResult {
		return []recorder.FileResult{{Filename: "a.mp4", State: state}}
	}
	before := recorder.Conclude(recorder.Recording{StartedAt: 1, Part: 2, Files: file(recorder.FilePending), Earlier: []recorder.Part{
		{Part: 1, Files: file(recorder.FilePending)},
	}})
	require.Contains(t, before.Error.Message, "a.mp4 was not delivered")
	some := before.Clone()
	some.Files = file(recorder.FileDelivered)
	assert.Equal(t, before.Error, some.AmendedFrom(before).Error, "part 1 is still missing")
	all := some.Clone()
	all.Earlier[0].Files = file(recorder.FileDelivered)
	all = all.AmendedFrom(some)
	assert.Equal(t, recorder.StatusFailed, all.Status)
	assert.Equal(t, before.Error.Message+"; what was recorded has arrived since", all.Error.Message)
	assert.Equal(t, all.Error, all.AmendedFrom(all).Error, "once")
	assert.NotContains(t, before.Error.Message, "since")
}

// A part that arrives late may be longer than anybody knew.
func TestAmendedRecordingCountsItsLossesAgain(t *testing.T) {
	const second = int64(time.Second)
	before := recorder.Recording{StartedAt: 30 * second, Part: 2, Earlier: []recorder.Part{
		{Part: 1, StartedAt: 1, EndedAt: 10 * second, EndReason: recorder.EndWorkerLost},
	}, Incidents: []recorder.Incident{
		{Reason: recorder.EndPageCrashed, At: 5 * second, Lost: second},
		{Reason: recorder.EndWorkerLost, At: 25 * second, Lost: 20 * second},
	}, Pauses: []recorder.Span{{Start: 20 * second, End: 22 * second}}}
	late := before.Clone()
	late.Earlier[0].EndedAt = 18 * second
	got := late.AmendedFrom(before)
	assert.Equal(t, []int64{second, 10 * second}, []int64{got.Incidents[0].Lost, got.Incidents[1].Lost})
	late.Earlier[0].EndedAt = 31 * second
	assert.EqualValues(t, 1, late.AmendedFrom(before).Incidents[1].Lost, "the two overlap")
	assert.Equal(t, 20*second, before.Incidents[1].Lost)
}
