package recorder_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

// page makes a job's JSON of further keys.
func page(more string) string {
	return `{"url": "https://example.com", "file_outputs": [{"filepath": "a.mp4"}]` + more + `}`
}

// streams makes a job's JSON with ingest URLs.
func streams(urls ...string) string {
	list, _ := json.Marshal(urls)
	return `{"url": "https://example.com", "stream_outputs": [{"urls": ` + string(list) + `}]}`
}

func file(output string) string {
	return `{"url": "https://example.com", "file_outputs": [` + output + `]}`
}

func path(p string) string {
	text, _ := json.Marshal(p)
	return file(`{"filepath": ` + string(text) + `}`)
}

func faultsOf(t *testing.T, job string) recorder.Faults {
	t.Helper()
	_, err := recorder.ParseJob([]byte(job))
	if err == nil {
		return nil
	}
	var f recorder.Faults
	require.ErrorAs(t, err, &f)
	require.NotEmpty(t, f)
	assert.Equal(t, recorder.CodeInvalid, recorder.CodeOf(err))
	for _, fault := range f {
		assert.NotEmpty(t, fault.Field)
		assert.NotEmpty(t, fault.Remedy)
		assert.Less(t, len(fault.String()), 1000)
	}
	return f
}

func TestParseJobNamesTheFault(t *testing.T) {
	long := strings.Repeat("x", 9000)
	for _, c := range []struct{ job, field, value, remedy string }{
		// What is no job at all.
		{``, "job", "", "ends too early"},
		{`{"url": `, "job", "", "ends too early"},
		{`{"url": }`, "job", "", "at byte 9"},
		{`null`, "job", "", "is no JSON object"},
		{`[]`, "job", "", "is no JSON object"},
		{`"https://example.com"`, "job", "", "is no JSON object"},
		{page(``) + ` {}`, "job", "", "more after its closing brace"},
		{page(``) + ` trailing`, "job", "", "more after its closing brace"},
		{page(`, "metadata": {"k": "` + strings.Repeat("x", recorder.LargestJob) + `"}`), "job", "bytes", "at most 262144 bytes"},
		{strings.Repeat("[", 20000), "job", "", "is no JSON"},

		// Keys and types.
		{page(`, "colour": "red"`), "colour", "", "unknown key: known here are"},
		{page(`, "URL": "https://example.com"`), "URL", "", "unknown key"},
		{file(`{"filepath": "a.mp4", "s3": {"bucket": "bbb", "regoin": "x"}}`), "file_outputs[0].s3.regoin", "", "region"},
		{page(`, "advanced": {"fps": 30}`), "advanced.fps", "", "framerate"},
		{page(`, "limits": {"max": 1}`), "limits.max", "", "max_duration"},
		{page(`, "` + long + `": 1`), "xxx…", "", "unknown key"},
		{page(`, "preset": 7`), "preset", "a number", "is no text"},
		{page(`, "audio_only": "yes"`), "audio_only", "a text", "true or false"},
		{page(`, "file_outputs": {}`), "file_outputs", "an object", "is no list"},
		{page(`, "stream_outputs": ["rtmp://h/a/5ecretkey"]`), "stream_outputs[0]", "a text", "is no object"},
		{page(`, "limits": []`), "limits", "a list", "is no object"},
		{page(`, "metadata": {"a": {}}`), "metadata.a", "an object", "is no text"},
		{page(`, "metadata": "x"`), "metadata", "a text", "is no object"},
		{page(`, "advanced": {"width": 1280.5}`), "advanced.width", "1280.5", "whole number"},
		{page(`, "advanced": {"width": "1280"}`), "advanced.width", "a text", "is no number"},
		{page(`, "advanced": {"width": 99999999999999999999}`), "advanced.width", "99999999999999999999", "whole number"},
		{page(`, "advanced": {"key_frame_interval": 1e999}`), "advanced.key_frame_interval", "1e999", "out of range"},
		{page(`, "advanced": {"key_frame_interval": true}`), "advanced.key_frame_interval", "a truth value", "is no number"},

		// Durations.
		{page(`, "limits": {"max_duration": "soon"}`), "limits.max_duration", "soon", "is no duration"},
		{page(`, "limits": {"max_duration": "NaN"}`), "limits.max_duration", "NaN", "is no duration"},
		{page(`, "limits": {"max_duration": "Inf"}`), "limits.max_duration", "Inf", "is no duration"},
		{page(`, "limits": {"max_duration": 1e300}`), "limits.max_duration", "1e300", "is no duration"},
		{page(`, "limits": {"max_duration": ""}`), "limits.max_duration", "", "is no duration"},
		{page(`, "limits": {"max_duration": []}`), "limits.max_duration", "a list", "is no duration"},
		{page(`, "limits": {"max_duration": -5}`), "limits.max_duration", "-5s", "is negative"},
		{page(`, "limits": {"max_duration": "-1h"}`), "limits.max_duration", "-1h0m0s", "is negative"},
		{page(`, "limits": {"max_duration": 0.001}`), "limits.max_duration", "1ms", "1s or more"},
		{page(`, "limits": {"start_timeout": "2h"}`), "limits.start_timeout", "2h0m0s", "1s to 1h"},
		{page(`, "limits": {"stream_timeout": -1}`), "limits.stream_timeout", "-1s", "is negative"},
		{page(`, "limits": {"max_size": 99}`), "limits.max_size", "99", "100000 or more"},
		{page(`, "limits": {"max_size": -1}`), "limits.max_size", "-1", "100000 or more"},
		{page(`, "limits": {"reload_attempts": 11}`), "limits.reload_attempts", "11", "0 to 10"},

		// Source.
		{`{"file_outputs": [{}]}`, "url", "", "name a source"},
		{page(`, "room_name": "r", "custom_base_url": "https://t.example.com"`), "url", "https://example.com", "exclude each other"},
		{strings.Replace(page(``), "https://example.com", "file:///etc/passwd", 1), "url", "file:…", "http://, https://"},
		{strings.Replace(page(``), "https://example.com", "javascript:alert(1)", 1), "url", "javascript:…", "http://"},
		{strings.Replace(page(``), "https://example.com", "JavaScript:alert(1)", 1), "url", "javascript:…", "http://"},
		{strings.Replace(page(``), "https://example.com", " javascript:alert(1)", 1), "url", "{redacted}", "absolute"},
		{strings.Replace(page(``), "https://example.com", "data:text/html,hi", 1), "url", "data:…", "http://"},
		{strings.Replace(page(``), "https://example.com", "chrome://crash", 1), "url", "chrome:…", "http://"},
		{strings.Replace(page(``), "https://example.com", "view-source:https://example.com", 1), "url", "view-source:…", "http://"},
		{strings.Replace(page(``), "https://example.com", "example.com/x", 1), "url", "{redacted}", "http://"},
		{strings.Replace(page(``), "https://example.com", "https:///x", 1), "url", "https:///x", "names no host"},
		{strings.Replace(page(``), "https://example.com", "https://x/"+long, 1), "url", "{redacted}", "longer than 8192"},
		{`{"room_name": "r", "layout": "own", "file_outputs": [{}]}`, "layout", "own", "single-speaker"},
		{`{"room_name": "r", "layout": "grid", "identity": "ann", "file_outputs": [{}]}`, "layout", "grid", "participant"},
		{`{"room_name": "r", "layout": "participant-light", "file_outputs": [{}]}`, "identity", "", "name the participant"},
		{`{"room_name": "r", "identity": "ann", "audio_track_id": "TR_a", "file_outputs": [{}]}`, "identity", "ann", "exclude each other"},
		{`{"room_name": "r", "screen_share": true, "video_track_id": "TR_v", "file_outputs": [{}]}`, "screen_share", "true", "name it with identity"},
		{`{"room_name": "r", "custom_base_url": "https://t", "identity": "ann", "file_outputs": [{}]}`, "identity", "ann", "built-in template"},
		{page(`, "identity": "ann"`), "identity", "ann", "built-in template"},
		{page(`, "limits": {"empty_timeout": "10ms"}`), "limits.empty_timeout", "10ms", "1s to 24h"},
		{page(`, "limits": {"empty_timeout": -1}`), "limits.empty_timeout", "-1s", "is negative"},
		{`{"room_name": "r", "custom_base_url": "file:///x", "file_outputs": [{}]}`, "custom_base_url", "file:…", "https://"},
		{`{"room_name": "r", "custom_base_url": "https://t", "livekit_url": "redis://h", "file_outputs": [{}]}`, "livekit_url", "redis:…", "wss://"},
		{`{"room_name": "r", "livekit_url": "wss://h/?access_token=5ecret", "file_outputs": [{}]}`, "livekit_url", "wss://h/…", "write wss://host"},
		{`{"room_name": "r", "livekit_url": "wss://h#5ecret", "file_outputs": [{}]}`, "livekit_url", "wss://h/…", "write wss://host"},
		{`{"room_name": "r\u0000", "custom_base_url": "https://t", "file_outputs": [{}]}`, "room_name", "r\x00", "control characters"},
		{page(`, "layout": "grid", "template": "speaker"`), "template", "speaker", `"grid"`},
		{page(`, "layout": "` + strings.Repeat("g", 129) + `"`), "layout", "ggg", "longer than 128"},
		{page(`, "id": "../x"`), "id", "../x", "1 to 64 characters"},
		{page(`, "id": "` + strings.Repeat("i", 65) + `"`), "id", "iii", "1 to 64 characters"},

		// Encoding.
		{page(`, "preset": "4K"`), "preset", "4K", "H264_720P_30, H264_720P_60"},
		{page(`, "advanced": {"width": 1281}`), "advanced.width", "1281", "use 1280 or 1282"},
		{page(`, "advanced": {"height": 719}`), "advanced.height", "719", "use 718 or 720"},
		{page(`, "advanced": {"width": 2}`), "advanced.width", "2", "160 to 3840"},
		{page(`, "advanced": {"height": 4320}`), "advanced.height", "4320", "160 to 3840"},
		{page(`, "advanced": {"width": -2}`), "advanced.width", "-2", "160 to 3840"},
		{page(`, "advanced": {"framerate": 61}`), "advanced.framerate", "61", "1 to 60"},
		{page(`, "advanced": {"video_bitrate": 149}`), "advanced.video_bitrate", "149", "150 to 50000"},
		{page(`, "advanced": {"audio_bitrate": 8}`), "advanced.audio_bitrate", "8", "16 to 512"},
		{page(`, "advanced": {"audio_frequency": 8000}`), "advanced.audio_frequency", "8000", "44100 or 48000"},
		{page(`, "advanced": {"key_frame_interval": 0.1}`), "advanced.key_frame_interval", "0.1", "0.5 to 30"},
		{page(`, "audio_only": true, "video_only": true`), "video_only", "true", "exclude each other"},

		// Outputs.
		{`{"url": "https://example.com"}`, "file_outputs", "", "name an output"},
		{`{"url": "https://example.com", "stream_outputs": [{"urls": []}]}`, "file_outputs", "", "name an output"},
		{file(`{"filepath":"1"},{"filepath":"2"},{"filepath":"3"},{"filepath":"4"},{"filepath":"5"}`), "file_outputs", "5", "at most 4"},
		{file(`{"filepath": "a"}, {"filepath": "a"}`), "file_outputs[1].filepath", "a", "file_outputs[0]"},
		{file(`{"filepath": "a"}, {"filepath": "a.mp4"}`), "file_outputs[1].filepath", "a.mp4", "file_outputs[0]"},
		{file(`{}, {}`), "file_outputs[1].filepath", "", "file_outputs[0]"},
		{path("../x"), "file_outputs[0].filepath", "../x", `".."`},
		{path("a/../../b"), "file_outputs[0].filepath", "a/../../b", `".."`},
		{path("a/.."), "file_outputs[0].filepath", "a/..", `".."`},
		{path("a/./b"), "file_outputs[0].filepath", "a/./b", ".."},
		{path("a//b"), "file_outputs[0].filepath", "a//b", ".."},
		{path("/abs"), "file_outputs[0].filepath", "/abs", "not relative"},
		{path(`a\b`), "file_outputs[0].filepath", `a\b`, "not relative"},
		{path(`..\x`), "file_outputs[0].filepath", `..\x`, "not relative"},
		{path("a\x00b"), "file_outputs[0].filepath", "a\x00b", "control characters"},
		{path("a\nb"), "file_outputs[0].filepath", "a\nb", "control characters"},
		{path(strings.Repeat("p", 201)), "file_outputs[0].filepath", "ppp", "longer than 200"},
		{path(strings.Repeat("p/", 600)), "file_outputs[0].filepath", "p/p", "longer than 1000"},
		{path(strings.Repeat("p/", 20)), "file_outputs[0].filepath", "p/p", "16 directories"},
		{path("{room}.mp4"), "file_outputs[0].filepath", "{room}", "{room_name}"},
		{`{"url": "https://example.com", "video_only": true, "file_outputs": [{"filepath": "a.MP3"}]}`, "file_outputs[0].filepath", "a.MP3", "sound only"},
		{file(`{"upload_url": "https://h/x?sig=5ecret", "s3": {"bucket": "bbb"}}`), "file_outputs[0].upload_url", "https://h/x?sig=redacted", "exclude each other"},
		{file(`{"upload_url": "ftp://h/x"}`), "file_outputs[0].upload_url", "ftp:…", "https://"},
		{file(`{"s3": {}}`), "file_outputs[0].s3.bucket", "", "3 to 255 characters"},
		{file(`{"s3": {"bucket": "a/b"}}`), "file_outputs[0].s3.bucket", "a/b", "3 to 255 characters"},
		{file(`{"s3": {"bucket": "bbb", "access_key": "k"}}`), "file_outputs[0].s3.secret", "", "belong together"},
		{file(`{"s3": {"bucket": "bbb", "session_token": "5ecret"}}`), "file_outputs[0].s3.session_token", "", "beside it"},
		{file(`{"s3": {"bucket": "bbb", "tagging": "a=%zz"}}`), "file_outputs[0].s3.tagging", "a=%zz", "URL-encoded"},
		{file(`{"s3": {"bucket": "bbb", "endpoint": "s3.example.com"}}`), "file_outputs[0].s3.endpoint", "{redacted}", "https://"},
		{file(`{"s3": {"bucket": "bbb", "metadata": {"a": "b\r\nX-Evil: 1"}}}`), "file_outputs[0].s3.metadata.a", "12 bytes", "line breaks"},
		{page(`, "metadata": {"": "x"}`), "metadata.", "1 bytes", "1 to 256 bytes"},

		// Streams.
		{streams("rtmp://h/a/1", "rtmp://h/a/2", "rtmp://h/a/3", "rtmp://h/a/4"), "stream_outputs", "4", "at most 3"},
		{`{"url":"https://example.com","stream_outputs":[{"urls":["rtmp://h/a/1","rtmp://h/a/2"]},{"urls":["rtmp://h/a/3","rtmp://h/a/4"]}]}`, "stream_outputs", "4", "at most 3"},
		{`{"url":"https://example.com","stream_outputs":[{"urls":["rtmp://h/a/1"]},{"urls":["rtmp://h/a/1"]}]}`, "stream_outputs[1].urls[0]", "rtmp://h/a/{...}", "twice"},
		{streams("http://h/a/k"), "stream_outputs[0].urls[0]", "http:…", "rtmp://"},
		{streams("mux://5ecretkey/more"), "stream_outputs[0].urls[0]", "{redacted}", "mux://key"},
		{streams("twitch://"), "stream_outputs[0].urls[0]", "{redacted}", "twitch://key"},
		{streams("mux://5ecretkey", "rtmps://global-live.mux.com:443/app/5ecretkey"), "stream_outputs[0].urls[1]", "rtmps://global-live.mux.com:443/app/{...}", "twice"},
		{streams("srt://h?streamid=5ecretkey"), "stream_outputs[0].urls[0]", "srt://h?{redacted}", "host and port"},
		{streams("srt://h:1?streamid=#!::5ecret"), "stream_outputs[0].urls[0]", "srt://h:1?{redacted}", "%23"},
		{streams("srt://h:1?mode=listener&streamid=5ecret"), "stream_outputs[0].urls[0]", "srt://h:1?{redacted}", "caller"},
		{streams("srt://h:1?passphrase=5ecret"), "stream_outputs[0].urls[0]", "srt://h:1?{redacted}", "10 to 79"},
		{streams("srt://h:1?passphrase=%zz5ecret"), "stream_outputs[0].urls[0]", "srt://h:1?{redacted}", "percent-encode"},
		{streams("srt://h:1?pbkeylen=17"), "stream_outputs[0].urls[0]", "srt://h:1?{redacted}", "pbkeylen"},
		{streams("srt://h:1?latency=soon"), "stream_outputs[0].urls[0]", "srt://h:1?{redacted}", "latency"},
		{streams("file:///dev/sda"), "stream_outputs[0].urls[0]", "file:…", "rtmp://"},
		{streams("5ecret-5ecret"), "stream_outputs[0].urls[0]", "{redacted}", "rtmp://"},
		{streams("rtmp://h/5ecretkey"), "stream_outputs[0].urls[0]", "rtmp://h/{...}", "application and stream key"},
		{streams("rtmp://h/a/"), "stream_outputs[0].urls[0]", "rtmp://h/{...}", "application and stream key"},
		{streams("rtmp:///a/k"), "stream_outputs[0].urls[0]", "{redacted}", "host"},
		{streams("rtmp://h/a/k swfUrl=x"), "stream_outputs[0].urls[0]", "rtmp://h/a/{", "white space"},
		{streams("rtmp://u:5ecret@h:x/a/k"), "stream_outputs[0].urls[0]", "{redacted}", "rtmp://"},
	} {
		t.Run(fmt.Sprintf("%.60s", c.job), func(t *testing.T) {
			f := faultsOf(t, c.job)
			i := slices.IndexFunc(f, func(f recorder.Fault) bool {
				return strings.HasSuffix(f.Field, c.field) && strings.Contains(f.Value, c.value) && strings.Contains(f.Remedy, c.remedy)
			})
			assert.GreaterOrEqual(t, i, 0, "%#v", f)
			assert.NotContains(t, f.Error(), "5ecret")
		})
	}
}

func TestParseJobReportsEveryFaultAtOnce(t *testing.T) {
	keys := func(f recorder.Faults) (fields []string) {
		for _, fault := range f {
			fields = append(fields, fault.Field)
		}
		return fields
	}
	shape := faultsOf(t, `{"url": 1, "colour": 2, "limits": {"x": 1, "max_duration": "soon"}, "file_outputs": [{}, {"s3": []}], "metadata": {"b": 1, "a": 1}}`)
	assert.Equal(t, []string{
		"colour", "file_outputs[1].s3", "limits.max_duration", "limits.x", "metadata.a", "metadata.b", "url",
	}, keys(shape))
	assert.Equal(t, 6, strings.Count(shape.Error(), "; "))

	values := faultsOf(t, `{"id": "a b", "url": "ftp://x", "preset": "x", "advanced": {"width": 1, "framerate": 99},
		"file_outputs": [{"filepath": "/a"}, {"filepath": "../b"}], "limits": {"max_size": -1, "reload_attempts": -1}}`)
	assert.Equal(t, []string{
		"id", "url", "preset", "advanced.width", "advanced.framerate", "file_outputs[0].filepath",
		"file_outputs[1].filepath", "limits.max_size", "limits.reload_attempts",
	}, keys(values))
}

func TestParseJobTakes(t *testing.T) {
	for _, job := range []string{
		page(``),
		page(`, "limits": {"max_duration": 90}`),
		page(`, "limits": {"max_duration": "1h30m", "start_timeout": "1.5"}`),
		page(`, "limits": null, "advanced": null, "metadata": null, "preset": null`),
		page(`, "limits": {"max_duration": null, "reload_attempts": 0}`),
		page(`, "preset": "h264_1080p_60"`),
		page(`, "advanced": {"width": 500, "height": 480}`),
		page(`, "layout": "grid", "template": "grid"`),
		streams("RTMP://host:1935/app/inst/key?a=b", "rtmps://host/app/key", "rtmp://[::1]/app/key"),
		streams("srt://h:9000?streamid=publish:a&passphrase=0123456789&pbkeylen=16&latency=200&mode=caller", "mux://key", "twitch://live_1_a?bandwidthtest=true"),
		`{"url":"https://example.com","audio_only":true,"stream_outputs":[{"urls":["rtmp://h/a/1","srt://h:1"]}]}`,
		path("a/b/"), path("café 日本/🎬.mp4"), path("..."), path("{room_name}/{time}-{utc}.{id}"), path(""),
		`{"room_name": "r/../..", "custom_base_url": "https://u:p@t.example.com/x?y=z#/r", "livekit_url": "ws://h", "file_outputs": [{}]}`,
		file(`{"filepath": "a", "s3": {"bucket": "a.b-c", "access_key": "k", "secret": "s", "session_token": "t", "tagging": "a=b&c=d"}}`),
		`{"url": "https://example.com", "audio_only": true, "file_outputs": [{"filepath": "a.mp4"}, {"filepath": "a.ogg"}]}`,
	} {
		parsed, err := recorder.ParseJob([]byte(job))
		require.NoError(t, err, job)
		text, err := json.Marshal(parsed)
		require.NoError(t, err)
		again, err := recorder.ParseJob(text)
		require.NoError(t, err, string(text))
		assert.Equal(t, parsed, again)
	}
}

func TestValidateUpdate(t *testing.T) {
	require.NoError(t, recorder.ValidateUpdate(recorder.Update{
		AddStreamURLs: []string{streamURL}, RemoveStreamURLs: []string{streamURL, recorder.StreamID(streamURL)},
	}))
	err := recorder.ValidateUpdate(recorder.Update{
		AddStreamURLs: []string{"http://h/5ecret", streamURL, streamURL, streamURL}, RemoveStreamURLs: []string{"st_5ecret", "5ecret"},
	})
	var f recorder.Faults
	require.ErrorAs(t, err, &f)
	assert.Len(t, f, 4)
	assert.NotContains(t, err.Error(), "5ecret")
	assert.Error(t, recorder.ValidateUpdate(recorder.Update{}))
}

// A secret in any field that may hold one is in no fault about it or its neighbours.
func TestFaultsHoldNoSecrets(t *testing.T) {
	for _, bad := range []string{
		"https://user:5ecret@host:port/", "https://h/%zz?token=5ecret", "ftp://u:5ecret@h/?k=5ecret", "//u:5ecret@h/x?5ecret",
		"https://?5ecret", "5ecret", "5ecret:5ecret", "u:5ecret@host", "https://h/\x01?sig=5ecret", "rtmp://5ecret@/app/5ecret",
		"https:///x?5ecret", "https:5ecret", "https://#a=5ecret", "x?token=5ecret#5ecret=1", "rtmp://h/app/5ecret 5ecret",
	} {
		job := recorder.Job{
			Source: recorder.Source{RoomName: "r", CustomBaseURL: bad, LiveKitURL: bad, Token: "5ecret"},
			Files: []recorder.FileOutput{{
				UploadURL: bad,
				Storage:   recorder.Storage{S3: &recorder.S3Upload{Endpoint: bad, Secret: "5ecret", SessionToken: "5ecret"}},
			}},
			Streams: []recorder.StreamOutput{{URLs: []string{bad, bad}}},
		}
		err := job.Validate()
		require.Error(t, err)
		assert.NotContains(t, strings.ReplaceAll(err.Error(), "a=5ecret", "5ecret"), "5ecret", bad)
		job = recorder.Job{Source: recorder.Source{URL: bad}}
		assert.NotContains(t, job.Validate().Error(), "5ecret", bad)
	}
}

func FuzzParseJob(f *testing.F) {
	f.Add([]byte(page(`, "limits": {"max_duration": 90, "reload_attempts": 1}, "metadata": {"a": "b"}`)))
	f.Add([]byte(streams("rtmp://h/a/fuzz5ecret-key", "rtmps://u:fuzz5ecret@h/a/b?c=d")))
	f.Add([]byte(streams("mux://fuzz5ecret-key", "srt://h:1?streamid=fuzz5ecret&passphrase=fuzz5ecret", "twitch://fuzz5ecret")))
	f.Add([]byte(`{"room_name":"r/..","room_id":"../RM","segment_outputs":[{"filename_prefix":"a/{room_id}","live_playlist_name":"b"}],"image_outputs":[{"width":99,"filename_suffix":"none"}]}`))
	f.Add([]byte(path("{room_name}/x.mp4")))
	f.Add([]byte(file(`{"upload_url": "https://h/x?X-Amz-Signature=fuzz5ecret", "disable_manifest": true}`)))
	f.Add([]byte(`{"room_name": "r", "custom_base_url": "https://t", "token": "fuzz5ecret", "advanced": {"key_frame_interval": 1.5}}`))
	f.Add([]byte(`{"limits": {"max_duration": "x"}} `))
	f.Fuzz(func(t *testing.T, data []byte) {
		job, err := recorder.ParseJob(data)
		if err != nil {
			var faults recorder.Faults
			if !errors.As(err, &faults) || len(faults) == 0 {
				t.Fatalf("%T is no list of faults: %v", err, err)
			}
			if len(err.Error()) > 4000*len(faults) {
				t.Fatalf("faults of %d bytes", len(err.Error()))
			}
			return
		}
		text, err := json.Marshal(job)
		require.NoError(t, err)
		again, err := recorder.ParseJob(text)
		require.NoError(t, err, "%s", text)
		// An empty list and none are the same.
		for _, same := range []recorder.Job{again, job.Clone()} {
			other, err := json.Marshal(same)
			require.NoError(t, err)
			assert.JSONEq(t, string(text), string(other))
		}
		for _, out := range job.Files {
			local(t, recorder.ResolvePath(job, out.Filepath, noon, 2))
		}
		for _, out := range job.Segments {
			o := recorder.ResolveSegments(job, out, noon, 2)
			local(t, o.FilenamePrefix)
			local(t, o.PlaylistName)
			if o.LivePlaylistName != "" {
				local(t, o.LivePlaylistName)
			}
		}
		for _, out := range job.Images {
			o := recorder.ResolveImages(job, out, noon, 2)
			local(t, o.FilenamePrefix)
			assert.Positive(t, min(o.Width, o.Height))
		}
		// What may be shown holds no stream key, unless it is too common to be one.
		shown, err := json.Marshal(job.Redacted())
		require.NoError(t, err)
		for _, secret := range []string{job.Token} {
			if len(secret) >= 12 && strings.Contains(secret, "fuzz5ecret") {
				assert.NotContains(t, string(shown), secret)
			}
		}
	})
}

func TestMaxSizeNeedsAFile(t *testing.T) {
	job := recorder.Job{
		Source:  recorder.Source{URL: "https://example.com"},
		Streams: []recorder.StreamOutput{{URLs: []string{"rtmp://h/app/key"}}},
		Limits:  recorder.Limits{MaxSize: 1 << 20},
	}
	require.ErrorContains(t, job.Validate(), "limits.max_size")
	job.Files = []recorder.FileOutput{{}}
	require.NoError(t, job.Validate())
}
