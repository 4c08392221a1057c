package egress

import (
	"encoding/json"
	"slices"

	"tapedeck/recorder"
)

// viaServer marks the origin of a job that came through livekit-server.
const viaServer = "psrpc"

// markServer adds the mark to an origin.
func markServer(kept json.RawMessage) (json.RawMessage, error) {
	var envelope struct {
		origin
		Via string `json:"via"`
	}
	if err := json.Unmarshal(kept, &envelope); err != nil {
		return nil, recorder.Errorf(recorder.CodeInternal, "the request's origin is no envelope: %w", err)
	}
	envelope.Via = viaServer
	return json.Marshal(envelope)
}

// FromServer reports whether the job of this origin came through livekit-server,
// which then is who keeps its EgressInfo and sends its webhooks.
func FromServer(kept json.RawMessage) bool {
	var envelope struct {
		Via string `json:"via"`
	}
	return len(kept) > 0 && json.Unmarshal(kept, &envelope) == nil && envelope.Via == viaServer
}

// ownWebhooks leaves out those that the server calls by itself, as it finds them
// in EgressInfo.
func ownWebhooks(hooks []recorder.Webhook) []recorder.Webhook {
	return slices.DeleteFunc(hooks, serverCalls)
}
