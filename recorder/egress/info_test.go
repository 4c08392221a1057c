//nolint:staticcheck // older clients use what is deprecated: it is tested
package egress_test

import (
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"tapedeck/recorder"
	"tapedeck/recorder/egress"
)

func TestEveryEndReasonHasItsWords(t *testing.T) {
	words := map[recorder.EndReason]string{
		recorder.EndSignal: "Source closed", recorder.EndRoomClosed: "Source closed", recorder.EndRoomEmpty: "Source closed",
		recorder.EndRemoved: "Source closed", recorder.EndConnectionLost: "Source closed", recorder.EndPageClosed: "Source closed",
		recorder.EndStopped: "StopEgress API", recorder.EndDrained: "Process killed",
		recorder.EndMaxDuration: "Session limit reached", recorder.EndMaxSize: "Session limit reached",
	}
	for _, status := range []recorder.Status{
		recorder.StatusEnding, recorder.StatusComplete, recorder.StatusFailed, recorder.StatusAborted, recorder.StatusLimitReached,
	} {
		for _, reason := range recorder.EndReasons() {
			want, ok := words[reason]
			if !ok {
				want = "Failure"
			}
			info := egress.Info(recorder.Recording{ID: "EG_1", Status: status, EndReason: reason, StartedAt: 1})
			assert.Equal(t, "End reason: "+want, info.Details, "%s %s", status, reason)
		}
	}
}

func TestEveryStatus(t *testing.T) {
	type want struct {
		status  livekit.EgressStatus
		err     string
		code    int32
		details string
	}
	failed := func(code recorder.Code, text string) recorder.Recording {
		return recorder.Recording{
			Status: recorder.StatusFailed, StartedAt: 5, EndReason: recorder.EndPipeline, Error: &recorder.Error{Code: code, Message: text},
		}
	}
	const failure = "End reason: Failure"
	for name, c := range map[string]struct {
		rec  recorder.Recording
		want want
	}{
		"queued":   {recorder.Recording{Status: recorder.StatusQueued}, want{status: livekit.EgressStatus_EGRESS_STARTING}},
		"starting": {recorder.Recording{Status: recorder.StatusStarting}, want{status: livekit.EgressStatus_EGRESS_STARTING}},
		"active":   {recorder.Recording{Status: recorder.StatusActive}, want{status: livekit.EgressStatus_EGRESS_ACTIVE}},
		"ending":   {recorder.Recording{Status: recorder.StatusEnding}, want{status: livekit.EgressStatus_EGRESS_ENDING}},
		"complete": {
			recorder.Recording{Status: recorder.StatusComplete, EndReason: recorder.EndStopped},
			want{livekit.EgressStatus_EGRESS_COMPLETE, "", 0, "End reason: StopEgress API"},
		},
		"limit": {
			recorder.Recording{Status: recorder.StatusLimitReached, EndReason: recorder.EndMaxSize},
			want{livekit.EgressStatus_EGRESS_LIMIT_REACHED, "Session limit reached", 413, "End reason: Session limit reached"},
		},
		"aborted": {
			recorder.Recording{
				Status: recorder.StatusAborted, EndReason: recorder.EndStopped, Error: recorder.Errorf(recorder.CodeAborted, "whatever it says"),
			},
			want{livekit.EgressStatus_EGRESS_ABORTED, "Stop called before pipeline could start", 412, "End reason: StopEgress API"},
		},
		"no start signal": {
			recorder.Recording{
				Status: recorder.StatusFailed, EndReason: recorder.EndStartFailed,
				Error: recorder.Errorf(recorder.CodeStartTimeout, "room \"x\" does not exist"),
			},
			want{livekit.EgressStatus_EGRESS_ABORTED, "Start signal not received", 412, failure + ": room \"x\" does not exist"},
		},
		"no frame after a takeover": {
			failed(recorder.CodeStartTimeout, "late"),
			want{livekit.EgressStatus_EGRESS_FAILED, "late", 412, failure},
		},
		"page":        {failed(recorder.CodePageLoad, "page load error: 404"), want{livekit.EgressStatus_EGRESS_FAILED, "page load error: 404", 400, failure}},
		"page left":   {failed(recorder.CodePageLoad, "it left"), want{livekit.EgressStatus_EGRESS_FAILED, "page load error: it left", 400, failure}},
		"template":    {failed(recorder.CodePageError, "no"), want{livekit.EgressStatus_EGRESS_FAILED, "template error: no", 400, failure}},
		"upload":      {failed(recorder.CodeUpload, "denied"), want{livekit.EgressStatus_EGRESS_FAILED, "denied", 400, failure}},
		"stream":      {failed(recorder.CodeStream, "refused"), want{livekit.EgressStatus_EGRESS_FAILED, "refused", 400, failure}},
		"invalid":     {failed(recorder.CodeInvalid, "bad"), want{livekit.EgressStatus_EGRESS_FAILED, "bad", 400, failure}},
		"unknown":     {failed(recorder.CodeNotFound, "gone"), want{livekit.EgressStatus_EGRESS_FAILED, "gone", 404, failure}},
		"conflict":    {failed(recorder.CodeConflict, "twice"), want{livekit.EgressStatus_EGRESS_FAILED, "twice", 409, failure}},
		"unavailable": {failed(recorder.CodeUnavailable, "away"), want{livekit.EgressStatus_EGRESS_FAILED, "away", 503, failure}},
		"connection":  {failed(recorder.CodeConnectionLost, "lost"), want{livekit.EgressStatus_EGRESS_FAILED, "lost", 503, failure}},
		"pipeline":    {failed(recorder.CodePipeline, "x264"), want{livekit.EgressStatus_EGRESS_FAILED, "x264", 500, failure}},
		"worker":      {failed(recorder.CodeWorkerLost, ""), want{livekit.EgressStatus_EGRESS_FAILED, "worker lost", 500, failure}},
		"no error": {
			recorder.Recording{Status: recorder.StatusFailed},
			want{livekit.EgressStatus_EGRESS_FAILED, "Failure", 500, failure},
		},
		"not implemented": {failed(recorder.CodeUnimplemented, "no"), want{livekit.EgressStatus_EGRESS_FAILED, "no", 501, failure}},
	} {
		c.rec.UpdatedAt = 9
		info := egress.Info(c.rec)
		assert.Equal(t, c.want, want{info.Status, info.Error, info.ErrorCode, info.Details}, name)
		assert.Equal(t, c.rec.Status.Ended(), info.EndedAt != 0, "%s: livekit-server takes ended_at for the end", name)
	}
}

func TestTimesAndNames(t *testing.T) {
	rec := recorder.Recording{
		ID: "EG_1", RoomName: "stand-up", RoomID: "RM_1", Status: recorder.StatusEnding, Attempt: 3,
		CreatedAt: 10, StartedAt: 20, EndedAt: 30, UpdatedAt: 40,
	}
	info := egress.Info(rec)
	assert.Equal(t, []any{"EG_1", "stand-up", "RM_1"}, []any{info.EgressId, info.RoomName, info.RoomId})
	assert.Equal(t, []int64{20, 0, 40}, []int64{info.StartedAt, info.EndedAt, info.UpdatedAt}, "not ended yet")
	assert.EqualValues(t, 2, info.RetryCount)
	rec.Status = recorder.StatusComplete
	assert.EqualValues(t, 30, egress.Info(rec).EndedAt)
}

func TestResults(t *testing.T) {
	file := recorder.FileResult{
		Filename: "a.mp4", State: recorder.FileDelivered, Location: "s3://b/a.mp4", Size: 7, Duration: 8, StartedAt: 1, EndedAt: 9,
		ManifestLocation: "s3://b/a.mp4.json", Backup: true,
	}
	wantFile := &livekit.FileInfo{Filename: "a.mp4", Location: "s3://b/a.mp4", Size: 7, Duration: 8, StartedAt: 1, EndedAt: 9}
	stream := func(s recorder.StreamState) recorder.StreamResult {
		return recorder.StreamResult{
			URL: "rtmp://h/a/{...}", State: s, StartedAt: 1, EndedAt: 3, Duration: 2, Retries: 4, LastRetryAt: 5, Error: "refused",
		}
	}
	wantStream := func(s livekit.StreamInfo_Status) *livekit.StreamInfo {
		return &livekit.StreamInfo{
			Url: "rtmp://h/a/{...}", Status: s, StartedAt: 1, EndedAt: 3, Duration: 2, Retries: 4, LastRetryAt: 5, Error: "refused",
		}
	}
	segments := recorder.SegmentsResult{
		PlaylistName: "p.m3u8", LivePlaylistName: "l.m3u8", PlaylistLocation: "s3://b/p", LivePlaylistLocation: "s3://b/l",
		SegmentCount: 3, Duration: 4, Series: recorder.Series{Size: 5, StartedAt: 6, EndedAt: 7, Backup: true, ManifestLocation: "s3://b/p.json"},
	}
	wantSegments := &livekit.SegmentsInfo{
		PlaylistName: "p.m3u8", LivePlaylistName: "l.m3u8", PlaylistLocation: "s3://b/p", LivePlaylistLocation: "s3://b/l",
		SegmentCount: 3, Duration: 4, Size: 5, StartedAt: 6, EndedAt: 7,
	}
	images := recorder.ImagesResult{FilenamePrefix: "i", ImageCount: 2, Series: recorder.Series{StartedAt: 3, EndedAt: 4, ManifestLocation: "s3://b/i.json"}}
	wantImages := &livekit.ImagesInfo{FilenamePrefix: "i", ImageCount: 2, StartedAt: 3, EndedAt: 4}

	info := egress.Info(recorder.Recording{
		Files: []recorder.FileResult{file}, Segments: []recorder.SegmentsResult{segments}, Images: []recorder.ImagesResult{images},
		Streams: []recorder.StreamResult{
			stream(recorder.StreamConnecting), stream(recorder.StreamActive), stream(recorder.StreamRetrying),
			stream(recorder.StreamFinished), stream(recorder.StreamFailed),
		},
	})
	wantInfo := &livekit.EgressInfo{
		FileResults: []*livekit.FileInfo{wantFile}, SegmentResults: []*livekit.SegmentsInfo{wantSegments}, ImageResults: []*livekit.ImagesInfo{wantImages},
		StreamResults: []*livekit.StreamInfo{
			wantStream(livekit.StreamInfo_ACTIVE), wantStream(livekit.StreamInfo_ACTIVE), wantStream(livekit.StreamInfo_ACTIVE),
			wantStream(livekit.StreamInfo_FINISHED), wantStream(livekit.StreamInfo_FAILED),
		},
		ManifestLocation: "s3://b/a.mp4.json", BackupStorageUsed: true, Request: info.Request,
	}
	assert.True(t, proto.Equal(wantInfo, info), "%s", info)
	assert.Nil(t, info.Result, "there are several kinds")

	info = egress.Info(recorder.Recording{Files: []recorder.FileResult{file}})
	assert.True(t, proto.Equal(wantFile, info.GetFile()), "older clients read the one result")
	info = egress.Info(recorder.Recording{Streams: []recorder.StreamResult{stream(recorder.StreamFailed)}})
	assert.True(t, proto.Equal(wantStream(livekit.StreamInfo_FAILED), info.GetStream().GetInfo()[0]))
	info = egress.Info(recorder.Recording{Segments: []recorder.SegmentsResult{segments}})
	assert.True(t, proto.Equal(wantSegments, info.GetSegments()))
	assert.Equal(t, "s3://b/p.json", info.ManifestLocation)
	info = egress.Info(recorder.Recording{Images: []recorder.ImagesResult{images}})
	assert.Equal(t, "s3://b/i.json", info.ManifestLocation)
	info = egress.Info(recorder.Recording{Files: []recorder.FileResult{file}, Images: []recorder.ImagesResult{images}})
	assert.Nil(t, info.Result)
}

func TestFinalNameFromTheStart(t *testing.T) {
	req := ofRoom(&livekit.RoomCompositeEgressRequest{FileOutputs: mp4("rec/{room_name}-{time}")})
	job, err := door().Job(req)
	require.NoError(t, err)
	info := egress.Info(recorder.NewRecording(job, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)))
	assert.Equal(t, "rec/stand-up-2026-01-02T030405.mp4", info.FileResults[0].Filename)
}

func TestJobsOfOtherDoors(t *testing.T) {
	job := recorder.Job{
		ID: "j", Source: recorder.Source{RoomName: "stand-up", Layout: "grid"},
		Files: []recorder.FileOutput{{Filepath: "a.mp4"}}, Streams: []recorder.StreamOutput{{URLs: []string{"rtmp://h/app/secretsecret"}}},
		Segments: []recorder.SegmentOutput{{PlaylistName: "p"}}, Images: []recorder.ImageOutput{{FilenamePrefix: "i"}},
	}
	info := egress.Info(recorder.NewRecording(job, time.Now()))
	room := info.GetRoomComposite()
	require.NotNil(t, room)
	assert.Equal(t, []string{"stand-up", "grid", "a.mp4"}, []string{room.RoomName, room.Layout, room.FileOutputs[0].Filepath})
	assert.NotContains(t, info.String(), "secretsecret")

	job.Source = recorder.Source{URL: "https://example.com/?token=secretsecret"}
	info = egress.Info(recorder.NewRecording(job, time.Now()))
	assert.Equal(t, "https://example.com/?token=redacted", info.GetWeb().GetUrl())
	assert.NotContains(t, info.String(), "secretsecret")

	for _, kept := range []string{`{`, `{"kind":"web","request":7}`, `{"kind":"moon","request":{}}`, `null`, `[]`} {
		info = egress.Info(recorder.Recording{ID: "j", RoomName: "r", Origin: []byte(kept)})
		assert.Equal(t, "r", info.GetRoomComposite().GetRoomName(), kept)
	}
}

func TestErrorsInInfoAreScrubbed(t *testing.T) {
	rec := recorder.Recording{
		Status: recorder.StatusFailed, Error: recorder.Errorf(recorder.CodeStream, "rtmp://host/app/secretsecret refused"),
		Streams: []recorder.StreamResult{{State: recorder.StreamFailed, Error: "rtmp://host/app/secretsecret refused"}},
	}
	assert.NotContains(t, egress.Info(rec).String(), "secretsecret")
	rec.Error.Code = recorder.CodeStartTimeout
	assert.NotContains(t, egress.Info(rec).String(), "secretsecret")
}

// cutOff is a recording that went on after its worker was lost, and then after its
// display died.
func cutOff() recorder.Recording {
	file := func(name string, at int64, backup bool) []recorder.FileResult {
		return []recorder.FileResult{{Filename: name, State: recorder.FileDelivered, Location: "s3://b/" + name, StartedAt: at, Backup: backup, ManifestLocation: name + ".json"}}
	}
	series := func(at int64) recorder.Series {
		return recorder.Series{State: recorder.FileDelivered, Size: 10, StartedAt: at, EndedAt: at + 5}
	}
	images := func(prefix string, at int64) []recorder.ImagesResult {
		return []recorder.ImagesResult{{FilenamePrefix: prefix, ImageCount: 2, Series: series(at)}}
	}
	segments := func(name string, at int64, continued bool) []recorder.SegmentsResult {
		return []recorder.SegmentsResult{{PlaylistName: name, SegmentCount: 3, Duration: 4, Continued: continued, Series: series(at)}}
	}
	return recorder.Recording{
		ID: "EG_1", RoomName: "r", Status: recorder.StatusComplete, EndReason: recorder.EndStopped, Part: 3, StartedAt: 30, EndedAt: 39, Attempt: 2,
		Files: file("a.part3.mp4", 30, false), Segments: segments("a.part2.m3u8", 30, false), Images: images("b", 30),
		Earlier: []recorder.Part{
			{Part: 1, StartedAt: 10, Files: file("a.mp4", 10, true), Segments: segments("a.m3u8", 10, false), Images: images("a", 10)},
			{Part: 2, StartedAt: 20, Files: file("a.part2.mp4", 20, false), Segments: segments("a.part2.m3u8", 20, true), Images: images("b", 20)},
		},
		Incidents: []recorder.Incident{{Reason: recorder.EndWorkerLost}, {Reason: recorder.EndBrowserDied}, {Reason: recorder.EndDisplayDied}, {Reason: recorder.EndBrowserDied}},
	}
}

func TestPartsAreOneEgress(t *testing.T) {
	rec := cutOff()
	info := egress.Info(rec)
	var names []string
	for _, f := range info.FileResults {
		names = append(names, f.Filename)
	}
	assert.Equal(t, []string{"a.mp4", "a.part2.mp4", "a.part3.mp4"}, names)
	want := []*livekit.SegmentsInfo{
		{PlaylistName: "a.m3u8", SegmentCount: 3, Duration: 4, Size: 10, StartedAt: 10, EndedAt: 15},
		{PlaylistName: "a.part2.m3u8", SegmentCount: 6, Duration: 8, Size: 20, StartedAt: 20, EndedAt: 35},
	}
	require.Len(t, info.SegmentResults, len(want), "what goes on is told once")
	for i, w := range want {
		assert.True(t, proto.Equal(w, info.SegmentResults[i]), "%s", info.SegmentResults[i])
	}
	require.Len(t, info.ImageResults, 2)
	assert.True(t, proto.Equal(&livekit.ImagesInfo{FilenamePrefix: "b", ImageCount: 4, StartedAt: 20, EndedAt: 35}, info.ImageResults[1]), "%s", info.ImageResults[1])
	assert.Equal(t, []int64{10, 39}, []int64{info.StartedAt, info.EndedAt})
	assert.True(t, info.BackupStorageUsed, "of any part")
	assert.Equal(t, "a.part3.mp4.json", info.ManifestLocation, "which tells of all")
	assert.Equal(t, "End reason: StopEgress API; 4 incidents: worker_lost, browser_died (2), display_died", info.Details)
	assert.Equal(t, "a.mp4", info.GetRoomComposite().FileOutputs[0].Filepath, "as it was asked for")
	assert.EqualValues(t, 4, rec.Images[0].ImageCount+rec.Earlier[1].Images[0].ImageCount, "the recording itself stays as it is")

	rec.Segments, rec.Images = nil, nil
	assert.Equal(t, "a.mp4", egress.Info(rec).GetFile().GetFilename(), "older clients read the announced one")
}

func TestRecordingOnIsActive(t *testing.T) {
	rec := cutOff()
	rec.Status, rec.EndReason, rec.StartedAt, rec.EndedAt, rec.Incidents = recorder.StatusStarting, "", 0, 0, rec.Incidents[:1]
	info := egress.Info(rec)
	assert.Equal(t, livekit.EgressStatus_EGRESS_ACTIVE, info.Status)
	assert.Equal(t, "1 incident: worker_lost", info.Details)
	assert.EqualValues(t, 10, info.StartedAt)
	rec.Status, rec.Error = recorder.StatusFailed, recorder.Errorf(recorder.CodeStartTimeout, "late")
	assert.Equal(t, livekit.EgressStatus_EGRESS_FAILED, egress.Info(rec).Status, "there is a recording")
}
