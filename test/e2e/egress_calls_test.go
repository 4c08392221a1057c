package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// egressUser calls LiveKit's egress API with one of its SDKs.
type egressUser interface {
	start(*livekit.RoomCompositeEgressRequest) *livekit.EgressInfo
	list(*livekit.ListEgressRequest) []*livekit.EgressInfo
	layout(id, layout string) *livekit.EgressInfo
	stream(id string, add, remove []string) *livekit.EgressInfo
	stop(id string) *livekit.EgressInfo
}

// asJSON gives a message as the Node SDK's fromJson takes it.
func asJSON[M proto.Message](t testing.TB, list []M) any {
	t.Helper()
	if len(list) == 0 {
		return nil
	}
	return message(t, list[0])
}

func message(t testing.TB, m proto.Message) any {
	t.Helper()
	text, err := protojson.Marshal(m)
	require.NoError(t, err)
	return json.RawMessage(text)
}

func (n *nodeUser) start(r *livekit.RoomCompositeEgressRequest) *livekit.EgressInfo {
	n.h.t.Helper()
	call := nodeCall{Call: "room", Room: r.RoomName, Outputs: map[string]any{
		"file": asJSON(n.h.t, r.FileOutputs), "stream": asJSON(n.h.t, r.StreamOutputs),
		"segments": asJSON(n.h.t, r.SegmentOutputs), "images": asJSON(n.h.t, r.ImageOutputs),
	}, Options: map[string]any{"layout": r.Layout}}
	var hooks []any
	for _, hook := range r.Webhooks {
		hooks = append(hooks, message(n.h.t, hook))
	}
	call.Options["webhooks"] = hooks
	if advanced := r.GetAdvanced(); advanced != nil {
		call.Options["encodingOptions"] = message(n.h.t, advanced)
	}
	return n.one(call)
}

func (n *nodeUser) web(r *livekit.WebEgressRequest) *livekit.EgressInfo {
	n.h.t.Helper()
	return n.one(nodeCall{
		Call: "web", URL: r.Url, Outputs: map[string]any{"file": asJSON(n.h.t, r.FileOutputs)},
		Options: map[string]any{"awaitStartSignal": r.AwaitStartSignal, "encodingOptions": message(n.h.t, r.GetAdvanced())},
	})
}

func (n *nodeUser) list(r *livekit.ListEgressRequest) []*livekit.EgressInfo {
	n.h.t.Helper()
	return n.call(nodeCall{Call: "list", RoomName: r.RoomName, EgressID: r.EgressId, Active: r.Active})
}

func (n *nodeUser) layout(id, layout string) *livekit.EgressInfo {
	n.h.t.Helper()
	return n.one(nodeCall{Call: "layout", EgressID: id, Layout: layout})
}

func (n *nodeUser) stream(id string, add, remove []string) *livekit.EgressInfo {
	n.h.t.Helper()
	return n.one(nodeCall{Call: "stream", EgressID: id, Add: add, Remove: remove})
}

func (n *nodeUser) stop(id string) *livekit.EgressInfo {
	n.h.t.Helper()
	return n.one(nodeCall{Call: "stop", EgressID: id})
}

// goUser is LiveKit's server SDK for Go.
type goUser struct {
	t      testing.TB
	client *lksdk.EgressClient
}

func startGo(t testing.TB, s *roomServer, host string) *goUser {
	return &goUser{t, lksdk.NewEgressClient(host, s.APIKey, s.APISecret)}
}

func (g *goUser) answer(info *livekit.EgressInfo, err error) *livekit.EgressInfo {
	g.t.Helper()
	require.NoError(g.t, err)
	return info
}

func (g *goUser) start(r *livekit.RoomCompositeEgressRequest) *livekit.EgressInfo {
	g.t.Helper()
	return g.answer(g.client.StartRoomCompositeEgress(g.t.Context(), r))
}

func (g *goUser) list(r *livekit.ListEgressRequest) []*livekit.EgressInfo {
	g.t.Helper()
	list, err := g.client.ListEgress(g.t.Context(), r)
	require.NoError(g.t, err)
	return list.Items
}

func (g *goUser) layout(id, layout string) *livekit.EgressInfo {
	g.t.Helper()
	return g.answer(g.client.UpdateLayout(g.t.Context(), &livekit.UpdateLayoutRequest{EgressId: id, Layout: layout}))
}

func (g *goUser) stream(id string, add, remove []string) *livekit.EgressInfo {
	g.t.Helper()
	return g.answer(g.client.UpdateStream(g.t.Context(), &livekit.UpdateStreamRequest{EgressId: id, AddOutputUrls: add, RemoveOutputUrls: remove}))
}

func (g *goUser) stop(id string) *livekit.EgressInfo {
	g.t.Helper()
	return g.answer(g.client.StopEgress(g.t.Context(), &livekit.StopEgressRequest{EgressId: id}))
}

// awaitInfo asks ListEgress until an egress is as wanted.
func awaitInfo(t testing.TB, u egressUser, id, what string, limit time.Duration, wanted func(*livekit.EgressInfo) bool) *livekit.EgressInfo {
	t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		list := u.list(&livekit.ListEgressRequest{EgressId: id})
		require.Len(t, list, 1, "ListEgress of %s", id)
		if wanted(list[0]) {
			return list[0]
		}
		if time.Now().After(deadline) {
			require.FailNow(t, "ListEgress does not show it", "%s within %s: %s", what, limit, protojson.Format(list[0]))
		}
		<-tick.C
	}
}

func awaitEgress(t testing.TB, u egressUser, id string, status livekit.EgressStatus, limit time.Duration) *livekit.EgressInfo {
	t.Helper()
	info := awaitInfo(t, u, id, status.String(), limit, func(i *livekit.EgressInfo) bool {
		return i.Status == status || i.Status > livekit.EgressStatus_EGRESS_ENDING
	})
	require.Equal(t, status, info.Status, protojson.Format(info))
	return info
}

// ids names those that a list holds.
func ids(list []*livekit.EgressInfo) (all []string) {
	for _, info := range list {
		all = append(all, info.EgressId)
	}
	return all
}

// streamOf finds the result of an ingest URL by what may be shown of it.
func streamOf(info *livekit.EgressInfo, shown string) *livekit.StreamInfo {
	for _, s := range info.StreamResults {
		if strings.HasSuffix(s.Url, shown) {
			return s
		}
	}
	return &livekit.StreamInfo{Status: -1}
}
