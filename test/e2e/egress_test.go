package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
	"tapedeck/recorder/rehearsal"
)

// The tests of egress use Tapedeck as LiveKit's users use LiveKit Egress: with
// LiveKit's own SDKs, behind a livekit-server or without one before it.

// startRoomsOn starts a livekit-server that shares a Redis with recorders, and tells
// a receiver what happens.
func startRoomsOn(t testing.TB, redis *recordertest.Redis, hooks ...string) *roomServer {
	t.Helper()
	server, err := rehearsal.StartServer(t.Context(), rehearsal.ServerOptions{
		Binary: livekitServer(t), Redis: redis.Addr(), Webhooks: hooks,
	})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	return &roomServer{server, lksdk.NewRoomServiceClient("http"+strings.TrimPrefix(server.URL(), "ws"), server.APIKey, server.APISecret)}
}

// apiURL is where a server's API is.
func (s *roomServer) apiURL() string { return "http" + strings.TrimPrefix(s.URL(), "ws") }

// egressStage is what a drive of both SDKs takes place on.
type egressStage struct {
	*pool
	t     *testing.T
	rooms *roomServer
	rtmp  *recordertest.RTMP
	s3    *recordertest.S3
	node  *nodeUser
}

// take is one recording that one SDK started.
type take struct {
	*egressStage
	user egressUser
	room string
	info *livekit.EgressInfo // as last seen
	id   string
}

// small keeps two recordings and three browsers within two cores.
func small() *livekit.EncodingOptions {
	return &livekit.EncodingOptions{Width: 640, Height: 360, Framerate: 15, VideoBitrate: 600, KeyFrameInterval: 2}
}

const segmentSeconds = 2

// firstKey and secondKey are stream keys, of which only the ends may be shown.
func firstKey(room string) string  { return room + "-first-" + secret + "-abc" }
func secondKey(room string) string { return room + "-second-" + secret + "-xyz" }

func shownKey(key string) string { return "{" + key[:3] + "..." + key[len(key)-3:] + "}" }

// bucket is the request's own.
func (e *egressStage) bucket() *livekit.S3Upload {
	return &livekit.S3Upload{
		AccessKey: e.s3.AccessKey, Secret: e.s3.Secret, Region: "us-east-1", Endpoint: e.s3.Endpoint, Bucket: e.s3.Bucket, ForcePathStyle: true,
	}
}

// ask is for everything at once: a file, a stream, segments and images.
func (e *egressStage) ask(user egressUser, room string) *take {
	e.t.Helper()
	request := &livekit.RoomCompositeEgressRequest{
		RoomName: room, Layout: "grid", Options: &livekit.RoomCompositeEgressRequest_Advanced{Advanced: small()},
		FileOutputs: []*livekit.EncodedFileOutput{{
			Filepath: "files/{room_name}-{time}", Output: &livekit.EncodedFileOutput_S3{S3: e.bucket()},
		}},
		StreamOutputs: []*livekit.StreamOutput{{Protocol: livekit.StreamProtocol_RTMP, Urls: []string{e.rtmp.URL(firstKey(room))}}},
		SegmentOutputs: []*livekit.SegmentedFileOutput{{
			FilenamePrefix: "hls/" + room + "/part", PlaylistName: "all.m3u8", LivePlaylistName: "live.m3u8",
			SegmentDuration: segmentSeconds, Output: &livekit.SegmentedFileOutput_S3{S3: e.bucket()},
		}},
		ImageOutputs: []*livekit.ImageOutput{{
			CaptureInterval: 2, Width: 320, Height: 180, FilenamePrefix: "images/" + room, Output: &livekit.ImageOutput_S3{S3: e.bucket()},
		}},
		Webhooks: []*livekit.WebhookConfig{{Url: e.node.own, SigningKey: e.rooms.APIKey}},
	}
	t := &take{egressStage: e, user: user, room: room}
	t.info = user.start(request)
	t.id = t.info.EgressId
	assert.True(e.t, strings.HasPrefix(t.id, "EG_"), t.id)
	assert.Equal(e.t, livekit.EgressStatus_EGRESS_STARTING, t.info.Status)
	require.Len(e.t, t.info.FileResults, 1)
	assert.Regexp(e.t, `^files/`+room+`-\d{4}-\d\d-\d\dT\d{6}\.mp4$`, t.info.FileResults[0].Filename, "its final name")
	return t
}

// update changes layout and streams while it runs.
func (t *take) update() {
	t.t.Helper()
	t.user.layout(t.id, "speaker")
	assert.JSONEq(t.t, `{"layout":"speaker"}`, t.rooms.recorderOf(t.t, t.room).Metadata, "the page is told")
	first, second := t.rtmp.URL(firstKey(t.room)), t.rtmp.URL(secondKey(t.room))
	t.info = t.user.stream(t.id, []string{second}, nil)
	t.await("the second stream", func(i *livekit.EgressInfo) bool {
		return streamOf(i, shownKey(secondKey(t.room))).Status == livekit.StreamInfo_ACTIVE && streamOf(i, shownKey(secondKey(t.room))).StartedAt > 0
	})
	t.info = t.user.stream(t.id, nil, []string{first})
	t.await("the end of the first stream", func(i *livekit.EgressInfo) bool {
		return streamOf(i, shownKey(firstKey(t.room))).Status == livekit.StreamInfo_FINISHED
	})
}

func (t *take) await(what string, wanted func(*livekit.EgressInfo) bool) {
	t.t.Helper()
	t.info = awaitInfo(t.t, t.user, t.id, what, 20*time.Second, wanted)
}

// end stops it, and waits for the end.
func (t *take) end() {
	t.t.Helper()
	answer := t.user.stop(t.id)
	assert.Contains(t.t, []livekit.EgressStatus{livekit.EgressStatus_EGRESS_ENDING, livekit.EgressStatus_EGRESS_COMPLETE}, answer.Status)
	t.info = awaitEgress(t.t, t.user, t.id, livekit.EgressStatus_EGRESS_COMPLETE, 30*time.Second)
}

// stored gives the objects below a prefix of the bucket, with their sizes.
func (e *egressStage) objects(prefix, extension string) map[string]int64 {
	e.t.Helper()
	found := map[string]int64{}
	for _, key := range e.s3.Keys() {
		if strings.HasPrefix(key, prefix) && strings.HasSuffix(key, extension) {
			info, err := os.Stat(e.s3.Path(key))
			require.NoError(e.t, err)
			found[key] = info.Size()
		}
	}
	return found
}

func total(sizes map[string]int64) (sum int64) {
	for _, size := range sizes {
		sum += size
	}
	return sum
}

// requireExact compares the final EgressInfo with what there is.
func (t *take) requireExact() {
	t.t.Helper()
	i := t.info
	rooms, err := t.rooms.rooms.ListRooms(t.t.Context(), &livekit.ListRoomsRequest{Names: []string{t.room}})
	require.NoError(t.t, err)
	require.Len(t.t, rooms.Rooms, 1)
	assert.Equal(t.t, rooms.Rooms[0].Sid, i.RoomId)
	assert.Equal(t.t, t.room, i.RoomName)
	assert.Empty(t.t, i.Error)
	assert.Zero(t.t, i.ErrorCode)
	assert.Equal(t.t, "End reason: StopEgress API", i.Details)
	assert.Less(t.t, i.StartedAt, i.EndedAt)
	assert.LessOrEqual(t.t, i.EndedAt, i.UpdatedAt)
	length := time.Duration(i.EndedAt - i.StartedAt)

	require.Len(t.t, i.FileResults, 1)
	file := i.FileResults[0]
	files := t.objects("files/"+t.room, ".mp4")
	assert.Equal(t.t, map[string]int64{file.Filename: file.Size}, files, "the one object, to the byte")
	assert.Contains(t.t, file.Location, t.s3.Bucket+"/"+file.Filename)
	m := probe(t.t, t.s3.Path(file.Filename))
	assert.InDelta(t.t, m.duration(t.t), file.Duration, float64(100*time.Millisecond))
	assert.InDelta(t.t, length, file.Duration, float64(time.Second))
	assert.Contains(t.t, t.s3.Keys(), file.Filename+".json", "the manifest")

	require.Len(t.t, i.SegmentResults, 1)
	hls := i.SegmentResults[0]
	segments := t.objects("hls/"+t.room+"/part", ".ts")
	assert.EqualValues(t.t, len(segments), hls.SegmentCount)
	assert.Equal(t.t, total(segments), hls.Size)
	assert.Equal(t.t, "hls/"+t.room+"/all.m3u8", hls.PlaylistName)
	assert.Equal(t.t, "hls/"+t.room+"/live.m3u8", hls.LivePlaylistName)
	for _, location := range []string{hls.PlaylistLocation, hls.LivePlaylistLocation} {
		assert.Contains(t.t, location, t.s3.Bucket+"/hls/"+t.room+"/")
	}
	assert.InDelta(t.t, file.Duration, hls.Duration, float64(500*time.Millisecond))
	list := recordertest.ReadSegments(t.t, t.s3.Path(hls.PlaylistName))
	assert.True(t.t, list.Ended)
	assert.Len(t.t, list.Segments, int(hls.SegmentCount))
	assert.InDelta(t.t, hls.Duration, list.Duration(), float64(100*time.Millisecond))
	live := recordertest.ReadPlaylist(t.t, t.s3.Path(hls.LivePlaylistName))
	assert.True(t.t, live.Ended)
	assert.Len(t.t, live.Segments, min(int(hls.SegmentCount), 5))

	require.Len(t.t, i.ImageResults, 1)
	images := t.objects("images/"+t.room, ".jpeg")
	assert.EqualValues(t.t, len(images), i.ImageResults[0].ImageCount)
	assert.InDelta(t.t, length.Seconds()/2, len(images), 1.5, "one every two seconds")

	require.Len(t.t, i.StreamResults, 2)
	for _, s := range i.StreamResults {
		assert.Equal(t.t, livekit.StreamInfo_FINISHED, s.Status, "%v", s)
		assert.Less(t.t, s.StartedAt, s.EndedAt)
		assert.Positive(t.t, s.Duration)
		assert.Less(t.t, s.Duration, int64(length)+int64(2*time.Second))
	}
	for _, key := range []string{firstKey(t.room), secondKey(t.room)} {
		ingested := t.rtmp.Recorded(key)
		require.Len(t.t, ingested, 1, "one publication, unbroken")
		probePartial(t.t, ingested[0])
	}
	t.requireNoSecret(i)
	t.t.Logf("EgressInfo: %s", i)
}

// requireNoSecret looks for what no client may see.
func (t *take) requireNoSecret(info *livekit.EgressInfo) {
	t.t.Helper()
	secrets{secret, t.s3.Secret, t.s3.AccessKey, t.rooms.APISecret}.requireNone(t.t, "EgressInfo", protojson.Format(info))
}

// driveBoth has a user of each SDK record a room of its own at the same time, and
// gives the two takes when they ended.
func (e *egressStage) driveBoth(users map[string]egressUser, during func(*take)) []*take {
	e.t.Helper()
	var takes []*take
	for _, room := range []string{"talk", "walk"} {
		e.rooms.enter(e.t, room, low())
		takes = append(takes, e.ask(users[room], room))
	}
	for _, t := range takes {
		t.info = awaitEgress(e.t, t.user, t.id, livekit.EgressStatus_EGRESS_ACTIVE, recordStart)
		assert.Equal(e.t, []string{t.id}, ids(t.user.list(&livekit.ListEgressRequest{RoomName: t.room, Active: true})))
	}
	e.look()
	rooms, err := e.rooms.rooms.ListRooms(e.t.Context(), &livekit.ListRoomsRequest{})
	require.NoError(e.t, err)
	for _, room := range rooms.Rooms {
		assert.True(e.t, room.ActiveRecording, room.Name)
	}
	assert.Len(e.t, takes[0].user.list(&livekit.ListEgressRequest{Active: true}), 2)
	for _, t := range takes {
		t.update()
	}
	during(takes[0])
	for _, t := range takes {
		t.end()
		assert.Empty(e.t, t.user.list(&livekit.ListEgressRequest{RoomName: t.room, Active: true}))
	}
	for _, t := range takes {
		t.requireExact()
		for _, path := range []string{hooksPath, ownPath} {
			hooks := e.node.requireWebhooks(t.id, path, livekit.EgressStatus_EGRESS_COMPLETE)
			for _, w := range hooks {
				t.requireNoSecret(w.EgressInfo)
			}
			last := hooks[len(hooks)-1].EgressInfo
			assert.Equal(e.t, t.info.FileResults[0].Size, last.FileResults[0].Size, "the last webhook knows the final size")
		}
	}
	return takes
}

// startEgressStage starts the servers behind a stage. With hooks, livekit-server
// shares the pool's Redis and calls them.
func startEgressStage(t *testing.T, hooks ...string) *egressStage {
	t.Helper()
	e := &egressStage{pool: startPool(t, recordertest.WithAppendOnly()), t: t, rtmp: recordertest.StartRTMP(t), s3: recordertest.StartS3(t)}
	if len(hooks) == 0 {
		e.rooms = startRooms(t)
		return e
	}
	e.rooms = startRoomsOn(t, e.redis, hooks...)
	return e
}

// startEgressWorker starts a worker with so many slots that knows the server of rooms.
func (e *egressStage) startEgressWorker(id string, slots int, more []string, args ...string) *worker {
	e.t.Helper()
	env := append(append(e.redisEnv(), e.rooms.env()...), "TAPEDECK_WORKER_ID="+id, "TAPEDECK_SPOOL="+e.spool(id),
		fmt.Sprintf("TAPEDECK_WORKER_MAX_JOBS=%d", slots), "TAPEDECK_LOG_LEVEL=debug", "TAPEDECK_STORAGE_DIRECTORY="+e.path("stored"))
	w := &worker{e.start(append(env, more...), append([]string{"worker"}, args...)...), id}
	w.await(w.stderr, `"worker is up"`, 20*time.Second)
	return w
}

// TestEgressBehindLiveKit drives a worker that stands in for LiveKit's egress
// service, through the API of a livekit-server.
func TestEgressBehindLiveKit(t *testing.T) {
	t.Parallel()
	port := hookPort(t)
	e := startEgressStage(t, hookURL(port))
	e.node = e.startNode(e.rooms, e.rooms.apiURL(), port)
	// Of these jobs the server tells its receivers itself: nobody hears of them twice.
	w := e.startEgressWorker("w1", 2, []string{"TAPEDECK_WEBHOOKS_URLS=" + hookURL(port)}, "--livekit")
	hidden := secrets{secret, e.rooms.APISecret, e.s3.Secret}
	e.rooms.create(t, "talk")
	seen := e.lookOn(filepath.Join(e.s3.Dir, e.s3.Bucket), e.rooms.witness(t, "talk", "witness"))
	seen.await("the witness in the room", 20*time.Second, func(s sighting) bool { return s.Joined && !s.Is })
	users := map[string]egressUser{"talk": e.node, "walk": startGo(t, e.rooms, e.rooms.apiURL())}
	takes := e.driveBoth(users, func(take *take) {
		seen.await("RecordingStatusChanged to true", 10*time.Second, func(s sighting) bool { return s.Changed != nil && *s.Changed && s.Is })
		e.browse(seen.site.URL + player("live", "hls/talk/live.m3u8", "1"))
		seen.await("hls.js plays what is being recorded", 20*time.Second, func(s sighting) bool {
			return s.Play == "live" && s.At != nil && *s.At > 3 && s.Frames > 20 && s.Width == 640
		})
		assert.NotEmpty(t, e.objects("hls/talk/part", ".ts"), "segments arrive")
		assert.NotEmpty(t, e.objects("images/talk", ".jpeg"), "and images")
		assert.Empty(t, e.objects("files/talk", ".mp4"), "while it is being recorded")
	})
	seen.await("RecordingStatusChanged to false", 10*time.Second, func(s sighting) bool { return s.Changed != nil && !*s.Changed })
	assert.Equal(t, []bool{true, false}, seen.statuses())
	e.requirePlaysWhole(seen, takes[0])
	hidden.requireNone(t, "the worker's log", w.stderr.String())
	assert.Equal(t, recorder.StatusComplete, e.list(takes[0].id).Status, "the pool's own list knows it too")
	e.requireNoProcess(w)
}

// requirePlaysWhole plays a recording that ended from its beginning to its end.
func (e *egressStage) requirePlaysWhole(seen *onlooker, take *take) {
	e.t.Helper()
	live := seen.await("a live playlist", time.Second, func(s sighting) bool { return s.Play == "live" && s.Live != nil && *s.Live })
	assert.LessOrEqual(e.t, live.Segments, 5, "a window of five")
	require.NotNil(e.t, live.Date, "EXT-X-PROGRAM-DATE-TIME")
	assert.InDelta(e.t, take.info.StartedAt/1e6, *live.Date, 60_000)
	e.browse(seen.site.URL + player("all", "hls/"+take.room+"/all.m3u8", "4"))
	end := seen.await("hls.js plays it to its end", 30*time.Second, func(s sighting) bool { return s.Play == "all" && s.Ended })
	assert.InDelta(e.t, time.Duration(take.info.SegmentResults[0].Duration).Seconds(), *end.At, 0.5)
	whole := seen.await("a playlist that ended", time.Second, func(s sighting) bool { return s.Play == "all" && s.Live != nil && !*s.Live })
	assert.EqualValues(e.t, take.info.SegmentResults[0].SegmentCount, whole.Segments)
	seen.requirePlayed("all")
}

// requireNoProcess checks that nothing of the recordings is left beside those who
// still run.
func (e *egressStage) requireNoProcess(w ...*worker) {
	e.t.Helper()
	for _, one := range w {
		e.awaitSpoolFree(one.id)
	}
}

// TestEgressStandalone drives the same with no livekit-server before it: one SDK
// asks a `tapedeck serve`, the other the worker's own door.
func TestEgressStandalone(t *testing.T) {
	t.Parallel()
	e, port := startEgressStage(t), hookPort(t)
	webhooks := []string{"TAPEDECK_WEBHOOKS_URLS=" + hookURL(port) + "?token=" + secret}
	serve := e.start(append(append(e.redisEnv(), e.rooms.env()...), webhooks...), "serve", "--http", "127.0.0.1:0", "--log-level", "debug")
	serve.await(serve.stderr, `"serving"`, 20*time.Second)
	w := e.startEgressWorker("w1", 2, webhooks, "--http", "127.0.0.1:0")
	e.node = e.startNode(e.rooms, serve.address(), port)
	takes := e.driveBoth(map[string]egressUser{"talk": e.node, "walk": startGo(t, e.rooms, w.address())}, func(*take) {})
	for _, take := range takes {
		assert.Equal(t, take.id, e.node.list(&livekit.ListEgressRequest{EgressId: take.id})[0].EgressId, "any door answers for all")
	}
	_, refused := e.node.try(nodeCall{Call: "stop", EgressID: "EG_unknown"})
	require.NotNil(t, refused)
	assert.Equal(t, "not_found", refused.Code)
	e.requireNoProcess(w)
	serve.signal(syscall.SIGTERM)
	assert.Zero(t, serve.wait(10*time.Second))
	secrets{secret, e.rooms.APISecret, e.s3.Secret}.requireNone(t, "the logs", w.stderr.String()+serve.stderr.String())
}

// address is where a process says it serves the API.
func (c *command) address() string {
	c.h.t.Helper()
	address, _, _ := strings.Cut(c.await(c.stderr, `"address":"`, 20*time.Second), `"`)
	return address
}
