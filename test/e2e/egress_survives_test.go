package e2e

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// forever bounds how long a client may be shown what is not so any more.
const forever = 30 * time.Second

// webRequest records a page into the workers' own storage.
func webRequest(page, file string) *livekit.WebEgressRequest {
	return &livekit.WebEgressRequest{
		Url: page, AwaitStartSignal: true, Options: &livekit.WebEgressRequest_Advanced{Advanced: small()},
		FileOutputs: []*livekit.EncodedFileOutput{{Filepath: file, DisableManifest: true}},
	}
}

// TestEgressSurvives has two workers behind a livekit-server, and takes away one
// after the other whoever a running recording depends on.
func TestEgressSurvives(t *testing.T) {
	t.Parallel()
	port, page := hookPort(t), recordertest.StartPage(t)
	e := startEgressStage(t, hookURL(port))
	e.node = e.startNode(e.rooms, e.rooms.apiURL(), port)
	workers := map[string]*worker{}
	for _, id := range []string{"w1", "w2"} {
		workers[id] = e.startEgressWorker(id, 1, []string{"TAPEDECK_LIVEKIT_ENABLED=true"})
	}
	e.rooms.enter(t, "talk", low())
	first := e.node.start(&livekit.RoomCompositeEgressRequest{
		RoomName: "talk", Layout: "grid", Options: &livekit.RoomCompositeEgressRequest_Advanced{Advanced: small()},
		FileOutputs: []*livekit.EncodedFileOutput{{Filepath: "first.mp4", DisableManifest: true}},
	}).EgressId
	awaitEgress(t, e.node, first, livekit.EgressStatus_EGRESS_ACTIVE, recordStart)
	second := e.node.web(webRequest(page.URL+"/barcode", "second.mp4")).EgressId
	awaitEgress(t, e.node, second, livekit.EgressStatus_EGRESS_ACTIVE, recordStart)
	lost, other := workers[e.list(first).Worker], workers[e.list(second).Worker]
	require.NotSame(t, lost, other, "the full one does not get it")

	e.node.stop(second)
	awaitEgress(t, e.node, second, livekit.EgressStatus_EGRESS_COMPLETE, 20*time.Second)
	e.node.requireWebhooks(second, hooksPath, livekit.EgressStatus_EGRESS_COMPLETE)

	e.look()
	lost.killTree()
	killed := time.Now()
	info := awaitInfo(t, e.node, first, "the takeover", forever, func(i *livekit.EgressInfo) bool {
		require.NotEqual(t, livekit.EgressStatus_EGRESS_STARTING, i.Status, "it is the same recording to clients")
		return len(i.FileResults) == 2 && strings.Contains(i.FileResults[1].Filename, "part2")
	})
	e.awaitStatus(first, recorder.StatusActive, recordStart)
	t.Logf("taken over %v after the worker's death", time.Since(killed))
	assert.Equal(t, "first.mp4", info.FileResults[0].Filename)
	assert.Equal(t, other.id, e.list(first).Worker)
	assert.Positive(t, info.RetryCount)

	require.NoError(t, e.rooms.Restart(t.Context()))
	awaitEgress(t, e.node, first, livekit.EgressStatus_EGRESS_ACTIVE, forever)
	e.redis.Restart()
	// Who is in the room shows by what is heard: livekit-server remembers the guests
	// of its last life.
	e.await(first, "silence", forever, silent)
	quiet := time.Now()
	e.await(first, "sound", forever, heard)
	t.Logf("the room is heard again after %v", time.Since(quiet))
	awaitEgress(t, e.node, first, livekit.EgressStatus_EGRESS_ACTIVE, forever)
	// One that drains is still asked for what it records.
	other.signal(syscall.SIGTERM)
	other.await(other.stderr, `"draining"`, 5*time.Second)
	e.stopUntilHeard(first)
	// Too little was recorded for a first upload part: the dead worker's spool has it.
	info = awaitEgress(t, e.node, first, livekit.EgressStatus_EGRESS_FAILED, 20*time.Second)
	rec := e.awaitStatus(first, recorder.StatusFailed, time.Second)
	assert.Equal(t, recorder.CodeWorkerLost, rec.Error.Code)
	m := probe(t, e.stored(rec.Files[0].Filename))
	require.Len(t, info.FileResults, 2)
	assert.InDelta(t, m.duration(t), info.FileResults[1].Duration, float64(100*time.Millisecond), protojson.Format(info))
	e.node.requireEnded(first, hooksPath)
	assert.Zero(t, other.wait(20*time.Second))
	e.requireNothingLeft(e.node.command)
	e.requireSpoolFree(other.id)
}

// stopUntilHeard stops an egress through servers that are just coming back.
func (e *egressStage) stopUntilHeard(id string) {
	e.t.Helper()
	for deadline := time.Now().Add(forever); ; {
		_, refused := e.node.try(nodeCall{Call: "stop", EgressID: id})
		if refused == nil || refused.Code == "failed_precondition" {
			return
		}
		require.True(e.t, time.Now().Before(deadline), "nobody stops it: %+v", refused)
	}
}
