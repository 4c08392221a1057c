package egress

import (
	"encoding/json"
	"slices"

	pegress "github.com/livekit/protocol/egress"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/rpc"
	"github.com/livekit/protocol/utils"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"tapedeck/recorder"
)

// origin is the envelope that Job.Origin keeps a request in. Kind is the field of
// EgressInfo's request, by its name in the protocol; Via is viaServer or nothing.
type origin struct {
	Kind    string          `json:"kind"`
	Request json.RawMessage `json:"request"`
	Via     string          `json:"via,omitempty"`
}

// The kinds.
const (
	kindRoomComposite  = "room_composite"
	kindWeb            = "web"
	kindParticipant    = "participant"
	kindTrackComposite = "track_composite"
	kindUnified        = "egress"
)

// longestOrigin bounds what is kept, in bytes.
const longestOrigin = 64 << 10

// originOf keeps the request without its secrets, and the door it came through. It
// changes req.
func originOf(req *rpc.StartEgressRequest, via string) (json.RawMessage, error) {
	shown := hostsOf
	if via == viaServer {
		shown = callable
	}
	var kind string
	var message proto.Message
	switch r := req.Request.(type) {
	case *rpc.StartEgressRequest_RoomComposite:
		kind, message = kindRoomComposite, r.RoomComposite
		redactOutputs(r.RoomComposite)
		r.RoomComposite.CustomBaseUrl = recorder.RedactURL(r.RoomComposite.CustomBaseUrl)
		r.RoomComposite.Webhooks = shown(r.RoomComposite.Webhooks)
	case *rpc.StartEgressRequest_Web:
		kind, message = kindWeb, r.Web
		redactOutputs(r.Web)
		r.Web.Url = recorder.RedactURL(r.Web.Url)
		r.Web.Webhooks = shown(r.Web.Webhooks)
	case *rpc.StartEgressRequest_Participant:
		kind, message = kindParticipant, r.Participant
		redactOutputs(r.Participant)
		r.Participant.Webhooks = shown(r.Participant.Webhooks)
	case *rpc.StartEgressRequest_TrackComposite:
		kind, message = kindTrackComposite, r.TrackComposite
		redactOutputs(r.TrackComposite)
		r.TrackComposite.Webhooks = shown(r.TrackComposite.Webhooks)
	case *rpc.StartEgressRequest_Egress:
		kind, message = kindUnified, r.Egress
		redactUnified(r.Egress)
		r.Egress.Webhooks = shown(r.Egress.Webhooks)
	}
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(message)
	if err != nil {
		return nil, invalid("request", "it cannot be kept as JSON: send what an SDK sends")
	}
	kept, err := json.Marshal(origin{Kind: kind, Request: text, Via: via})
	if err != nil {
		return nil, invalid("request", "it cannot be kept as JSON: send what an SDK sends")
	}
	if len(kept) > longestOrigin {
		return nil, invalid("request", "it is longer than %d bytes as JSON, outputs and webhooks included: shorten it", longestOrigin)
	}
	return kept, nil
}

// redactOutputs hides what every output must not show: like protocol's own
// RedactEncodedOutputs, for any number of outputs, proxies and schemes.
func redactOutputs(r pegress.EncodedOutput) {
	for _, f := range r.GetFileOutputs() {
		redactUpload(f)
	}
	for _, s := range r.GetStreamOutputs() {
		redactStream(s)
	}
	for _, s := range r.GetSegmentOutputs() {
		redactUpload(s)
	}
	for _, m := range r.GetImageOutputs() {
		redactUpload(m)
	}
	if old, ok := r.(pegress.EncodedOutputDeprecated); ok {
		redactUpload(old.GetFile())
		redactStream(old.GetStream())
		redactUpload(old.GetSegments())
	}
}

func redactUnified(r *livekit.StartEgressRequest) {
	redactUpload(r.Storage)
	for _, o := range r.Outputs {
		redactUpload(o.Storage)
		redactStream(o.GetStream())
		redactUpload(o.GetSegments())
		redactUpload(o.GetImages())
	}
	if t := r.GetTemplate(); t != nil {
		t.CustomBaseUrl = recorder.RedactURL(t.CustomBaseUrl)
	}
	if w := r.GetWeb(); w != nil {
		w.Url = recorder.RedactURL(w.Url)
	}
}

func redactUpload(u pegress.UploadRequest) {
	if s3 := u.GetS3(); s3 != nil {
		token := utils.Redact(s3.SessionToken, "{session_token}")
		pegress.RedactUpload(u)
		s3.SessionToken = token // protocol 1.50 shows a token there that is the external id's
		s3.Endpoint = recorder.RedactURL(s3.Endpoint)
		redactProxy(s3.Proxy)
		return
	}
	pegress.RedactUpload(u)
	redactProxy(u.GetGcp().GetProxy())
	if oss := u.GetAliOSS(); oss != nil {
		oss.Endpoint = recorder.RedactURL(oss.Endpoint)
	}
}

func redactProxy(p *livekit.ProxyConfig) {
	if p == nil {
		return
	}
	p.Url = recorder.RedactURL(p.Url)
	p.Username = utils.Redact(p.Username, "{username}")
	p.Password = utils.Redact(p.Password, "{password}")
}

func redactStream(s *livekit.StreamOutput) {
	for i, u := range s.GetUrls() {
		s.Urls[i] = recorder.RedactStreamURL(u)
	}
}

// hostsOf shows the hosts of webhooks alone: with many services the path is the secret.
func hostsOf(configs []*livekit.WebhookConfig) []*livekit.WebhookConfig {
	for _, c := range configs {
		c.Url = recorder.RedactWebhook(c.Url)
	}
	return configs
}

// callable shows webhooks whole, since a livekit-server calls every one that it
// sees. Those whose URL holds a secret beside its path are left out: it would call
// a redacted URL.
func callable(configs []*livekit.WebhookConfig) []*livekit.WebhookConfig {
	return slices.DeleteFunc(configs, func(c *livekit.WebhookConfig) bool { return !serverCalls(recorder.Webhook{URL: c.Url}) })
}

// serverCalls reports whether a livekit-server that is told of the job calls
// this webhook of it by itself.
func serverCalls(h recorder.Webhook) bool { return recorder.RedactURL(h.URL) == h.URL }

// setRequest fills the request of an EgressInfo from a recording's origin. False
// when it came through another door.
func setRequest(info *livekit.EgressInfo, kept json.RawMessage) bool {
	var o origin
	if len(kept) == 0 || json.Unmarshal(kept, &o) != nil {
		return false
	}
	read := func(m proto.Message) bool {
		return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(o.Request, m) == nil
	}
	switch o.Kind {
	case kindRoomComposite:
		r := &livekit.RoomCompositeEgressRequest{}
		info.Request = &livekit.EgressInfo_RoomComposite{RoomComposite: r}
		return read(r)
	case kindWeb:
		r := &livekit.WebEgressRequest{}
		info.Request = &livekit.EgressInfo_Web{Web: r}
		return read(r)
	case kindParticipant:
		r := &livekit.ParticipantEgressRequest{}
		info.Request, info.SourceType = &livekit.EgressInfo_Participant{Participant: r}, livekit.EgressSourceType_EGRESS_SOURCE_TYPE_SDK
		return read(r)
	case kindTrackComposite:
		r := &livekit.TrackCompositeEgressRequest{}
		info.Request, info.SourceType = &livekit.EgressInfo_TrackComposite{TrackComposite: r}, livekit.EgressSourceType_EGRESS_SOURCE_TYPE_SDK
		return read(r)
	case kindUnified:
		r := &livekit.StartEgressRequest{}
		info.Request = &livekit.EgressInfo_Egress{Egress: r}
		ok := read(r)
		if r.GetMedia() != nil {
			info.SourceType = livekit.EgressSourceType_EGRESS_SOURCE_TYPE_SDK
		}
		return ok
	default:
		return false
	}
}
