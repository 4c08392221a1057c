package recorder_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

func TestRedactStreamURL(t *testing.T) {
	for given, want := range map[string]string{
		"rtmp://host/app/live_123_abcxyz":           "rtmp://host/app/{liv...xyz}",
		"rtmps://host:443/app/inst/live_123_abcxyz": "rtmps://host:443/app/inst/{liv...xyz}",
		"rtmp://host/app/live_123_abcxyz/":          "rtmp://host/app/{liv...xyz}",
		"rtmp://host/app/short":                     "rtmp://host/app/{...}",
		"rtmp://host/app/live_123_abcxyz?auth=1":    "rtmp://host/app/{...}",
		"rtmp://host/app/live_123_abcxyz#more":      "rtmp://host/app/{...}",
		"rtmp://user:pass@host/app/live_123_abcxyz": "rtmp://host/app/{liv...xyz}",
		"rtmp://host/app/secret%2Fhalf-of-the-key":  "rtmp://host/app/{sec...key}",
		"rtmp://host/live_123_abcxyz":               "rtmp://host/{liv...xyz}",
		"rtmp://host":                               "rtmp://host/{...}",
		"live_123_abcxyz":                           "{redacted}",
		"rtmp://host:port/app/live_123_abcxyz":      "{redacted}",
		"rtmp:live_123_abcxyz":                      "{redacted}",
		"":                                          "{redacted}",
		"srt://host:9000?streamid=live_123_abcxyz":  "srt://host:9000?{redacted}",
		"SRT://u:p4ssword@host:9000/a/live_123":     "srt://host:9000?{redacted}",
		"srt://host:9000?{redacted}":                "srt://host:9000?{redacted}",
		"mux://live_123_abcxyz":                     "rtmps://global-live.mux.com:443/app/{liv...xyz}",
		"twitch://live_123_abcxyz":                  "rtmps://ingest.global-contribute.live-video.net:443/app/{liv...xyz}",
		"twitch://short":                            "rtmps://ingest.global-contribute.live-video.net:443/app/{...}",
		"rtmp://host/app/{abc...xyz}":               "rtmp://host/app/{...}",
		"rtmp://a.b/c/日本日本日本日本日本日本":                 "rtmp://a.b/c/{%E6...%AC}",
	} {
		assert.Equal(t, want, recorder.RedactStreamURL(given), given)
	}
}

func TestRedactURL(t *testing.T) {
	for given, want := range map[string]string{
		"":                                      "",
		"https://e.com/a":                       "https://e.com/a",
		"https://e.com/a?token=x&layout=grid":   "https://e.com/a?token=redacted&layout=redacted",
		"https://e.com/a?5ecret":                "https://e.com/a?redacted",
		"https://e.com/a?a=1&5ecret&b":          "https://e.com/a?a=redacted&redacted&redacted",
		"https://u:p@e.com/":                    "https://redacted@e.com/",
		"https://u@e.com/":                      "https://redacted@e.com/",
		"https://e.com/#/room/1":                "https://e.com/#/room/1",
		"https://e.com/#access_token=5ecret":    "https://e.com/#redacted",
		"https://e.com/x?a=%zz&b=5ecret;c=5e":   "https://e.com/x?a=redacted&b=redacted",
		"javascript:5ecret":                     "javascript:…",
		"5ecret":                                "{redacted}",
		"u:5ecret@host":                         "u:…",
		"https://h:bad/?5ecret":                 "{redacted}",
		"rtmp://h/a/5ecret-and-long-enough-key": "rtmp://h/a/{5ec...key}",
		"wss://lk.example.com:7880/rtc?access_token=5ecret": "wss://lk.example.com:7880/rtc?access_token=redacted",
	} {
		assert.Equal(t, want, recorder.RedactURL(given), given)
	}
}

// sentinel gives a value for a field that looks like what belongs there, and the
// part of it that is secret.
func sentinel(field string, n int) (value, secret string) {
	secret = fmt.Sprintf("s3ntinel-%03d-%s", n, strings.Repeat("q", 8))
	switch field {
	case "CustomBaseURL", "LiveKitURL", "URL", "Endpoint":
		return "https://user:" + secret + "@host.example.com/p?token=" + secret + "#k=" + secret, secret
	case "UploadURL":
		return "https://bucket.example.com/key?X-Amz-Signature=" + secret, secret
	case "URLs":
		return "rtmp://ingest.example.com/app/" + secret, secret
	}
	return secret, secret
}

// fill sets every string below v to a sentinel, and notes its path.
func fill(t *testing.T, v reflect.Value, at, field string, secrets map[string]string) {
	switch v.Kind() {
	case reflect.String:
		value, secret := sentinel(field, len(secrets))
		v.SetString(value)
		secrets[at] = secret
	case reflect.Struct:
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			fill(t, v.Field(i), strings.TrimPrefix(at+"."+name, "."), name, secrets)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), at, field, secrets)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(t, v.Index(0), at, field, secrets)
	case reflect.Map:
		elem := reflect.New(v.Type().Elem()).Elem()
		fill(t, elem, at, field, secrets)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("key"), elem)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint8:
		v.SetUint('1')
	case reflect.Float64:
		v.SetFloat(1)
	case reflect.Bool:
		v.SetBool(true)
	default:
		t.Fatalf("%s: what is a %s?", at, v.Kind())
	}
}

// A new field of a Job fails this test until somebody decided whether it is a
// secret: either Redacted hides it, or it is listed here.
func TestRedactedHidesEverySecretField(t *testing.T) {
	public := []string{
		"ID", "Source.RoomName", "Source.RoomID", "Source.Layout", "Source.Template", "Source.Identity",
		"Source.AudioTrackID", "Source.VideoTrackID", "Encoding.Preset", "Metadata", "Webhooks.Key", "Webhooks.Events", "Files.Filepath",
		"Segments.FilenamePrefix", "Segments.PlaylistName", "Segments.LivePlaylistName", "Segments.FilenameSuffix",
		"Images.FilenamePrefix", "Images.FilenameSuffix", "OnWorkerLoss",
	}
	for _, storage := range []string{"Files.Storage", "Segments.Storage", "Images.Storage", "Backup"} {
		for _, field := range []string{
			"S3.AssumeRoleARN", "S3.Region", "S3.Bucket", "S3.Metadata", "S3.Tagging", "S3.ContentDisposition",
			"GCP.Bucket", "Azure.AccountName", "Azure.ContainerName", "AliOSS.Region", "AliOSS.Bucket",
		} {
			public = append(public, storage+"."+field)
		}
	}
	var job recorder.Job
	secrets := map[string]string{}
	fill(t, reflect.ValueOf(&job).Elem(), "", "", secrets)
	before, err := json.Marshal(job)
	require.NoError(t, err)
	shown, err := json.Marshal(job.Redacted())
	require.NoError(t, err)
	var survived []string
	for field, secret := range secrets {
		if strings.Contains(string(shown), secret) {
			survived = append(survived, field)
		}
	}
	assert.ElementsMatch(t, public, survived)
	after, err := json.Marshal(job)
	require.NoError(t, err)
	assert.Equal(t, string(before), string(after), "Redacted changes the job itself")

	// Whatever Redacted hides, a Scrubber removes from any text, in every spelling.
	scrub := recorder.NewScrubber(job)
	for field, secret := range secrets {
		if slices.Contains(public, field) {
			continue
		}
		for _, text := range []string{
			secret, "x" + secret + "y", url.QueryEscape("a b/" + secret), `{"line": "` + secret + `"}`,
			"rtmp_connection.c(99): publish '" + secret + "' failed",
		} {
			assert.NotContains(t, scrub.Text(text), secret, field)
		}
	}
}

// A Clone that shares anything with its origin would let a redaction destroy a job.
func TestCloneSharesNothing(t *testing.T) {
	var job recorder.Job
	fill(t, reflect.ValueOf(&job).Elem(), "", "", map[string]string{})
	clone := job.Clone()
	require.Equal(t, job, clone)
	disjoint(t, "Job", reflect.ValueOf(job), reflect.ValueOf(clone))
}

func disjoint(t *testing.T, at string, a, b reflect.Value) {
	switch a.Kind() {
	case reflect.Struct:
		for i := range a.NumField() {
			disjoint(t, at+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i))
		}
	case reflect.Pointer:
		assert.NotEqual(t, a.Pointer(), b.Pointer(), at)
		disjoint(t, at, a.Elem(), b.Elem())
	case reflect.Slice:
		assert.NotEqual(t, a.Pointer(), b.Pointer(), at)
		for i := range a.Len() {
			disjoint(t, at, a.Index(i), b.Index(i))
		}
	case reflect.Map:
		assert.NotEqual(t, a.Pointer(), b.Pointer(), at)
	}
}

func TestScrubber(t *testing.T) {
	job := recorder.Job{
		Source: recorder.Source{
			Token: "a token/with+signs=", LiveKitURL: "wss://lk/rtc?key=raw%2Fspelled%2fvalue",
			CustomBaseURL: "https://us3r:p%40ssw0rd@t.example.com/x?flag-that-is-secret&n=1#tok=fragm3nt",
		},
		Files: []recorder.FileOutput{{
			UploadURL: "https://b.example.com/k?X-Amz-Credential=AKIA%2F2024&X-Amz-Signature=51gnature",
			Storage:   recorder.Storage{S3: &recorder.S3Upload{Secret: `quo"ted<&>secret`, AccessKey: "AKIAEXAMPLE", Endpoint: "https://u:endp0int@s3.example.com"}},
		}},
		Streams: []recorder.StreamOutput{{URLs: []string{"rtmp://in.example.com/app/sk_live-1234%2F5678?auth=qu3ryauth#fr4gment"}}},
	}
	scrub := recorder.NewScrubber(job, "one more secret").With(job, "rtmp://in.example.com/app/added-later-key")
	inJSON, err := json.Marshal(map[string]string{"msg": job.Files[0].S3.Secret + " " + job.Files[0].UploadURL})
	require.NoError(t, err)
	for _, text := range []string{
		"one more secret", "a token/with+signs=", url.QueryEscape(job.Token), url.PathEscape(job.Token), "GET /x?token=" + url.QueryEscape(job.Token),
		job.LiveKitURL, "raw%2Fspelled%2fvalue", "raw/spelled/value", job.CustomBaseURL, "p@ssw0rd", "us3r:p%40ssw0rd", "flag-that-is-secret", "tok=fragm3nt",
		job.Files[0].UploadURL, "AKIA/2024", "51gnature", string(inJSON), "AKIAEXAMPLE", "endp0int",
		job.Streams[0].URLs[0], "sk_live-1234%2F5678", "sk_live-1234/5678", "qu3ryauth", "fr4gment", "added-later-key",
		`gst_rtmp: Could not connect to RTMP stream "` + job.Streams[0].URLs[0] + `" for writing`,
		"location=" + job.Streams[0].URLs[0],
	} {
		got := scrub.Text("before " + text + " after")
		assert.True(t, strings.HasPrefix(got, "before "), got)
		for _, secret := range []string{
			"one more", "with+signs", "with%2Bsigns", "spelled", "p@ssw0rd", "p%40ssw0rd", "flag-that", "fragm3nt", "AKIA", "51gnature",
			"secret\"", "secret\\", "quo", "endp0int", "sk_live-1234", "qu3ryauth", "fr4gment", "added-later",
		} {
			assert.NotContains(t, got, secret, text)
		}
		assert.Equal(t, got, scrub.Text(got), "scrubbing twice")
	}
	assert.Equal(t, "layout grid, n=1, the file was written", scrub.Text("layout grid, n=1, the file was written"))
	assert.Equal(t, "sent to rtmp://in.example.com/app/{add...key}", scrub.Text("sent to rtmp://in.example.com/app/added-later-key"))
	assert.Nil(t, scrub.Error(nil))
	wrapped := recorder.Errorf(recorder.CodeStream, "refused: %w", fmt.Errorf("AKIAEXAMPLE"))
	scrubbed := scrub.Error(wrapped)
	assert.Equal(t, "refused: {redacted}", scrubbed.Error())
	assert.NoError(t, scrubbed.Unwrap(), "its cause is dropped")
}

func TestScrubText(t *testing.T) {
	for given, want := range map[string]string{
		"nothing to hide here":                                        "nothing to hide here",
		"key: value, a=b":                                             "key: value, a=b",
		`{"token":"5ecret"}`:                                          `{"token":"{redacted}"}`,
		`{"token": "5ec ret"}`:                                        `{"token": "{redacted}"}`,
		`{"secret":"5ec\"ret", "a":1}`:                                `{"secret":"{redacted}", "a":1}`,
		`{"access_key":"5ecret","x":2}`:                               `{"access_key":"{redacted}","x":2}`,
		`{\"token\":\"5ecret\",\"a\":1}`:                              `{\"token\":\"{redacted}\",\"a\":1}`,
		`{"aws_secret_access_key":"5ecret"}`:                          `{"aws_secret_access_key":"{redacted}"}`,
		"Authorization: Bearer 5ecret.x":                              "Authorization: {redacted}",
		"authorization=Basic 5ecret==":                                "authorization={redacted}",
		"password=5ecret&user=me":                                     "password={redacted}&user=me",
		"stream_key: 5ecret, more":                                    "stream_key: {redacted}, more",
		"token={redacted}":                                            "token={redacted}",
		"session-token='5ecret'":                                      "session-token='{redacted}'",
		"GET https://h/x?a=5ecret HTTP/1":                             "GET https://h/x?{redacted} HTTP/1",
		"at https://u:5ecret@h/x":                                     "at https://redacted@h/x",
		"at https://u:p@5ecret@h/x":                                   "at https://redacted@h/x",
		"https://h/x?mail=a@b.c":                                      "https://h/x?{redacted}",
		"https://h/#id_token=5ecret":                                  "https://h/#{redacted}",
		"https://h/#/room":                                            "https://h/#/room",
		"to rtmp://h/app/5ecretkey, gone":                             "to rtmp://h/app/{...} gone",
		`"rtmp://h/app/i/5ecretkey"`:                                  `"rtmp://h/app/i/{...}"`,
		"rtmps://u:5ecret@h/app/5ecret?5":                             "rtmps://redacted@h/app/{...}?{redacted}",
		"rtmp://h/app/{abc...xyz}":                                    "rtmp://h/app/{abc...xyz}",
		"rtmp://h/app/{...}":                                          "rtmp://h/app/{...}",
		"srt://h:9/?streamid=5ecret":                                  "srt://h:9/?{redacted}",
		"redis://:5ecret@h:6379/0":                                    "redis://redacted@h:6379/0",
		"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.5ecret":                 "{redacted}",
		"adding mux://5ecret and twitch://5ecret?a=5ecret":            "adding mux://{redacted} and twitch://{redacted}",
		"srt://h:1?streamid=5ecret&passphrase=5ecret failed":          "srt://h:1?{redacted} failed",
		`0:00:01.2 ERROR rtmp2sink <sink> location=rtmp://h/a/5ecret`: `0:00:01.2 ERROR rtmp2sink <sink> location=rtmp://h/a/{...}`,
	} {
		got := recorder.ScrubText(given)
		assert.Equal(t, want, got)
		assert.Equal(t, got, recorder.ScrubText(got), "scrubbing twice")
	}
}

func FuzzScrub(f *testing.F) {
	f.Add("fuzz5ecret-key", "rtmp://h/a/%s?x", "https://u:%s@h/?q=%s#f=%s")
	f.Add("a/b c+d=e%2F\"<>&\\", "connect to %s failed", `{"token":"%s"}`)
	f.Add("\x00\xff\xfe1234", "%s%s", "%s")
	f.Fuzz(func(t *testing.T, secret, before, after string) {
		// A shorter one is part of any text.
		if len(secret) < 8 || strings.Contains("{redacted}{...}redacted", secret) {
			t.Skip()
		}
		job := recorder.Job{Source: recorder.Source{Token: secret}}
		scrub := recorder.NewScrubber(job)
		for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret)} {
			if strings.Contains(before, secret) || strings.Contains(after, secret) {
				continue
			}
			got := scrub.Text(before + form + after)
			// What surrounds the secret's stand-in may make it up again, but not by the form that was there.
			if strings.Contains(got, form) && !strings.Contains(strings.ReplaceAll(before+"\x00"+after, "{redacted}", ""), form) &&
				!strings.Contains(before+"{redacted}"+after, form) {
				t.Fatalf("%q is in %q", form, got)
			}
		}
		text := strings.ReplaceAll(before, "%s", secret)
		if once := recorder.ScrubText(text); recorder.ScrubText(once) != once {
			t.Fatalf("%q, then %q", once, recorder.ScrubText(once))
		}
	})
}
