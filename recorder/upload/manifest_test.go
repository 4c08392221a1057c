package upload_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
	"tapedeck/recorder/upload"
)

// Clients look for <job id>.json as well: in each directory there is one, which
// tells of all the outputs there and is sent once.
func TestJobManifests(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	bucket := s3Storage(through(s, p))
	job := hlsJob("EG_both", bucket)
	for _, f := range []recorder.FileOutput{
		{Filepath: "talk/a.mp4"}, {Filepath: "talk/b.mp4"}, {Filepath: "top.mp4"}, {Filepath: "mute/c.mp4", DisableManifest: true},
	} {
		f.Storage = bucket
		job.Files = append(job.Files, f)
	}
	d := newDeck(t, upload.Options{})
	begun := task(job, nil, nil, nil, nil)
	begun.Recording.Segments = []recorder.SegmentsResult{{PlaylistName: mainList, LivePlaylistName: liveList}}
	e := d.entryOf(begun, noise(1, 100), noise(2, 200), noise(3, 300), noise(4, 400))
	studio := studioIn(t, e.Task().Dir+"/"+recorder.SegmentsDir(0))
	studio.segment(1000)
	studio.segment(1000)
	studio.end()
	rec := deliver(t, e)
	requireDelivered(t, rec)
	requireSeries(t, rec.Segments[0].Series)
	require.Equal(t, s.Endpoint+"/recordings/talk/a.mp4.json", strings.Replace(rec.Files[0].ManifestLocation, p.URL, s.Endpoint, 1))

	var talk, top upload.Manifest
	require.NoError(t, json.Unmarshal(s.Get("talk/EG_both.json"), &talk))
	require.Equal(t, "EG_both", talk.EgressID)
	require.Equal(t, "standup", talk.RoomName)
	require.Len(t, talk.Files, 2)
	require.Equal(t, rec.Files[0].Location, talk.Files[0].Location)
	require.Equal(t, rec.Files[1].SHA256, talk.Files[1].SHA256)
	require.Len(t, talk.Playlists, 1)
	require.Equal(t, rec.Segments[0].PlaylistLocation, talk.Playlists[0].Location)
	require.Len(t, talk.Playlists[0].Segments, 2)
	require.JSONEq(t, string(s.Get("top.mp4.json")), string(s.Get("EG_both.json")), "of one output, both say the same")
	require.NoError(t, json.Unmarshal(s.Get("EG_both.json"), &top))
	require.Len(t, top.Files, 1)
	require.NotContains(t, s.Keys(), "mute/EG_both.json")
	require.Equal(t, 2, p.Count(func(r recordertest.S3Request) bool {
		return r.Method == http.MethodPut && strings.HasSuffix(r.Path, "EG_both.json")
	}), "one for each directory")

	// Killed before the entry was freed: the next process writes the same again.
	before := string(s.Get("talk/EG_both.json"))
	require.NoError(t, e.Close())
	left, err := d.Left()
	require.NoError(t, err)
	rec = deliver(t, left[0])
	requireDelivered(t, rec)
	require.Equal(t, before, string(s.Get("talk/EG_both.json")))
	require.NoError(t, left[0].Free())
}

// Parts of a recording keep theirs apart, and a refusal costs no media.
func TestJobManifestOfAPart(t *testing.T) {
	s := recordertest.StartS3(t)
	p := recordertest.StartS3Proxy(t, s.Endpoint)
	p.Fault(func(_ int, r *http.Request) recordertest.S3Fault {
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/EG_part.json") {
			return recordertest.S3Fault{Status: http.StatusForbidden, Code: "AccessDenied"}
		}
		return recordertest.S3Fault{}
	})
	d := newDeck(t, upload.Options{})
	for part, name := range []string{"", "talk.mp4", "talk.mp4.part2"} {
		if name == "" {
			continue
		}
		begun := task(one("EG_part", recorder.FileOutput{Filepath: name, Storage: s3Storage(through(s, p))}), nil)
		begun.Recording.Part, begun.Recording.Attempt = part, part
		e := d.entryOf(begun, noise(uint64(part), 100))
		f := deliver(t, e).Files[0]
		require.Equal(t, recorder.FileDelivered, f.State, f.Error)
		require.NoError(t, e.Free())
		if part == 1 {
			require.Contains(t, f.Error, "manifest")
			require.Contains(t, f.Error, "AccessDenied")
			require.NotContains(t, s.Keys(), "EG_part.json")
		} else {
			require.Empty(t, f.Error)
			require.Contains(t, s.Keys(), "EG_part.part2.json")
		}
	}
}
