package recorder_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

var noon = time.Date(2024, 5, 6, 12, 7, 8, 9_000_000, time.UTC)

func TestResolvePath(t *testing.T) {
	room := recorder.Job{ID: "id1", Source: recorder.Source{RoomName: "stand-up"}}
	web := recorder.Job{ID: "id1", Source: recorder.Source{URL: "https://example.com"}}
	sound := web
	sound.AudioOnly = true
	for _, c := range []struct {
		job  recorder.Job
		path string
		part int
		want string
	}{
		{room, "", 1, "stand-up-2024-05-06T120708.mp4"},
		{web, "", 1, "id1-2024-05-06T120708.mp4"},
		{sound, "", 1, "id1-2024-05-06T120708.ogg"},
		{room, "daily/", 1, "daily/stand-up-2024-05-06T120708.mp4"},
		{room, "daily/", 2, "daily/stand-up-2024-05-06T120708.part2.mp4"},
		{room, "{room_name}/{room_id}-{time}-{utc}-{id}.webm", 1, "stand-up/stand-up-2024-05-06T120708-20240506120708009-id1.webm"},
		{room, "out.mp4", 1, "out.mp4"},
		{room, "out.mp4", 3, "out.part3.mp4"},
		{room, "out.MP4", 2, "out.part2.MP4"},
		{room, "talk v1.2", 2, "talk v1.2.part2.mp4"},
		{sound, "out.mp4", 1, "out.mp4"},
		{sound, "out.mp3", 1, "out.mp3"},
		{room, ".mp4", 1, "stand-up-2024-05-06T120708.mp4"},
		{room, "a/.webm", 2, "a/stand-up-2024-05-06T120708.part2.webm"},
		{web, "{room_name}/x.mp4", 1, "id1/x.mp4"},
	} {
		assert.Equal(t, c.want, recorder.ResolvePath(c.job, c.path, noon.In(time.FixedZone("", 7200)), c.part))
	}
}

// local checks that a resolved path names a file below its directory that any
// file system takes.
func local(t *testing.T, path string) {
	t.Helper()
	require.True(t, filepath.IsLocal(path), "%q", path)
	require.True(t, utf8.ValidString(path), "%q", path)
	require.NotContains(t, path, "\x00")
	require.Less(t, len(path), 1024-len(".json"))
	for _, part := range strings.Split(path, "/") {
		require.NotEmpty(t, part, "%q", path)
		require.NotContains(t, []string{".", ".."}, part)
		require.LessOrEqual(t, len(part), 230, "%q", path)
	}
}

func TestResolvePathStaysBelowItsDirectory(t *testing.T) {
	long := strings.Repeat("ä", 128)
	for _, room := range []string{
		"", ".", "..", "...", "../../x", "/etc/passwd", "a/b", `..\..\x`, "\x00", "a\x00b", "a\nb", "\x7f", long, long + "x",
		" ", "..\xff", "\xff\xfe", "{room_name}", "{id}", "~", "-rf", "a.mp3", "con", "a:b", "*",
	} {
		for _, path := range []string{
			"", "{room_name}", "{room_name}/", "{room_name}/x.mp4", "{room_id}/{room_name}", ".{room_name}", "{room_name}.",
			".{room_name}./x", "x/{room_name}/{room_name}.webm", strings.Repeat("{room_name}", 80), strings.Repeat("{room_name}/", 15),
			strings.Repeat("y", 190) + "{room_name}.mp4",
		} {
			for part := 1; part < 13; part += 11 {
				job := recorder.Job{ID: "id1", Source: recorder.Source{RoomName: room}}
				got := recorder.ResolvePath(job, path, noon, part)
				local(t, got)
				switch filepath.Ext(got) {
				case ".mp4", ".webm":
				default:
					t.Errorf("%q: a room's name chose the container", got)
				}
			}
		}
	}
}

func TestLongRoomNamesStayTwo(t *testing.T) {
	name := func(room string) string {
		return recorder.ResolvePath(recorder.Job{Source: recorder.Source{RoomName: room}}, "{room_name}.mp4", noon, 1)
	}
	long := strings.Repeat("x", 250)
	assert.NotEqual(t, name(long+"a"), name(long+"b"))
	assert.Equal(t, name(long), name(long))
}

func TestMediaName(t *testing.T) {
	assert.Equal(t, "media-0.mp4", recorder.MediaName(0, recorder.FileResult{Filename: "a/b c.MP4"}))
	assert.Equal(t, "media-3.ogg", recorder.MediaName(3, recorder.FileResult{Filename: "x.ogg"}))
}

func TestPageURL(t *testing.T) {
	room := func(base string) recorder.Job {
		return recorder.Job{Source: recorder.Source{RoomName: "r", Layout: "grid", CustomBaseURL: base, Token: "a.b+c/d=="}}
	}
	own := room("https://t.example.com/x")
	own.LiveKitURL = "ws://own:7880"
	own.Layout, own.Template = "", "speaker-light"
	yes := true
	one := recorder.Job{Source: recorder.Source{RoomName: "r", Identity: "a b", ScreenShare: &yes}, Limits: recorder.Limits{EmptyTimeout: recorder.Duration(90 * time.Second)}}
	bare := recorder.Job{Source: recorder.Source{RoomName: "r", CustomBaseURL: "https://t.example.com/x?a=b"}}
	for _, c := range []struct {
		job           recorder.Job
		livekit, want string
	}{
		{recorder.Job{Source: recorder.Source{URL: "https://e.com/?b=2&a=1#x"}}, "wss://lk", "https://e.com/?b=2&a=1#x"},
		{room("https://t.example.com"), "wss://lk:1", "https://t.example.com?layout=grid&template=grid&token=a.b%2Bc%2Fd%3D%3D&url=wss%3A%2F%2Flk%3A1"},
		{room("https://t.example.com/p%2Fq/?z=%20&b#/route?x=y"), "wss://lk", "https://t.example.com/p%2Fq/?z=%20&b&layout=grid&template=grid&token=a.b%2Bc%2Fd%3D%3D&url=wss%3A%2F%2Flk#/route?x=y"},
		{own, "wss://lk", "https://t.example.com/x?layout=speaker-light&template=speaker-light&token=a.b%2Bc%2Fd%3D%3D&url=ws%3A%2F%2Fown%3A7880"},
		{bare, "", "https://t.example.com/x?a=b&token=pass"},
		{
			recorder.Job{Source: recorder.Source{RoomName: "r"}},
			"wss://lk",
			"http://127.0.0.1:9/?empty_timeout=20&layout=speaker&template=speaker&token=pass&url=wss%3A%2F%2Flk",
		},
		{
			recorder.Job{Source: recorder.Source{RoomName: "r"}, AudioOnly: true},
			"wss://lk",
			"http://127.0.0.1:9/?empty_timeout=20&layout=audio&template=audio&token=pass&url=wss%3A%2F%2Flk",
		},
		{one, "wss://lk", "http://127.0.0.1:9/?empty_timeout=90&identity=a+b&layout=participant&screen_share=true&template=participant&token=pass&url=wss%3A%2F%2Flk"},
	} {
		pass := recorder.Pass{URL: c.livekit}
		if c.job.Token == "" {
			pass.Token = "pass"
		}
		got, err := recorder.PageURL(c.job, pass, "http://127.0.0.1:9/")
		require.NoError(t, err)
		assert.Equal(t, c.want, got)
	}
	got, err := recorder.PageURL(own, recorder.Pass{Token: "longer"}, "")
	require.NoError(t, err)
	assert.Contains(t, got, "token=longer&", "whoever made the pass knew the job's token")
	for _, base := range []string{"", "://u:5ecret@", "/only/path"} {
		_, err := recorder.PageURL(room(base), recorder.Pass{}, "")
		assert.Equal(t, recorder.CodeInvalid, recorder.CodeOf(err))
		assert.NotContains(t, err.Error(), "5ecret")
	}
}
