package recorder_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

func TestResolveSegments(t *testing.T) {
	job := recorder.Job{ID: "EG_1", Source: recorder.Source{RoomName: "a/b", RoomID: "RM_1"}}
	at := time.Date(2026, 1, 2, 3, 4, 5, 67_000_000, time.UTC)
	for _, c := range []struct {
		prefix, list, live string
		part               int
		want               [3]string
	}{
		{"", "", "", 1, [3]string{"a_b-2026-01-02T030405", "a_b-2026-01-02T030405.m3u8", ""}},
		{"hls/", "", "", 1, [3]string{"hls/a_b-2026-01-02T030405", "hls/a_b-2026-01-02T030405.m3u8", ""}},
		{"hls/seg", "", "", 1, [3]string{"hls/seg", "hls/seg.m3u8", ""}},
		{"hls/list.m3u8", "", "", 1, [3]string{"hls/list.m3u8", "hls/list.m3u8", ""}},
		{"hls/seg", "list", "", 1, [3]string{"hls/seg", "hls/list.m3u8", ""}},
		{"hls/seg", "hls/list.M3U8", "live", 1, [3]string{"hls/seg", "hls/list.m3u8", "hls/live.m3u8"}},
		{"", "hls/list.m3u8", "hls/live.m3u8", 1, [3]string{"hls/list", "hls/list.m3u8", "hls/live.m3u8"}},
		{"seg", "hls/list", "", 1, [3]string{"hls/seg", "hls/list.m3u8", ""}},
		{"hls/ts/seg", "hls/list", "", 1, [3]string{"hls/ts/seg", "hls/list.m3u8", ""}},
		{"ts/seg", "hls/list", "", 1, [3]string{"hls/ts/seg", "hls/list.m3u8", ""}},
		{"{room_id}/{utc}", "v1.2", "now", 2, [3]string{"RM_1/20260102030405067.part2", "RM_1/v1.2.part2.m3u8", "RM_1/now.part2.m3u8"}},
	} {
		o := recorder.ResolveSegments(job, recorder.SegmentOutput{FilenamePrefix: c.prefix, PlaylistName: c.list, LivePlaylistName: c.live}, at, c.part)
		assert.Equal(t, c.want, [3]string{o.FilenamePrefix, o.PlaylistName, o.LivePlaylistName}, c)
		assert.Equal(t, recorder.SuffixIndex, o.FilenameSuffix)
		assert.Equal(t, 4*time.Second, o.SegmentDuration.Std())
	}
}

func TestResolveImages(t *testing.T) {
	job := recorder.Job{ID: "EG_1", Source: recorder.Source{URL: "https://example.com"}}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct{ given, want recorder.ImageOutput }{
		{recorder.ImageOutput{}, recorder.ImageOutput{FilenamePrefix: "EG_1-2026-01-02T030405.part2", Width: 1280, Height: 720}},
		{recorder.ImageOutput{FilenamePrefix: "a/b", Width: 320}, recorder.ImageOutput{FilenamePrefix: "a/b.part2", Width: 320, Height: 180}},
		{recorder.ImageOutput{FilenamePrefix: "{room_id}", Height: 99}, recorder.ImageOutput{FilenamePrefix: "EG_1.part2", Width: 176, Height: 99}},
		{recorder.ImageOutput{FilenamePrefix: "a/", Width: 64, Height: 64}, recorder.ImageOutput{FilenamePrefix: "a/EG_1-2026-01-02T030405.part2", Width: 64, Height: 64}},
	} {
		c.want.CaptureInterval, c.want.FilenameSuffix = recorder.Duration(10*time.Second), recorder.SuffixIndex
		assert.Equal(t, c.want, recorder.ResolveImages(job, c.given, at, 2))
	}
}

func TestSeriesAreJudged(t *testing.T) {
	outputs := func(text string) string { return `{"url":"https://example.com",` + text + `}` }
	for _, c := range []struct{ job, field, value, remedy string }{
		{outputs(`"metadata":{}`), "file_outputs", "", "name an output"},
		{outputs(`"segment_outputs":[{},{"filename_prefix":"a"},{"filename_prefix":"b"}]`), "segment_outputs", "3", "at most 2"},
		{outputs(`"image_outputs":[{"filename_prefix":"a"},{"filename_prefix":"b"},{"filename_prefix":"c"}]`), "image_outputs", "3", "at most 2"},
		{outputs(`"segment_outputs":[{"filename_prefix":"../a"}]`), "segment_outputs[0].filename_prefix", "../a", "leaves"},
		{outputs(`"segment_outputs":[{"playlist_name":"/a"}]`), "segment_outputs[0].playlist_name", "/a", "relative"},
		{outputs(`"segment_outputs":[{"live_playlist_name":"{nonsense}"}]`), "segment_outputs[0].live_playlist_name", "{nonsense}", "template"},
		{outputs(`"segment_outputs":[{"live_playlist_name":"a/b"}]`), "segment_outputs[0].live_playlist_name", "a/b", "directory"},
		{outputs(`"segment_outputs":[{"playlist_name":"a/b","live_playlist_name":"b.m3u8"}]`), "segment_outputs[0].live_playlist_name", "b.m3u8", "own name"},
		{outputs(`"segment_outputs":[{"segment_duration":"900ms"}]`), "segment_outputs[0].segment_duration", "900ms", "1s to 1m0s"},
		{outputs(`"segment_outputs":[{"segment_duration":-4}]`), "segment_outputs[0].segment_duration", "-4s", "1s to 1m0s"},
		{outputs(`"segment_outputs":[{"filename_suffix":"none"}]`), "segment_outputs[0].filename_suffix", "none", "index or timestamp"},
		{outputs(`"segment_outputs":[{"filename_prefix":"a"},{"filename_prefix":"a","playlist_name":"b"}]`), "segment_outputs[1].filename_prefix", "a", "segment_outputs[0]"},
		{outputs(`"segment_outputs":[{"filename_prefix":"a"},{"filename_prefix":"b","playlist_name":"a"}]`), "segment_outputs[1].playlist_name", "a", "segment_outputs[0]"},
		{outputs(`"segment_outputs":[{"s3":{"bucket":""}}]`), "segment_outputs[0].s3.bucket", "", "characters"},
		{outputs(`"image_outputs":[{"capture_interval":"2h"}]`), "image_outputs[0].capture_interval", "2h0m0s", "1s to 1h"},
		{outputs(`"image_outputs":[{"width":8}]`), "image_outputs[0].width", "8", "16 to 3840"},
		{outputs(`"image_outputs":[{"height":-8}]`), "image_outputs[0].height", "-8", "16 to 3840"},
		{outputs(`"advanced":{"width":160,"height":3840},"image_outputs":[{"width":3840}]`), "image_outputs[0].width", "3840", "3840x92160"},
		{outputs(`"advanced":{"width":3840,"height":160},"image_outputs":[{"height":3840}]`), "image_outputs[0].height", "3840", "92160x3840"},
		{outputs(`"image_outputs":[{"width":20}]`), "image_outputs[0].width", "20", "20x11"},
		{outputs(`"image_outputs":[{"filename_suffix":"date"}]`), "image_outputs[0].filename_suffix", "date", "index or timestamp or none"},
		{outputs(`"image_outputs":[{"filename_prefix":"a"},{"filename_prefix":"a"}]`), "image_outputs[1].filename_prefix", "a", "image_outputs[0]"},
		{outputs(`"audio_only":true,"image_outputs":[{}]`), "image_outputs", "1", "audio_only"},
	} {
		faults := faultsOf(t, c.job)
		require.Len(t, faults, 1, c.job)
		assert.Equal(t, c.field, faults[0].Field)
		assert.Equal(t, c.value, faults[0].Value, c.job)
		assert.Contains(t, faults[0].Remedy, c.remedy)
	}
	for _, job := range []string{
		outputs(`"segment_outputs":[{}],"image_outputs":[{}],"limits":{"max_size":1000000}`),
		outputs(`"segment_outputs":[{"filename_prefix":"a/b","playlist_name":"c","live_playlist_name":"a/d","segment_duration":2.5,"filename_suffix":"timestamp"}]`),
		outputs(`"file_outputs":[{"filepath":"a"}],"segment_outputs":[{"filename_prefix":"a"}],"image_outputs":[{"filename_prefix":"a","filename_suffix":"none"}]`),
		outputs(`"audio_only":true,"segment_outputs":[{}]`),
	} {
		_, err := recorder.ParseJob([]byte(job))
		assert.NoError(t, err, job)
	}
}

func TestReceiversAreJudged(t *testing.T) {
	for _, c := range []struct{ job, field, remedy string }{
		{page(`, "webhooks": [{"url":"ftp://h"}]`), "webhooks[0].url", "http"},
		{page(`, "webhooks": [{"url":"https://h/?t=5ecret"},{"url":""}]`), "webhooks[1].url", "http"},
		{page(`, "webhooks": [{"url":"http://a"},{"url":"http://b"},{"url":"http://c"},{"url":"http://d"},{"url":"http://e"}]`), "webhooks", "at most 4"},
		{page(`, "webhooks": [{"url":"http://a","signing_key":"a\nb"}]`), "webhooks[0].signing_key", "control"},
		{page(`, "origin": "` + strings.Repeat("x", 64<<10) + `"`), "origin", "at most"},
	} {
		faults := faultsOf(t, c.job)
		require.Len(t, faults, 1, c.job)
		assert.Equal(t, c.field, faults[0].Field)
		assert.Contains(t, faults[0].Remedy, c.remedy)
		assert.NotContains(t, faults[0].String(), "5ecret")
	}
}

func seriesJob(s *stage) {
	s.job.Files, s.job.Streams = nil, nil
	s.job.Segments = []recorder.SegmentOutput{{FilenamePrefix: "hls/{room_name}", LivePlaylistName: "live", Storage: recorder.Storage{S3: &recorder.S3Upload{Bucket: "b"}}}}
	s.job.Images = []recorder.ImageOutput{{FilenamePrefix: "hls/thumb"}}
}

func TestSeriesAreRecorded(t *testing.T) {
	onStage(t, func(s *stage) {
		seriesJob(s)
		s.begin()
		outs := s.pipeline.Spec.Outputs
		require.Len(t, outs, 2)
		assert.Equal(t, recorder.KindSegments, outs[0].Kind)
		assert.Equal(t, "segments-0", filepath.Base(outs[0].Dir))
		assert.Equal(t, "images-0", filepath.Base(outs[1].Dir))
		assert.True(t, outs[0].Segments.IsZero(), "the pipeline knows no storage")
		first := s.reports[0]
		require.Len(t, first.Segments, 1)
		require.Len(t, first.Images, 1)
		assert.Equal(t, recorder.FileRecording, first.Segments[0].State)
		assert.Equal(t, outs[0].Segments.PlaylistName, first.Segments[0].PlaylistName)
		assert.Equal(t, outs[0].Segments.LivePlaylistName, first.Segments[0].LivePlaylistName)
		assert.Equal(t, outs[1].Images.FilenamePrefix, first.Images[0].FilenamePrefix)
		s.session.Log(recorder.MarkerEnd)
		rec := s.end()
		require.Nil(t, rec.Error)
		assert.Equal(t, recorder.FilePending, rec.Segments[0].State)
		assert.Equal(t, int64(1), rec.Segments[0].SegmentCount)
		assert.Equal(t, int64(time.Second), rec.Segments[0].Duration)
		assert.Equal(t, int64(5), rec.Segments[0].Size)
		assert.Equal(t, rec.StartedAt, rec.Segments[0].StartedAt)
		assert.Equal(t, rec.StartedAt+int64(time.Second), rec.Segments[0].EndedAt)
		assert.Equal(t, int64(1), rec.Images[0].ImageCount)
		assert.False(t, rec.Settled())
		assert.Equal(t, recorder.CodeUpload, recorder.Conclude(rec).Error.Code)
		rec.Segments[0].State, rec.Images[0].State = recorder.FileDelivered, recorder.FileRefused
		rec.Images[0].Error = "denied"
		assert.True(t, rec.Settled())
		assert.ErrorContains(t, recorder.Conclude(rec).Error, "hls/thumb was not delivered: denied")
		rec.Images[0].State = recorder.FileDelivered
		assert.Equal(t, recorder.StatusComplete, recorder.Conclude(rec).Status, "without a file or a stream")
	})
}

// A stream may be removed by the URL it was added with, the one that stands for,
// or its id.
func TestShortStreamURLs(t *testing.T) {
	onStage(t, func(s *stage) {
		const mux, resolved, srt = "mux://a-key-of-mux", "rtmps://global-live.mux.com:443/app/a-key-of-mux", "srt://h:9000?streamid=a-stream-id"
		s.job.Streams = []recorder.StreamOutput{{URLs: []string{mux}}}
		s.begin()
		assert.Equal(t, resolved, s.pipeline.Spec.Outputs[1].URL)
		id := recorder.StreamID(mux)
		change := func(u recorder.Update) { s.send(recorder.Command{Kind: recorder.CommandUpdate, Update: u}) }
		change(recorder.Update{RemoveStreamURLs: []string{resolved}})
		change(recorder.Update{AddStreamURLs: []string{resolved, srt}})
		change(recorder.Update{RemoveStreamURLs: []string{mux, srt}})
		assert.Equal(t, []string{
			"remove " + id, "add " + id, "add " + recorder.StreamID(srt), "remove " + id, "remove " + recorder.StreamID(srt),
		}, s.pipeline.Calls())
		s.session.Log(recorder.MarkerEnd)
		rec := s.end()
		assert.Equal(t, "rtmps://global-live.mux.com:443/app/{a-k...mux}", rec.Streams[0].URL)
		assert.Equal(t, "srt://h:9000?{redacted}", rec.Streams[2].URL)
	})
}

func TestSeriesThatFailed(t *testing.T) {
	onStage(t, func(s *stage) {
		seriesJob(s)
		s.begin()
		s.pipeline.Change(func(snap *recorder.Snapshot) {
			snap.Series[0].Err = errors.New("segment x: no space left for " + streamURL)
			snap.Series[1].Err, snap.Series[1].Files = errors.New("no encoder"), 0
		})
		time.Sleep(2 * time.Second)
		assert.Equal(t, recorder.StatusActive, s.last().Status)
		assert.Contains(t, s.last().Segments[0].Error, "segment x: no space left")
		s.session.Log(recorder.MarkerEnd)
		rec := s.end()
		assert.Equal(t, recorder.FilePending, rec.Segments[0].State, "what it has is delivered")
		assert.Equal(t, recorder.FileEmpty, rec.Images[0].State)
		assert.Equal(t, "no encoder", rec.Images[0].Error)
	})
}

func TestSeriesWithoutAFile(t *testing.T) {
	onStage(t, func(s *stage) {
		seriesJob(s)
		s.begin()
		s.pipeline.Change(func(snap *recorder.Snapshot) { snap.Series[0].Files = 0 })
		s.session.Log(recorder.MarkerEnd)
		rec := s.end()
		assert.Equal(t, recorder.FileEmpty, rec.Segments[0].State)
		rec.Images[0].State = recorder.FileDelivered
		assert.ErrorContains(t, recorder.Conclude(rec).Error, ".m3u8 is empty")
	})
}

func TestRoomIDIsLearned(t *testing.T) {
	inRoom(t, recorder.RoomState{ID: "RM_7", Exists: true, Participants: 2}, nil, func(s *stage) {
		s.begin()
		synctest.Wait()
		assert.Equal(t, "RM_7", s.last().RoomID)
		s.session.Log(recorder.MarkerEnd)
		assert.Equal(t, "RM_7", s.end().RoomID)
	})
}

func TestSalvageSeries(t *testing.T) {
	dir := t.TempDir()
	job := recorder.Job{
		ID: "j", Source: recorder.Source{URL: "https://example.com"},
		Segments: []recorder.SegmentOutput{{FilenamePrefix: "a/s", LivePlaylistName: "live"}, {FilenamePrefix: "b"}},
		Images:   []recorder.ImageOutput{{FilenamePrefix: "t"}, {FilenamePrefix: "u"}},
	}
	rec := recorder.NewRecording(job, time.Unix(1, 0))
	rec.Status = recorder.StatusActive
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	list := "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4.000,\ns_00000.ts\n#EXTINF:2.500,\ns_00001.ts\n"
	write("segments-0/a/s.m3u8", list)
	write("segments-0/a/live.m3u8", list)
	write("images-0/t_00000.jpeg", "x")
	write("images-0/t_00001.jpeg.part", "x")
	cause := recorder.Errorf(recorder.CodeWorkerLost, "gone")
	for range 2 { // a second time changes nothing
		rec = recorder.Salvage(rec, dir, cause, recorder.EndWorkerLost, 9)
		assert.Equal(t, recorder.FilePending, rec.Segments[0].State)
		assert.Equal(t, int64(2), rec.Segments[0].SegmentCount)
		assert.Equal(t, int64(6500*time.Millisecond), rec.Segments[0].Duration)
		assert.Equal(t, recorder.FileEmpty, rec.Segments[1].State)
		assert.Equal(t, recorder.FilePending, rec.Images[0].State)
		assert.Equal(t, int64(1), rec.Images[0].ImageCount)
		assert.Equal(t, recorder.FileEmpty, rec.Images[1].State)
		for _, name := range []string{"s", "live"} {
			text, err := os.ReadFile(filepath.Join(dir, "segments-0/a", name+".m3u8"))
			require.NoError(t, err)
			assert.Equal(t, list+"#EXT-X-ENDLIST\n", string(text))
		}
	}
	rec.StartedAt = 1
	lost := recorder.ConcludeLost(rec, cause, recorder.EndWorkerLost, 9)
	assert.Equal(t, recorder.StatusFailed, lost.Status)
	assert.Equal(t, recorder.FilePending, lost.Segments[0].State)
}
