//nolint:staticcheck // older clients use what is deprecated: it is tested
package egress_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/rpc"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"tapedeck/recorder"
	"tapedeck/recorder/egress"
)

// salt is what no secret may leave of itself.
const salt = "s3cr3tSALTs3cr3t"

// salted puts salted secrets where a request has secrets, whatever it has else.
func salted(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap():
		case f.IsList() && f.Kind() == protoreflect.MessageKind:
			for i := range v.List().Len() {
				salted(v.List().Get(i).Message())
			}
		case f.Kind() == protoreflect.MessageKind:
			salted(v.Message())
		}
		return true
	})
	set := func(text string, names ...protoreflect.Name) {
		for _, name := range names {
			m.Set(m.Descriptor().Fields().ByName(name), protoreflect.ValueOfString(text))
		}
	}
	switch x := m.Interface().(type) {
	case *rpc.StartEgressRequest:
		x.Token = salt
	case *livekit.S3Upload:
		set(salt, "access_key", "secret", "session_token", "assume_role_external_id")
		x.Endpoint = "https://" + salt + "@s3.example.com/?k=" + salt
		x.Proxy = &livekit.ProxyConfig{}
		salted(x.Proxy.ProtoReflect())
	case *livekit.GCPUpload:
		x.Credentials = `{"private_key": "` + salt + `"}`
		x.Proxy = &livekit.ProxyConfig{}
		salted(x.Proxy.ProtoReflect())
	case *livekit.AzureBlobUpload:
		x.AccountKey = salt
	case *livekit.AliOSSUpload:
		set(salt, "access_key", "secret")
		x.Endpoint = "https://oss.example.com/?k=" + salt
	case *livekit.ProxyConfig:
		x.Url = "http://u:" + salt + "@proxy:8080"
		x.Password = salt
	case *livekit.StreamOutput:
		for i, u := range x.Urls {
			scheme, _, _ := strings.Cut(u, "://")
			x.Urls[i] = map[string]string{
				"mux": "mux://" + salt, "twitch": "twitch://" + salt, "srt": "srt://h:1?streamid=" + salt + "&passphrase=" + salt,
				"bad": "rtmp://h/a/%zz" + salt, "user": "rtmp://u:" + salt + "@h/a/" + salt,
			}[scheme]
			if x.Urls[i] == "" {
				x.Urls[i] = "rtmps://h/a/" + salt + " live=1"
			}
		}
	case *livekit.WebhookConfig:
		x.Url = "https://hook.example.com/" + salt + "?token=" + salt
	case *livekit.WebEgressRequest:
		x.Url = "https://u:" + salt + "@page.example.com/?token=" + salt + "#a=" + salt
	case *livekit.WebSource:
		x.Url = "https://page.example.com/?" + salt
	case *livekit.RoomCompositeEgressRequest:
		x.CustomBaseUrl = "https://t.example.com/?token=" + salt
	case *livekit.TemplateSource:
		x.CustomBaseUrl = "https://t.example.com/?token=" + salt
	}
}

// seeds are requests with everything in them, and some that are odd.
func seeds() []*rpc.StartEgressRequest {
	s3 := &livekit.S3Upload{Bucket: "bucket", Region: "r"}
	file := func() []*livekit.EncodedFileOutput {
		return []*livekit.EncodedFileOutput{
			{Filepath: "a", Output: &livekit.EncodedFileOutput_S3{S3: s3}},
			{Filepath: "b", Output: &livekit.EncodedFileOutput_Gcp{Gcp: &livekit.GCPUpload{Bucket: "bucket"}}},
		}
	}
	streams := func() []*livekit.StreamOutput {
		return []*livekit.StreamOutput{{Urls: []string{"rtmps://h/a/k", "mux://k", "srt://h:1", "twitch://k", "user://"}}, {Urls: []string{"bad://"}}}
	}
	segments := func() []*livekit.SegmentedFileOutput {
		return []*livekit.SegmentedFileOutput{{PlaylistName: "p", Output: &livekit.SegmentedFileOutput_Azure{Azure: &livekit.AzureBlobUpload{ContainerName: "c"}}}}
	}
	images := func() []*livekit.ImageOutput {
		return []*livekit.ImageOutput{{FilenamePrefix: "i", Output: &livekit.ImageOutput_AliOSS{AliOSS: &livekit.AliOSSUpload{Bucket: "b"}}}}
	}
	hooks := func() []*livekit.WebhookConfig { return []*livekit.WebhookConfig{{Url: "https://h", SigningKey: "k"}} }
	good := streams()
	good[0].Urls, good = good[0].Urls[:3], good[:1]
	return []*rpc.StartEgressRequest{
		{},
		ofRoom(&livekit.RoomCompositeEgressRequest{FileOutputs: file(), StreamOutputs: good, SegmentOutputs: segments(), ImageOutputs: images(), Webhooks: hooks()}),
		ofRoom(&livekit.RoomCompositeEgressRequest{FileOutputs: file(), StreamOutputs: streams(), AudioMixing: 7, Options: &livekit.RoomCompositeEgressRequest_Preset{Preset: -1}}),
		ofRoom(&livekit.RoomCompositeEgressRequest{Output: &livekit.RoomCompositeEgressRequest_Stream{Stream: &livekit.StreamOutput{Protocol: 9, Urls: []string{"bad://"}}}}),
		ofRoom(&livekit.RoomCompositeEgressRequest{StreamOutputs: make([]*livekit.StreamOutput, 500), FileOutputs: make([]*livekit.EncodedFileOutput, 500)}),
		ofWeb(&livekit.WebEgressRequest{Output: &livekit.WebEgressRequest_File{File: file()[0]}, Webhooks: hooks()}),
		ofWeb(&livekit.WebEgressRequest{SegmentOutputs: segments(), Options: &livekit.WebEgressRequest_Advanced{Advanced: &livekit.EncodingOptions{Width: -1, KeyFrameInterval: 1e300}}}),
		ofParticipant(&livekit.ParticipantEgressRequest{RoomName: "r", Identity: "{publisher_identity}", FileOutputs: mp4("{publisher_identity}"), ImageOutputs: images()}),
		ofTracks(&livekit.TrackCompositeEgressRequest{RoomName: "r", AudioTrackId: "TR_a", Output: &livekit.TrackCompositeEgressRequest_Segments{Segments: segments()[0]}}),
		ofMedia(&livekit.MediaSource{Audio: &livekit.AudioConfig{Routes: make([]*livekit.AudioRoute, 3)}}),
		unified(&livekit.StartEgressRequest{
			RoomName: "r", Source: &livekit.StartEgressRequest_Template{Template: &livekit.TemplateSource{}}, Webhooks: hooks(),
			Storage: &livekit.StorageConfig{Provider: &livekit.StorageConfig_S3{S3: s3}},
			Outputs: []*livekit.Output{
				{Config: &livekit.Output_File{File: &livekit.FileOutput{Filepath: "f"}}},
				{Config: &livekit.Output_Stream{Stream: &livekit.StreamOutput{Urls: []string{"mux://k"}}}},
				{Config: &livekit.Output_Segments{Segments: segments()[0]}, Storage: &livekit.StorageConfig{Provider: &livekit.StorageConfig_Gcp{Gcp: &livekit.GCPUpload{Bucket: "g"}}}},
				{Config: &livekit.Output_Images{Images: images()[0]}},
			},
		}),
		unified(&livekit.StartEgressRequest{Source: &livekit.StartEgressRequest_Web{Web: &livekit.WebSource{Url: "https://e"}}, Outputs: make([]*livekit.Output, 9)}),
		{Request: &rpc.StartEgressRequest_Track{}},
		{Request: &rpc.StartEgressRequest_Replay{}},
		{Request: &rpc.StartEgressRequest_Egress{}},
		{Request: &rpc.StartEgressRequest_Web{}},
	}
}

func FuzzJob(f *testing.F) {
	for _, s := range seeds() {
		data, err := proto.Marshal(s)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		req := &rpc.StartEgressRequest{}
		if proto.Unmarshal(data, req) != nil {
			return
		}
		if text, _ := json.Marshal(protojson.Format(req)); strings.Contains(string(text), salt) {
			return // the fuzzer knows the word by now
		}
		salted(req.ProtoReflect())
		seen := seenOf(t, req)
		for what, text := range seen {
			if strings.Contains(text, salt) || strings.Contains(text, salt[4:]) || strings.Contains(text, salt[:12]) {
				t.Fatalf("%s tells a secret: %s", what, text)
			}
		}
	})
}

// seenOf is everything that others see of a request.
func seenOf(t *testing.T, req *rpc.StartEgressRequest) map[string]string {
	job, err := door().Job(req)
	if err != nil {
		require.Contains(t, []recorder.Code{recorder.CodeInvalid, recorder.CodeUnimplemented}, recorder.CodeOf(err), "%s", err)
		require.Contains(t, err.Error(), ":", "a field and a remedy")
		return map[string]string{"error": fmt.Sprintf("%s %+v", err, err)}
	}
	seen := map[string]string{"origin": string(job.Origin)}
	if err := job.Validate(); err != nil {
		seen["fault"] = err.Error()
	}
	redacted, err := json.Marshal(job.Redacted())
	if err != nil { // a number that is none, which is a fault
		require.Contains(t, seen, "fault")
	}
	seen["redacted"] = string(redacted)
	info := egress.Info(recorder.NewRecording(job, time.Unix(0, 1)))
	seen["info"] = protojson.Format(info)
	require.NotNil(t, info.Request)
	if kind := req.GetRoomComposite(); kind != nil {
		require.NotNil(t, info.GetRoomComposite(), "the request comes back as what it was")
	}
	require.Equal(t, job.RoomName, info.RoomName)
	return seen
}

// The seeds reach what they are for, since a mapping that refuses all tells no
// secret either. They are read as they are, too, with the nils that no wire brings.
func TestSeedsAreRead(t *testing.T) {
	read := 0
	for _, s := range seeds() {
		if _, err := door().Job(s); err == nil {
			read++
		}
	}
	require.GreaterOrEqual(t, read, 6)
}

// FuzzOrigin shows recordings whose origin anybody put into the queue.
func FuzzOrigin(f *testing.F) {
	for _, s := range seeds() {
		if job, err := door().Job(s); err == nil {
			f.Add([]byte(job.Origin))
		}
	}
	for _, odd := range []string{``, `{}`, `null`, `{"kind":"egress","request":{"media":null}}`, `{"kind":"web","request":[]}`} {
		f.Add([]byte(odd))
	}
	f.Fuzz(func(t *testing.T, kept []byte) {
		info := egress.Info(recorder.Recording{ID: "EG_1", RoomName: "r", Status: recorder.StatusComplete, UpdatedAt: 1, Origin: kept})
		require.NotNil(t, info.Request)
		_, err := proto.Marshal(info)
		require.NoError(t, err, "a livekit-server could not be told")
		_, err = protojson.Marshal(info)
		require.NoError(t, err, "nor an SDK")
	})
}
