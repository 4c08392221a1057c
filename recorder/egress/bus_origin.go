package egress

import (
	"encoding/json"
	"slices"

	"tapedeck/recorder"
)

// viaServer marks the origin of a job that came through livekit-server.
const viaServer = "psrpc"

// FromServer reports whether the job of this origin came through livekit-server,
// which then is who keeps its EgressInfo and sends its webhooks.
func FromServer(kept json.RawMessage) bool {
	var o origin
	return len(kept) > 0 && json.Unmarshal(kept, &o) == nil && o.Via == viaServer
}

// ownWebhooks leaves out those that the server calls by itself, as it finds them
// in EgressInfo.
func ownWebhooks(hooks []recorder.Webhook) []recorder.Webhook {
	return slices.DeleteFunc(hooks, serverCalls)
}
