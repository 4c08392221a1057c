//nolint:staticcheck // older clients use what is deprecated: it is tested
package egress_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/rpc"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"tapedeck/recorder"
	"tapedeck/recorder/egress"
)

func mp4(path string) []*livekit.EncodedFileOutput {
	return []*livekit.EncodedFileOutput{{Filepath: path}}
}

func rtmp(urls ...string) []*livekit.StreamOutput {
	return []*livekit.StreamOutput{{Protocol: livekit.StreamProtocol_RTMP, Urls: urls}}
}

func ofRoom(r *livekit.RoomCompositeEgressRequest) *rpc.StartEgressRequest {
	if r.RoomName == "" {
		r.RoomName = "stand-up"
	}
	return &rpc.StartEgressRequest{EgressId: "EG_1", Request: &rpc.StartEgressRequest_RoomComposite{RoomComposite: r}}
}

func ofWeb(r *livekit.WebEgressRequest) *rpc.StartEgressRequest {
	if r.Url == "" {
		r.Url = "https://example.com/page"
	}
	return &rpc.StartEgressRequest{EgressId: "EG_1", Request: &rpc.StartEgressRequest_Web{Web: r}}
}

func ofParticipant(r *livekit.ParticipantEgressRequest) *rpc.StartEgressRequest {
	return &rpc.StartEgressRequest{EgressId: "EG_1", Request: &rpc.StartEgressRequest_Participant{Participant: r}}
}

func ofTracks(r *livekit.TrackCompositeEgressRequest) *rpc.StartEgressRequest {
	return &rpc.StartEgressRequest{EgressId: "EG_1", Request: &rpc.StartEgressRequest_TrackComposite{TrackComposite: r}}
}

func unified(r *livekit.StartEgressRequest) *rpc.StartEgressRequest {
	return &rpc.StartEgressRequest{EgressId: "EG_1", Request: &rpc.StartEgressRequest_Egress{Egress: r}}
}

func unifiedFile() []*livekit.Output {
	return []*livekit.Output{{Config: &livekit.Output_File{File: &livekit.FileOutput{Filepath: "a.mp4"}}}}
}

func ofMedia(m *livekit.MediaSource) *rpc.StartEgressRequest {
	return unified(&livekit.StartEgressRequest{
		RoomName: "stand-up", Source: &livekit.StartEgressRequest_Media{Media: m}, Outputs: unifiedFile(),
	})
}

// jobOf is the job without what has tests of its own.
func jobOf(t *testing.T, req *rpc.StartEgressRequest) recorder.Job {
	t.Helper()
	job, err := door().Job(req)
	require.NoError(t, err)
	assert.Equal(t, "EG_1", job.ID)
	assert.NotEmpty(t, job.Origin)
	job.ID, job.Origin = "", nil
	return job
}

func TestSources(t *testing.T) {
	no, yes := false, true
	file := []recorder.FileOutput{{Filepath: "a.mp4"}}
	byTrack := func(id string) []*livekit.AudioRoute {
		return []*livekit.AudioRoute{{Match: &livekit.AudioRoute_TrackId{TrackId: id}}}
	}
	byName := func(name string) []*livekit.AudioRoute {
		return []*livekit.AudioRoute{{Match: &livekit.AudioRoute_ParticipantIdentity{ParticipantIdentity: name}}}
	}
	ann := &livekit.MediaSource_ParticipantVideo{ParticipantVideo: &livekit.ParticipantVideo{Identity: "ann"}}
	for name, c := range map[string]struct {
		req  *rpc.StartEgressRequest
		want recorder.Job
	}{
		"room": {
			ofRoom(&livekit.RoomCompositeEgressRequest{Layout: "grid-dark", FileOutputs: mp4("a.mp4")}),
			recorder.Job{Source: recorder.Source{RoomName: "stand-up", Layout: "grid-dark"}},
		},
		"room of a template of one's own, picture only": {
			ofRoom(&livekit.RoomCompositeEgressRequest{
				Layout: "mine", CustomBaseUrl: "https://t.example.com/?k=v", VideoOnly: true, FileOutputs: mp4("a.mp4"),
			}),
			recorder.Job{
				Source:    recorder.Source{RoomName: "stand-up", Layout: "mine", CustomBaseURL: "https://t.example.com/?k=v"},
				VideoOnly: true,
			},
		},
		"web page": {
			ofWeb(&livekit.WebEgressRequest{Url: "https://example.com/?a=b", AwaitStartSignal: true, FileOutputs: mp4("a.mp4")}),
			recorder.Job{Source: recorder.Source{URL: "https://example.com/?a=b", AwaitStartSignal: true}},
		},
		"participant": {
			ofParticipant(&livekit.ParticipantEgressRequest{RoomName: "stand-up", Identity: "ann", FileOutputs: mp4("a.mp4")}),
			recorder.Job{Source: recorder.Source{RoomName: "stand-up", Identity: "ann", ScreenShare: &no}},
		},
		"participant's screen": {
			ofParticipant(&livekit.ParticipantEgressRequest{RoomName: "stand-up", Identity: "ann", ScreenShare: true, FileOutputs: mp4("a.mp4")}),
			recorder.Job{Source: recorder.Source{RoomName: "stand-up", Identity: "ann", ScreenShare: &yes}},
		},
		"tracks": {
			ofTracks(&livekit.TrackCompositeEgressRequest{RoomName: "stand-up", AudioTrackId: "TR_a", VideoTrackId: "TR_v", FileOutputs: mp4("a.mp4")}),
			recorder.Job{Source: recorder.Source{RoomName: "stand-up", AudioTrackID: "TR_a", VideoTrackID: "TR_v"}},
		},
		"video track": {
			ofTracks(&livekit.TrackCompositeEgressRequest{RoomName: "stand-up", VideoTrackId: "TR_v", FileOutputs: mp4("a.mp4")}),
			recorder.Job{Source: recorder.Source{RoomName: "stand-up", VideoTrackID: "TR_v"}, VideoOnly: true},
		},
		"unified room": {
			unified(&livekit.StartEgressRequest{RoomName: "stand-up", Outputs: unifiedFile(), Source: &livekit.StartEgressRequest_Template{
				Template: &livekit.TemplateSource{Layout: "speaker", VideoOnly: true},
			}}),
			recorder.Job{Source: recorder.Source{RoomName: "stand-up", Layout: "speaker"}, VideoOnly: true},
		},
		"unified page": {
			unified(&livekit.StartEgressRequest{Outputs: unifiedFile(), Source: &livekit.StartEgressRequest_Web{
				Web: &livekit.WebSource{Url: "https://example.com", AwaitStartSignal: true},
			}}),
			recorder.Job{Source: recorder.Source{URL: "https://example.com", AwaitStartSignal: true}},
		},
		"media: a participant without sound": {
			ofMedia(&livekit.MediaSource{Video: ann}),
			recorder.Job{Source: recorder.Source{RoomName: "stand-up", Identity: "ann", ScreenShare: &no}, VideoOnly: true},
		},
		"media: a participant or the screen": {
			ofMedia(&livekit.MediaSource{
				Video: &livekit.MediaSource_ParticipantVideo{ParticipantVideo: &livekit.ParticipantVideo{Identity: "ann", PreferScreenShare: true}},
				Audio: &livekit.AudioConfig{Routes: byName("ann")},
			}),
			recorder.Job{Source: recorder.Source{RoomName: "stand-up", Identity: "ann"}},
		},
		"media: tracks": {
			ofMedia(&livekit.MediaSource{
				Video: &livekit.MediaSource_VideoTrackId{VideoTrackId: "TR_v"}, Audio: &livekit.AudioConfig{Routes: byTrack("TR_a")},
			}),
			recorder.Job{Source: recorder.Source{RoomName: "stand-up", VideoTrackID: "TR_v", AudioTrackID: "TR_a"}},
		},
	} {
		got := jobOf(t, c.req)
		c.want.Files = file
		assert.Equal(t, c.want, got, name)
		assert.NoError(t, got.Validate(), name)
	}
}

func TestSoundAlone(t *testing.T) {
	for name, req := range map[string]*rpc.StartEgressRequest{
		"room":  ofRoom(&livekit.RoomCompositeEgressRequest{AudioOnly: true, FileOutputs: mp4("a")}),
		"track": ofTracks(&livekit.TrackCompositeEgressRequest{RoomName: "r", AudioTrackId: "TR_a", FileOutputs: mp4("a")}),
		"media: track": ofMedia(&livekit.MediaSource{Audio: &livekit.AudioConfig{
			Routes: []*livekit.AudioRoute{{Match: &livekit.AudioRoute_TrackId{TrackId: "TR_a"}}},
		}}),
		"media: participant": ofMedia(&livekit.MediaSource{Audio: &livekit.AudioConfig{
			Routes: []*livekit.AudioRoute{{Match: &livekit.AudioRoute_ParticipantIdentity{ParticipantIdentity: "ann"}}},
		}}),
		"media: room": ofMedia(&livekit.MediaSource{Audio: &livekit.AudioConfig{CaptureAll: true}}),
	} {
		job := jobOf(t, req)
		assert.True(t, job.AudioOnly, name)
		assert.Equal(t, "a.ogg", job.Files[0].Filepath, name)
		assert.NoError(t, job.Validate(), name)
	}
}

func TestStreamsOfSound(t *testing.T) {
	job := jobOf(t, ofRoom(&livekit.RoomCompositeEgressRequest{
		AudioOnly: true, FileOutputs: mp4("a"), StreamOutputs: rtmp("rtmp://host/app/key"),
	}))
	assert.True(t, job.AudioOnly)
	assert.Equal(t, "a.mp4", job.Files[0].Filepath, "AAC for both, as LiveKit decides")
	assert.NoError(t, job.Validate())
}

func TestFiles(t *testing.T) {
	type option = func(*livekit.RoomCompositeEgressRequest)
	audio := func(r *livekit.RoomCompositeEgressRequest) { r.AudioOnly = true }
	codec := func(c livekit.AudioCodec) option {
		return func(r *livekit.RoomCompositeEgressRequest) {
			r.Options = &livekit.RoomCompositeEgressRequest_Advanced{Advanced: &livekit.EncodingOptions{AudioCodec: c}}
		}
	}
	hls := func(r *livekit.RoomCompositeEgressRequest) {
		r.SegmentOutputs = []*livekit.SegmentedFileOutput{{PlaylistName: "p"}}
	}
	for _, c := range []struct {
		path, want string
		t          livekit.EncodedFileType
		options    []option
	}{
		{"a.mp4", "a.mp4", livekit.EncodedFileType_DEFAULT_FILETYPE, nil},
		{"a", "a.mp4", livekit.EncodedFileType_MP4, nil},
		{"talk v1.2", "talk v1.2.mp4", livekit.EncodedFileType_MP4, nil},
		{"a.webm", "a.mp4", livekit.EncodedFileType_MP4, nil},
		{"a.ogg", "a.mp4", livekit.EncodedFileType_DEFAULT_FILETYPE, nil},
		{"a.mp4", "a.ogg", livekit.EncodedFileType_DEFAULT_FILETYPE, []option{audio}},
		{"a.mp4", "a.mp4", livekit.EncodedFileType_MP4, []option{audio}},
		{"a.mp4", "a.mp3", livekit.EncodedFileType_MP3, []option{audio}},
		{"a", "a.mp4", livekit.EncodedFileType_DEFAULT_FILETYPE, []option{audio, codec(livekit.AudioCodec_AAC)}},
		{"a", "a.mp3", livekit.EncodedFileType_DEFAULT_FILETYPE, []option{audio, codec(livekit.AudioCodec_AC_MP3)}},
		{"a", "a.ogg", livekit.EncodedFileType_DEFAULT_FILETYPE, []option{audio, codec(livekit.AudioCodec_OPUS)}},
		{"a", "a.mp4", livekit.EncodedFileType_DEFAULT_FILETYPE, []option{audio, hls}},
		{"a", "a.mp4", livekit.EncodedFileType_MP4, []option{codec(livekit.AudioCodec_OPUS)}},
		{"", "", livekit.EncodedFileType_MP4, nil},
		{"dir/", "dir/", livekit.EncodedFileType_DEFAULT_FILETYPE, []option{audio}},
		{"dir/", "dir/{room_name}-{time}.mp3", livekit.EncodedFileType_MP3, []option{audio}},
		{"../../dir//./{room_name}-{time}.mp4", "dir/{room_name}-{time}.mp4", livekit.EncodedFileType_MP4, nil},
	} {
		r := &livekit.RoomCompositeEgressRequest{FileOutputs: []*livekit.EncodedFileOutput{{FileType: c.t, Filepath: c.path, DisableManifest: true}}}
		for _, o := range c.options {
			o(r)
		}
		job := jobOf(t, ofRoom(r))
		assert.Equal(t, []recorder.FileOutput{{Filepath: c.want, DisableManifest: true}}, job.Files, "%q %s", c.path, c.t)
	}
}

func TestPathsAreWithinTheStorage(t *testing.T) {
	s3 := &livekit.EncodedFileOutput_S3{S3: &livekit.S3Upload{Bucket: "bucket"}}
	job := jobOf(t, ofRoom(&livekit.RoomCompositeEgressRequest{
		FileOutputs: []*livekit.EncodedFileOutput{{Filepath: "/out/a.mp4", Output: s3}},
	}))
	assert.Equal(t, "out/a.mp4", job.Files[0].Filepath, "a key")

	_, err := door().Job(ofRoom(&livekit.RoomCompositeEgressRequest{FileOutputs: mp4("/out/a.mp4")}))
	assert.Equal(t, recorder.CodeInvalid, recorder.CodeOf(err))
	assert.ErrorContains(t, err, "file_outputs[0].filepath")
	assert.ErrorContains(t, err, "remove the leading /")

	who := jobOf(t, ofParticipant(&livekit.ParticipantEgressRequest{
		RoomName: "r", Identity: "a/../{x}", FileOutputs: mp4("{publisher_identity}/f.mp4"),
	}))
	assert.Equal(t, "a_.._{x}/f.mp4", strings.NewReplacer("_x_", "{x}").Replace(who.Files[0].Filepath), "a name makes no directory")
	assert.NoError(t, who.Validate())
}

func TestNamesOfTracks(t *testing.T) {
	for name, c := range map[string]struct {
		req  *rpc.StartEgressRequest
		want string
	}{
		"tracks": {ofTracks(&livekit.TrackCompositeEgressRequest{
			RoomName: "r", AudioTrackId: "TR_a", VideoTrackId: "TR_v", FileOutputs: mp4("{publisher_identity}-{track_id}"),
		}), "TR_v-TR_v.mp4"},
		"sound alone": {ofTracks(&livekit.TrackCompositeEgressRequest{
			RoomName: "r", AudioTrackId: "TR/{a}", FileOutputs: []*livekit.EncodedFileOutput{{Filepath: "{publisher_identity}/x", FileType: livekit.EncodedFileType_OGG}},
		}), "TR__a_/x.ogg"},
	} {
		job := jobOf(t, c.req)
		assert.Equal(t, c.want, job.Files[0].Filepath, name)
		assert.NoError(t, job.Validate(), name)
	}
	for _, req := range []*rpc.StartEgressRequest{
		ofRoom(&livekit.RoomCompositeEgressRequest{FileOutputs: mp4("{publisher_identity}")}),
		ofParticipant(&livekit.ParticipantEgressRequest{RoomName: "r", Identity: "ann", FileOutputs: mp4("{track_id}")}),
		ofTracks(&livekit.TrackCompositeEgressRequest{RoomName: "r", VideoTrackId: "TR_v", FileOutputs: mp4("{track_source}")}),
	} {
		assert.ErrorContains(t, jobOf(t, req).Validate(), "is no template: use {room_name}")
	}
}

func TestDeprecatedSingleOutputs(t *testing.T) {
	file := jobOf(t, ofRoom(&livekit.RoomCompositeEgressRequest{Output: &livekit.RoomCompositeEgressRequest_File{
		File: &livekit.EncodedFileOutput{Filepath: "a.mp4"},
	}}))
	assert.Equal(t, []recorder.FileOutput{{Filepath: "a.mp4"}}, file.Files)
	stream := jobOf(t, ofWeb(&livekit.WebEgressRequest{Output: &livekit.WebEgressRequest_Stream{
		Stream: &livekit.StreamOutput{Urls: []string{"rtmps://host/app/key live=1"}},
	}}))
	assert.Equal(t, []string{"rtmps://host/app/key"}, stream.StreamURLs())
	segments := jobOf(t, ofTracks(&livekit.TrackCompositeEgressRequest{
		RoomName: "r", VideoTrackId: "TR_v",
		Output: &livekit.TrackCompositeEgressRequest_Segments{Segments: &livekit.SegmentedFileOutput{PlaylistName: "p.m3u8"}},
	}))
	assert.Len(t, segments.Segments, 1)
	both := jobOf(t, ofRoom(&livekit.RoomCompositeEgressRequest{
		Output:      &livekit.RoomCompositeEgressRequest_File{File: &livekit.EncodedFileOutput{Filepath: "old.mp4"}},
		FileOutputs: mp4("new.mp4"),
	}))
	assert.Equal(t, []recorder.FileOutput{{Filepath: "new.mp4"}}, both.Files, "the list counts")
}

func TestSegmentsAndImages(t *testing.T) {
	job := jobOf(t, ofRoom(&livekit.RoomCompositeEgressRequest{
		SegmentOutputs: []*livekit.SegmentedFileOutput{{
			Protocol: livekit.SegmentedFileProtocol_HLS_PROTOCOL, FilenamePrefix: "d/seg", PlaylistName: "d/p.m3u8", LivePlaylistName: "d/live.m3u8",
			SegmentDuration: 6, FilenameSuffix: livekit.SegmentedFileSuffix_TIMESTAMP, DisableManifest: true,
		}},
		ImageOutputs: []*livekit.ImageOutput{
			{CaptureInterval: 5, Width: 320, Height: 180, FilenamePrefix: "i/", FilenameSuffix: livekit.ImageFileSuffix_IMAGE_SUFFIX_NONE_OVERWRITE},
			{FilenameSuffix: livekit.ImageFileSuffix_IMAGE_SUFFIX_TIMESTAMP, ImageCodec: livekit.ImageCodec_IC_JPEG, DisableManifest: true},
		},
	}))
	seconds := func(n int) recorder.Duration { return recorder.Duration(time.Duration(n) * time.Second) }
	assert.Equal(t, []recorder.SegmentOutput{{
		FilenamePrefix: "d/seg", PlaylistName: "d/p.m3u8", LivePlaylistName: "d/live.m3u8",
		SegmentDuration: seconds(6), FilenameSuffix: recorder.SuffixTimestamp, DisableManifest: true,
	}}, job.Segments)
	assert.Equal(t, []recorder.ImageOutput{
		{CaptureInterval: seconds(5), Width: 320, Height: 180, FilenamePrefix: "i/", FilenameSuffix: recorder.SuffixNone},
		{CaptureInterval: seconds(10), FilenameSuffix: recorder.SuffixTimestamp, DisableManifest: true},
	}, job.Images)
	assert.False(t, job.VideoOnly)

	pictures := jobOf(t, ofRoom(&livekit.RoomCompositeEgressRequest{ImageOutputs: []*livekit.ImageOutput{{CaptureInterval: 1}}}))
	assert.True(t, pictures.VideoOnly, "nobody will hear it")
}

func TestStorages(t *testing.T) {
	proxy := &livekit.ProxyConfig{Url: "http://proxy:8080", Username: "u", Password: "p@ss"}
	s3 := &livekit.S3Upload{
		AccessKey: "ak", Secret: "sk", SessionToken: "st", AssumeRoleArn: "arn:aws:iam::1:role/r", AssumeRoleExternalId: "ext",
		Region: "eu-west-1", Endpoint: "https://s3.example.com", Bucket: "bucket", ForcePathStyle: true,
		Metadata: map[string]string{"k": "v"}, Tagging: "a=b", ContentDisposition: "inline", Proxy: proxy,
	}
	wantS3 := recorder.Storage{S3: &recorder.S3Upload{
		AccessKey: "ak", Secret: "sk", SessionToken: "st", AssumeRoleARN: "arn:aws:iam::1:role/r", AssumeRoleExternalID: "ext",
		Region: "eu-west-1", Endpoint: "https://s3.example.com", Bucket: "bucket", ForcePathStyle: true,
		Metadata: map[string]string{"k": "v"}, Tagging: "a=b", ContentDisposition: "inline", Proxy: "http://u:p%40ss@proxy:8080",
	}}
	gcp := &livekit.GCPUpload{Credentials: "{}", Bucket: "g", Proxy: &livekit.ProxyConfig{Url: "http://proxy"}}
	azure := &livekit.AzureBlobUpload{AccountName: "an", AccountKey: "ak", ContainerName: "c"}
	oss := &livekit.AliOSSUpload{AccessKey: "ak", Secret: "s", Region: "r", Endpoint: "e", Bucket: "b"}
	wantGCP := recorder.Storage{GCP: &recorder.GCPUpload{Credentials: "{}", Bucket: "g", Proxy: "http://proxy"}}
	wantAzure := recorder.Storage{Azure: &recorder.AzureBlobUpload{AccountName: "an", AccountKey: "ak", ContainerName: "c"}}
	wantOSS := recorder.Storage{AliOSS: &recorder.AliOSSUpload{AccessKey: "ak", Secret: "s", Region: "r", Endpoint: "e", Bucket: "b"}}

	job := jobOf(t, ofRoom(&livekit.RoomCompositeEgressRequest{
		FileOutputs:    []*livekit.EncodedFileOutput{{Output: &livekit.EncodedFileOutput_S3{S3: s3}}},
		SegmentOutputs: []*livekit.SegmentedFileOutput{{Output: &livekit.SegmentedFileOutput_Gcp{Gcp: gcp}}},
		ImageOutputs: []*livekit.ImageOutput{
			{Output: &livekit.ImageOutput_Azure{Azure: azure}}, {Output: &livekit.ImageOutput_AliOSS{AliOSS: oss}},
		},
	}))
	assert.Equal(t, wantS3, job.Files[0].Storage)
	assert.Equal(t, wantGCP, job.Segments[0].Storage)
	assert.Equal(t, wantAzure, job.Images[0].Storage)
	assert.Equal(t, wantOSS, job.Images[1].Storage)

	job = jobOf(t, unified(&livekit.StartEgressRequest{
		RoomName: "r", Source: &livekit.StartEgressRequest_Template{Template: &livekit.TemplateSource{}},
		Storage: &livekit.StorageConfig{Provider: &livekit.StorageConfig_Gcp{Gcp: gcp}},
		Outputs: []*livekit.Output{
			{Config: &livekit.Output_File{File: &livekit.FileOutput{Filepath: "/a.mp4"}}},
			{
				Config:  &livekit.Output_Segments{Segments: &livekit.SegmentedFileOutput{PlaylistName: "p"}},
				Storage: &livekit.StorageConfig{Provider: &livekit.StorageConfig_Azure{Azure: azure}},
			},
			{Config: &livekit.Output_Images{Images: &livekit.ImageOutput{Output: &livekit.ImageOutput_AliOSS{AliOSS: oss}}}},
		},
	}))
	assert.Equal(t, "a.mp4", job.Files[0].Filepath)
	assert.Equal(t, wantGCP, job.Files[0].Storage, "the request's")
	assert.Equal(t, wantAzure, job.Segments[0].Storage, "its own")
	assert.Equal(t, wantOSS, job.Images[0].Storage, "its own, in the old place")
}

func TestEncodings(t *testing.T) {
	of := func(o any) recorder.Encoding {
		r := &livekit.RoomCompositeEgressRequest{FileOutputs: mp4("a")}
		switch o := o.(type) {
		case livekit.EncodingOptionsPreset:
			r.Options = &livekit.RoomCompositeEgressRequest_Preset{Preset: o}
		case *livekit.EncodingOptions:
			r.Options = &livekit.RoomCompositeEgressRequest_Advanced{Advanced: o}
		}
		return jobOf(t, ofRoom(r)).Encoding
	}
	plain := recorder.Encoding{}.Options()
	assert.Equal(t, plain, of(nil).Options())
	for _, name := range recorder.PresetNames() {
		want := recorder.Encoding{Preset: name}.Options()
		assert.Equal(t, want, of(livekit.EncodingOptionsPreset(livekit.EncodingOptionsPreset_value[name])).Options(), name)
	}
	assert.Equal(t, plain, of(&livekit.EncodingOptions{Depth: 24, AudioQuality: 9, VideoQuality: 9, VideoCodec: livekit.VideoCodec_H264_HIGH}).Options())
	assert.Equal(t, recorder.EncodingOptions{
		Width: 640, Height: 480, Framerate: 15, VideoBitrate: 800, AudioBitrate: 64, AudioFrequency: 44100, KeyFrameInterval: 2.5,
	}, of(&livekit.EncodingOptions{
		Width: 640, Height: 480, Framerate: 15, VideoBitrate: 800, AudioBitrate: 64, AudioFrequency: 44100, KeyFrameInterval: 2.5,
	}).Options())
}

func TestConnection(t *testing.T) {
	req := ofRoom(&livekit.RoomCompositeEgressRequest{
		FileOutputs: mp4("a"), Webhooks: []*livekit.WebhookConfig{{Url: "https://hook.example.com/x?t=1", SigningKey: "APIkey"}},
	})
	req.RoomId, req.Token, req.WsUrl = "RM_1", "token", "wss://livekit"
	job := jobOf(t, req)
	assert.Equal(t, recorder.Source{RoomName: "stand-up", RoomID: "RM_1", Token: "token", LiveKitURL: "wss://livekit"}, job.Source)
	assert.Equal(t, []recorder.Webhook{{URL: "https://hook.example.com/x?t=1", Key: "APIkey"}}, job.Webhooks)
	assert.Zero(t, job.Limits)

	web := ofWeb(&livekit.WebEgressRequest{FileOutputs: mp4("a")})
	web.Token, web.WsUrl = "token", "wss://livekit"
	assert.Equal(t, recorder.Source{URL: "https://example.com/page"}, jobOf(t, web).Source, "a page is not for entering rooms")
}

func TestWebhookFilters(t *testing.T) {
	const started, updated, ended = "egress_started", "egress_updated", "egress_ended"
	for name, c := range map[string]struct {
		filter *livekit.FilterParams
		want   []string
	}{
		"none":       {nil, []string{started, updated, ended}},
		"empty":      {&livekit.FilterParams{}, []string{started, updated, ended}},
		"included":   {&livekit.FilterParams{IncludeEvents: []string{ended, started, "room_started"}}, []string{started, ended}},
		"excluded":   {&livekit.FilterParams{ExcludeEvents: []string{updated}}, []string{started, ended}},
		"both":       {&livekit.FilterParams{IncludeEvents: []string{ended}, ExcludeEvents: []string{ended}}, []string{ended}},
		"others":     {&livekit.FilterParams{ExcludeEvents: []string{"room_started"}}, []string{started, updated, ended}},
		"of no kind": {&livekit.FilterParams{IncludeEvents: []string{"room_started"}}, nil},
	} {
		job := jobOf(t, ofRoom(&livekit.RoomCompositeEgressRequest{
			FileOutputs: mp4("a"), Webhooks: []*livekit.WebhookConfig{{Url: "https://h.example.com", FilterParams: c.filter}},
		}))
		var told []string
		for _, event := range []string{started, updated, ended} {
			if len(job.Webhooks) > 0 && job.Webhooks[0].Wants(event) {
				told = append(told, event)
			}
		}
		assert.Equal(t, c.want, told, name)
	}
}

func TestStreamsThatMayComeLater(t *testing.T) {
	job := jobOf(t, ofRoom(&livekit.RoomCompositeEgressRequest{FileOutputs: mp4("a"), StreamOutputs: rtmp()}))
	assert.Empty(t, job.Streams)
	job = jobOf(t, ofRoom(&livekit.RoomCompositeEgressRequest{StreamOutputs: []*livekit.StreamOutput{{
		Urls: []string{"rtmp://h/a/k", "rtmps://h/a/k", "mux://k", "twitch://k", "srt://h:1"},
	}}}))
	assert.Equal(t, []string{"rtmp://h/a/k", "rtmps://h/a/k", "mux://k", "twitch://k", "srt://h:1"}, job.StreamURLs())
}

func TestWhatIsRefused(t *testing.T) {
	advanced := func(o *livekit.EncodingOptions, files ...*livekit.EncodedFileOutput) *rpc.StartEgressRequest {
		return ofRoom(&livekit.RoomCompositeEgressRequest{
			FileOutputs: files, StreamOutputs: rtmp("rtmp://h/a/k"), Options: &livekit.RoomCompositeEgressRequest_Advanced{Advanced: o},
		})
	}
	room := func(r *livekit.RoomCompositeEgressRequest) *rpc.StartEgressRequest { return ofRoom(r) }
	route := func(c livekit.AudioChannel, m *livekit.AudioRoute) *rpc.StartEgressRequest {
		m.Channel = c
		return ofMedia(&livekit.MediaSource{
			Video: &livekit.MediaSource_ParticipantVideo{ParticipantVideo: &livekit.ParticipantVideo{Identity: "ann"}},
			Audio: &livekit.AudioConfig{Routes: []*livekit.AudioRoute{m}},
		})
	}
	const left = livekit.AudioChannel_AUDIO_CHANNEL_LEFT
	for _, c := range []struct {
		code  recorder.Code
		field string
		req   *rpc.StartEgressRequest
	}{
		{recorder.CodeInvalid, "request:", nil},
		{recorder.CodeInvalid, "request:", &rpc.StartEgressRequest{EgressId: "EG_1"}},
		{recorder.CodeUnimplemented, "track:", &rpc.StartEgressRequest{Request: &rpc.StartEgressRequest_Track{Track: &livekit.TrackEgressRequest{}}}},
		{recorder.CodeUnimplemented, "replay:", &rpc.StartEgressRequest{Request: &rpc.StartEgressRequest_Replay{Replay: &livekit.ExportReplayRequest{}}}},
		{recorder.CodeInvalid, "room_name:", &rpc.StartEgressRequest{Request: &rpc.StartEgressRequest_RoomComposite{}}},
		{recorder.CodeInvalid, "room_name:", &rpc.StartEgressRequest{Request: &rpc.StartEgressRequest_RoomComposite{RoomComposite: &livekit.RoomCompositeEgressRequest{}}}},
		{recorder.CodeInvalid, "url:", &rpc.StartEgressRequest{Request: &rpc.StartEgressRequest_Web{Web: &livekit.WebEgressRequest{}}}},
		{recorder.CodeInvalid, "identity:", ofParticipant(&livekit.ParticipantEgressRequest{RoomName: "r"})},
		{recorder.CodeInvalid, "room_name:", ofParticipant(&livekit.ParticipantEgressRequest{Identity: "ann"})},
		{recorder.CodeInvalid, "audio_track_id or video_track_id:", ofTracks(&livekit.TrackCompositeEgressRequest{RoomName: "r"})},
		{recorder.CodeInvalid, "source:", unified(&livekit.StartEgressRequest{RoomName: "r"})},
		{recorder.CodeInvalid, "room_name:", unified(&livekit.StartEgressRequest{Source: &livekit.StartEgressRequest_Template{}})},
		{recorder.CodeInvalid, "outputs[0]:", unified(&livekit.StartEgressRequest{RoomName: "r", Outputs: []*livekit.Output{nil}, Source: &livekit.StartEgressRequest_Template{Template: &livekit.TemplateSource{}}})},
		{recorder.CodeInvalid, "output:", room(&livekit.RoomCompositeEgressRequest{})},
		{recorder.CodeInvalid, "media:", ofMedia(&livekit.MediaSource{})},
		{recorder.CodeUnimplemented, "media.audio.capture_all:", ofMedia(&livekit.MediaSource{Video: &livekit.MediaSource_VideoTrackId{VideoTrackId: "TR_v"}, Audio: &livekit.AudioConfig{CaptureAll: true}})},
		{recorder.CodeUnimplemented, "media.audio.routes[0].channel:", route(left, &livekit.AudioRoute{Match: &livekit.AudioRoute_ParticipantIdentity{ParticipantIdentity: "ann"}})},
		{recorder.CodeUnimplemented, "media.audio.routes[0].participant_identity:", route(0, &livekit.AudioRoute{Match: &livekit.AudioRoute_ParticipantIdentity{ParticipantIdentity: "bob"}})},
		{recorder.CodeUnimplemented, "media.audio.routes[0].track_id:", route(0, &livekit.AudioRoute{Match: &livekit.AudioRoute_TrackId{TrackId: "TR_a"}})},
		{recorder.CodeUnimplemented, "media.audio.routes[0]:", route(0, &livekit.AudioRoute{Match: &livekit.AudioRoute_ParticipantKind{}})},
		{recorder.CodeUnimplemented, "audio_mixing: DUAL_CHANNEL_AGENT", room(&livekit.RoomCompositeEgressRequest{AudioMixing: livekit.AudioMixing_DUAL_CHANNEL_AGENT, FileOutputs: mp4("a")})},
		{recorder.CodeInvalid, "preset: 99", room(&livekit.RoomCompositeEgressRequest{FileOutputs: mp4("a"), Options: &livekit.RoomCompositeEgressRequest_Preset{Preset: 99}})},
		{recorder.CodeInvalid, "advanced.video_codec: VP8", advanced(&livekit.EncodingOptions{VideoCodec: livekit.VideoCodec_VP8})},
		{recorder.CodeInvalid, "advanced.video_codec: 77", advanced(&livekit.EncodingOptions{VideoCodec: 77})},
		{recorder.CodeInvalid, "advanced.audio_codec: 77", advanced(&livekit.EncodingOptions{AudioCodec: 77})},
		{recorder.CodeInvalid, "advanced.audio_codec: OPUS", advanced(&livekit.EncodingOptions{AudioCodec: livekit.AudioCodec_OPUS})},
		{recorder.CodeInvalid, "advanced.audio_codec: AC_MP3", advanced(&livekit.EncodingOptions{AudioCodec: livekit.AudioCodec_AC_MP3}, &livekit.EncodedFileOutput{})},
		{recorder.CodeInvalid, "file_outputs[0].file_type: 9", room(&livekit.RoomCompositeEgressRequest{FileOutputs: []*livekit.EncodedFileOutput{{FileType: 9}}})},
		{recorder.CodeUnimplemented, "stream_outputs[0].protocol: WEBSOCKET", room(&livekit.RoomCompositeEgressRequest{StreamOutputs: []*livekit.StreamOutput{{Protocol: livekit.StreamProtocol_WEBSOCKET}}})},
		{recorder.CodeUnimplemented, "stream_outputs[0].urls[0]:", room(&livekit.RoomCompositeEgressRequest{StreamOutputs: []*livekit.StreamOutput{{Urls: []string{"wss://h"}}}})},
		{recorder.CodeInvalid, "stream_outputs[0].protocol: 9", room(&livekit.RoomCompositeEgressRequest{StreamOutputs: []*livekit.StreamOutput{{Protocol: 9}}})},
		{recorder.CodeInvalid, "stream_outputs[0].urls:", room(&livekit.RoomCompositeEgressRequest{StreamOutputs: rtmp()})},
		{recorder.CodeInvalid, "stream_outputs[0].urls[0]:", room(&livekit.RoomCompositeEgressRequest{StreamOutputs: rtmp("srt://h:1")})},
		{recorder.CodeInvalid, "stream_outputs[0].urls[0]:", room(&livekit.RoomCompositeEgressRequest{StreamOutputs: rtmp("://")})},
		{recorder.CodeInvalid, "segment_outputs[0].protocol: 9", room(&livekit.RoomCompositeEgressRequest{SegmentOutputs: []*livekit.SegmentedFileOutput{{Protocol: 9}}})},
		{recorder.CodeInvalid, "segment_outputs[0].filename_suffix: 9", room(&livekit.RoomCompositeEgressRequest{SegmentOutputs: []*livekit.SegmentedFileOutput{{FilenameSuffix: 9}}})},
		{recorder.CodeInvalid, "segment_outputs[0].playlist_name:", room(&livekit.RoomCompositeEgressRequest{SegmentOutputs: []*livekit.SegmentedFileOutput{{PlaylistName: "/p"}}})},
		{recorder.CodeInvalid, "image_outputs[0].filename_suffix: 9", room(&livekit.RoomCompositeEgressRequest{ImageOutputs: []*livekit.ImageOutput{{FilenameSuffix: 9}}})},
		{recorder.CodeInvalid, "image_outputs[0].image_codec: 9", room(&livekit.RoomCompositeEgressRequest{ImageOutputs: []*livekit.ImageOutput{{ImageCodec: 9}}})},
		{recorder.CodeInvalid, "image_outputs[0]:", room(&livekit.RoomCompositeEgressRequest{AudioOnly: true, ImageOutputs: []*livekit.ImageOutput{{}}})},
		{recorder.CodeInvalid, "file_outputs[0].s3.proxy.url:", room(&livekit.RoomCompositeEgressRequest{FileOutputs: []*livekit.EncodedFileOutput{{
			Output: &livekit.EncodedFileOutput_S3{S3: &livekit.S3Upload{Proxy: &livekit.ProxyConfig{Url: "http://%zz", Password: "p"}}},
		}}})},
		{recorder.CodeInvalid, "request:", room(&livekit.RoomCompositeEgressRequest{FileOutputs: mp4("a\xff")})},
		{recorder.CodeInvalid, "longer than 65536 bytes", room(&livekit.RoomCompositeEgressRequest{Layout: strings.Repeat("x", 70_000), FileOutputs: mp4("a")})},
	} {
		_, err := door().Job(c.req)
		require.Error(t, err, c.field)
		assert.Equal(t, c.code, recorder.CodeOf(err), "%s: %s", c.field, err)
		assert.Contains(t, err.Error(), c.field)
	}
}

func TestUnknownLayoutsAreToldTheKnownOnes(t *testing.T) {
	job := jobOf(t, ofRoom(&livekit.RoomCompositeEgressRequest{Layout: "mosaic", FileOutputs: mp4("a")}))
	assert.ErrorContains(t, job.Validate(), "single-speaker-dark")
}

func TestOriginIsTheRequestWithoutItsSecrets(t *testing.T) {
	req := ofRoom(&livekit.RoomCompositeEgressRequest{
		Layout: "grid", StreamOutputs: rtmp("rtmp://host/app/abcdefghijklmnop"),
		FileOutputs: []*livekit.EncodedFileOutput{{Filepath: "a.mp4", Output: &livekit.EncodedFileOutput_S3{S3: &livekit.S3Upload{
			Bucket: "bucket", AccessKey: "ak", Secret: "sk", SessionToken: "st", Proxy: &livekit.ProxyConfig{Url: "http://p", Username: "u", Password: "pw"},
		}}}},
		Webhooks: []*livekit.WebhookConfig{{Url: "https://a.example.com/T0/B0/path-that-is-secret", SigningKey: "k"}, {Url: "https://b.example.com/?token=t"}},
	})
	before := proto.Clone(req)
	job, err := door().Job(req)
	require.NoError(t, err)
	assert.True(t, proto.Equal(before, req), "the caller's stays as it was")
	var envelope struct{ Kind string }
	require.NoError(t, json.Unmarshal(job.Origin, &envelope))
	assert.Equal(t, "room_composite", envelope.Kind)

	info := egress.Info(recorder.NewRecording(job, time.Now()))
	want := proto.CloneOf(req.GetRoomComposite())
	want.StreamOutputs[0].Urls[0] = "rtmp://host/app/{abc...nop}"
	s3 := want.FileOutputs[0].GetS3()
	s3.AccessKey, s3.Secret, s3.SessionToken = "{access_key}", "{secret}", "{session_token}"
	s3.Proxy.Username, s3.Proxy.Password = "{username}", "{password}"
	want.Webhooks[0].Url, want.Webhooks[1].Url = "https://a.example.com/{redacted}", "https://b.example.com/{redacted}"
	assert.True(t, proto.Equal(want, info.GetRoomComposite()), "%s", info.GetRoomComposite())
}

func TestEveryKindComesBack(t *testing.T) {
	const web, sdk = livekit.EgressSourceType_EGRESS_SOURCE_TYPE_WEB, livekit.EgressSourceType_EGRESS_SOURCE_TYPE_SDK
	for name, c := range map[string]struct {
		req    *rpc.StartEgressRequest
		get    func(*livekit.EgressInfo) proto.Message
		want   func(*rpc.StartEgressRequest) proto.Message
		source livekit.EgressSourceType
	}{
		"room": {
			ofRoom(&livekit.RoomCompositeEgressRequest{FileOutputs: mp4("a.mp4")}),
			func(i *livekit.EgressInfo) proto.Message { return i.GetRoomComposite() },
			func(r *rpc.StartEgressRequest) proto.Message { return r.GetRoomComposite() }, web,
		},
		"web": {
			ofWeb(&livekit.WebEgressRequest{FileOutputs: mp4("a.mp4")}),
			func(i *livekit.EgressInfo) proto.Message { return i.GetWeb() },
			func(r *rpc.StartEgressRequest) proto.Message { return r.GetWeb() }, web,
		},
		"participant": {
			ofParticipant(&livekit.ParticipantEgressRequest{RoomName: "r", Identity: "ann", FileOutputs: mp4("a.mp4")}),
			func(i *livekit.EgressInfo) proto.Message { return i.GetParticipant() },
			func(r *rpc.StartEgressRequest) proto.Message { return r.GetParticipant() }, sdk,
		},
		"tracks": {
			ofTracks(&livekit.TrackCompositeEgressRequest{RoomName: "r", VideoTrackId: "TR_v", FileOutputs: mp4("a.mp4")}),
			func(i *livekit.EgressInfo) proto.Message { return i.GetTrackComposite() },
			func(r *rpc.StartEgressRequest) proto.Message { return r.GetTrackComposite() }, sdk,
		},
		"unified": {
			ofMedia(&livekit.MediaSource{Video: &livekit.MediaSource_VideoTrackId{VideoTrackId: "TR_v"}}),
			func(i *livekit.EgressInfo) proto.Message { return i.GetEgress() },
			func(r *rpc.StartEgressRequest) proto.Message { return r.GetEgress() }, sdk,
		},
	} {
		job, err := door().Job(c.req)
		require.NoError(t, err, name)
		info := egress.Info(recorder.NewRecording(job, time.Now()))
		assert.True(t, proto.Equal(c.want(c.req), c.get(info)), "%s: %s", name, info)
		assert.Equal(t, c.source, info.SourceType, name)
	}
}
