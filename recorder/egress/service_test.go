package egress_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twitchtv/twirp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"tapedeck/recorder"
	"tapedeck/recorder/egress"
)

// desk is a Controller that takes jobs into a pool's queue.
type desk struct {
	*pool
	refuses error // every start
	panics  any   // at every start
	listed  []recorder.Recording
}

func (d *desk) Start(_ context.Context, job recorder.Job) (recorder.Recording, error) {
	if d.panics != nil {
		panic(d.panics)
	}
	if d.refuses != nil {
		return recorder.Recording{}, d.refuses
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	rec := recorder.NewRecording(job, time.Now())
	d.jobs[job.ID] = &poolJob{job: job, rec: rec}
	return rec, nil
}

func (d *desk) List(ctx context.Context, f recorder.Filter) ([]recorder.Recording, error) {
	if len(f.IDs) > 0 {
		return d.pool.List(ctx, f)
	}
	var found []recorder.Recording
	for _, rec := range d.all() {
		if (f.RoomName == "" || f.RoomName == rec.RoomName) && (!f.Active || !rec.Status.Ended()) && (f.Before == 0 || rec.CreatedAt < f.Before) {
			found = append(found, rec)
		}
	}
	return found[:min(len(found), f.Limit)], nil
}

func (d *desk) all() []recorder.Recording {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := slices.Clone(d.listed)
	for _, j := range d.jobs {
		all = append(all, j.rec)
	}
	slices.SortFunc(all, func(a, b recorder.Recording) int { return int(b.CreatedAt - a.CreatedAt) })
	return all
}

// served is a Service behind real HTTP, and LiveKit's SDK in front of it.
type served struct {
	*desk
	url    string
	client *lksdk.EgressClient
	log    *observer.ObservedLogs
}

func serve(t *testing.T, d egress.Door) *served {
	t.Helper()
	core, log := observer.New(zap.DebugLevel)
	s := &served{desk: &desk{pool: newPool()}, log: log}
	service := &egress.Service{Door: d, Controller: s.desk, Keys: map[string]string{"APIsecond": "the-second-secret-of-the-test"}, Log: zap.New(core)}
	server := httptest.NewServer(service.Handler())
	t.Cleanup(server.Close)
	s.url = server.URL
	s.client = lksdk.NewEgressClient(s.url, apiKey, apiSecret)
	return s
}

// keyed is a door without a server, so that nobody is asked for rooms.
func keyed() egress.Door { return egress.Door{APIKey: apiKey, APISecret: apiSecret} }

func TestSDKDrivesARecording(t *testing.T) {
	s, ctx := serve(t, keyed()), t.Context()
	info, err := s.client.StartRoomCompositeEgress(ctx, &livekit.RoomCompositeEgressRequest{
		RoomName: "stand-up", Layout: "grid", FileOutputs: mp4("a"), StreamOutputs: rtmp("rtmp://host/app/first-first-first"),
	})
	require.NoError(t, err)
	id := info.EgressId
	assert.True(t, strings.HasPrefix(id, "EG_"), id)
	assert.Equal(t, livekit.EgressStatus_EGRESS_STARTING, info.Status)
	assert.Equal(t, "a.mp4", info.FileResults[0].Filename)
	assert.Equal(t, "rtmp://host/app/{fir...rst}", info.GetRoomComposite().StreamOutputs[0].Urls[0])
	assert.Equal(t, "grid", s.job(id).Layout)

	s.begin(id)
	list, err := s.client.ListEgress(ctx, &livekit.ListEgressRequest{RoomName: "stand-up", Active: true})
	require.NoError(t, err)
	require.Len(t, list.Items, 1)
	assert.Equal(t, livekit.EgressStatus_EGRESS_ACTIVE, list.Items[0].Status)
	list, err = s.client.ListEgress(ctx, &livekit.ListEgressRequest{RoomName: "another"})
	require.NoError(t, err)
	assert.Empty(t, list.Items)

	_, err = s.client.UpdateLayout(ctx, &livekit.UpdateLayoutRequest{EgressId: id, Layout: "speaker-dark"})
	require.NoError(t, err)
	assert.Equal(t, "speaker-dark", s.all()[0].Layout)

	second := "rtmp://host/app/second-second"
	info, err = s.client.UpdateStream(ctx, &livekit.UpdateStreamRequest{EgressId: id, AddOutputUrls: []string{second}})
	require.NoError(t, err)
	require.Len(t, info.StreamResults, 2)
	assert.Equal(t, livekit.StreamInfo_ACTIVE, info.StreamResults[1].Status)
	info, err = s.client.UpdateStream(ctx, &livekit.UpdateStreamRequest{EgressId: id, RemoveOutputUrls: []string{second}})
	require.NoError(t, err)
	assert.Equal(t, livekit.StreamInfo_FINISHED, info.StreamResults[1].Status)
	updates := s.updated()
	_, err = s.client.UpdateStream(ctx, &livekit.UpdateStreamRequest{EgressId: id, RemoveOutputUrls: []string{second}})
	require.NoError(t, err, "a repetition is no error, as behind livekit-server")
	assert.Equal(t, updates, s.updated())

	info, err = s.client.StopEgress(ctx, &livekit.StopEgressRequest{EgressId: id})
	require.NoError(t, err)
	assert.Equal(t, livekit.EgressStatus_EGRESS_ENDING, info.Status)
	_, err = s.client.StopEgress(ctx, &livekit.StopEgressRequest{EgressId: id})
	require.NoError(t, err)
	assert.Len(t, s.stopped(), 1, "it was ending already")

	s.end(id, recorder.StatusComplete, func(rec *recorder.Recording) { rec.Files[0].Size, rec.Files[0].Location = 7, "s3://b/a.mp4" })
	list, err = s.client.ListEgress(ctx, &livekit.ListEgressRequest{EgressId: id})
	require.NoError(t, err)
	ended := list.Items[0]
	assert.Equal(t, livekit.EgressStatus_EGRESS_COMPLETE, ended.Status)
	assert.EqualValues(t, 7, ended.FileResults[0].Size)
	assert.Equal(t, "End reason: StopEgress API", ended.Details)
	list, err = s.client.ListEgress(ctx, &livekit.ListEgressRequest{Active: true})
	require.NoError(t, err)
	assert.Empty(t, list.Items)
}

func TestRefusedCommands(t *testing.T) {
	s, ctx := serve(t, keyed()), t.Context()
	start := func(r *livekit.WebEgressRequest) string {
		r.Url = "https://example.com"
		info, err := s.client.StartWebEgress(ctx, r)
		require.NoError(t, err)
		s.begin(info.EgressId)
		return info.EgressId
	}
	page := start(&livekit.WebEgressRequest{FileOutputs: mp4("a")})
	over := start(&livekit.WebEgressRequest{FileOutputs: mp4("a")})
	s.end(over, recorder.StatusFailed, nil)
	info, err := s.client.StartParticipantEgress(ctx, &livekit.ParticipantEgressRequest{RoomName: "r", Identity: "ann", FileOutputs: mp4("a")})
	require.NoError(t, err)
	stop := func(id string) error {
		_, err := s.client.StopEgress(ctx, &livekit.StopEgressRequest{EgressId: id})
		return err
	}
	layout := func(id, layout string) error {
		_, err := s.client.UpdateLayout(ctx, &livekit.UpdateLayoutRequest{EgressId: id, Layout: layout})
		return err
	}
	stream := func(id string, add, remove []string) error {
		_, err := s.client.UpdateStream(ctx, &livekit.UpdateStreamRequest{EgressId: id, AddOutputUrls: add, RemoveOutputUrls: remove})
		return err
	}
	list := func(r *livekit.ListEgressRequest) error {
		_, err := s.client.ListEgress(ctx, r)
		return err
	}
	four := []string{"rtmp://h/a/1", "rtmp://h/a/2", "rtmp://h/a/3", "rtmp://h/a/4"}
	for name, c := range map[string]struct {
		err  error
		code twirp.ErrorCode
		text string
	}{
		"stop: unknown":   {stop("EG_none"), twirp.NotFound, "egress does not exist"},
		"stop: no id":     {stop(""), twirp.InvalidArgument, "egress_id"},
		"stop: over":      {stop(over), twirp.FailedPrecondition, "egress with status EGRESS_FAILED cannot be stopped"},
		"layout: over":    {layout(over, "grid"), twirp.FailedPrecondition, "egress with status EGRESS_FAILED cannot be updated"},
		"layout: unknown": {layout("EG_none", "grid"), twirp.NotFound, "egress does not exist"},
		"layout: page":    {layout(page, "grid"), twirp.InvalidArgument, "only the template page of a room has layouts"},
		"layout: none":    {layout(info.EgressId, ""), twirp.InvalidArgument, "layout"},
		"layout: of one":  {layout(info.EgressId, "grid"), twirp.InvalidArgument, "participant"},
		"layout: no such": {layout(info.EgressId, "mosaic"), twirp.InvalidArgument, "mosaic"},
		"stream: over":    {stream(over, four[:1], nil), twirp.FailedPrecondition, "cannot be updated"},
		"stream: none":    {stream(page, nil, nil), twirp.InvalidArgument, "add_stream_urls"},
		"stream: no URL":  {stream(page, []string{"http://h/secretsecret"}, nil), twirp.InvalidArgument, "rtmp://"},
		"stream: away":    {stream(page, nil, []string{"rtmp://h/a/secretsecret"}), twirp.NotFound, "stream rtmp://h/a/{sec...ret} not found"},
		"stream: many":    {stream(page, four, nil), twirp.InvalidArgument, "at most 3"},
		"list: unknown":   {list(&livekit.ListEgressRequest{EgressId: "EG_none"}), twirp.NotFound, "egress does not exist"},
		"list: page":      {list(&livekit.ListEgressRequest{PageToken: &livekit.TokenPagination{Token: "x"}}), twirp.InvalidArgument, "page_token"},
	} {
		assert.Equal(t, c.code, codeOf(c.err), "%s: %v", name, c.err)
		assert.ErrorContains(t, c.err, c.text, name)
		assert.NotContains(t, c.err.Error(), "secretsecret", name)
	}
	require.NoError(t, stream(page, four[:3], nil))
	assert.Equal(t, twirp.InvalidArgument, codeOf(stream(page, four[3:], nil)))
	require.NoError(t, stream(page, four[3:], four[:1]), "one goes for it")
}

func TestLastStreamEndsTheEgress(t *testing.T) {
	s, ctx := serve(t, keyed()), t.Context()
	url := "rtmp://host/app/key"
	info, err := s.client.StartWebEgress(ctx, &livekit.WebEgressRequest{Url: "https://example.com", StreamOutputs: rtmp(url)})
	require.NoError(t, err)
	s.begin(info.EgressId)
	info, err = s.client.UpdateStream(ctx, &livekit.UpdateStreamRequest{EgressId: info.EgressId, RemoveOutputUrls: []string{url}})
	require.NoError(t, err)
	assert.Equal(t, livekit.EgressStatus_EGRESS_ENDING, info.Status)
	assert.Equal(t, []string{info.EgressId}, s.stopped())
}

func TestStopBeforeThereIsAFrame(t *testing.T) {
	s, ctx := serve(t, keyed()), t.Context()
	info, err := s.client.StartWebEgress(ctx, &livekit.WebEgressRequest{Url: "https://example.com", FileOutputs: mp4("a")})
	require.NoError(t, err)
	info, err = s.client.StopEgress(ctx, &livekit.StopEgressRequest{EgressId: info.EgressId})
	require.NoError(t, err)
	assert.Equal(t, livekit.EgressStatus_EGRESS_ABORTED, info.Status)
	assert.Equal(t, "Stop called before pipeline could start", info.Error)
	assert.EqualValues(t, 412, info.ErrorCode)
}

func TestWorkerThatTakesItsTime(t *testing.T) {
	s, ctx := serve(t, keyed()), t.Context()
	info, err := s.client.StartWebEgress(ctx, &livekit.WebEgressRequest{Url: "https://example.com", FileOutputs: mp4("a")})
	require.NoError(t, err)
	s.begin(info.EgressId)
	s.sleep(true)
	ctx, err = twirp.WithHTTPRequestHeaders(ctx, http.Header{"Authorization": {"Bearer " + signed(t, apiKey, apiSecret, true)}, "X-Twirp-Timeout-Ms": {"200"}})
	require.NoError(t, err)
	api := livekit.NewEgressJSONClient(s.url, http.DefaultClient)
	_, err = api.UpdateStream(ctx, &livekit.UpdateStreamRequest{EgressId: info.EgressId, AddOutputUrls: []string{"rtmp://h/a/k"}})
	assert.Equal(t, twirp.DeadlineExceeded, codeOf(err), "it may not be added at all")
	info, err = api.StopEgress(ctx, &livekit.StopEgressRequest{EgressId: info.EgressId})
	require.NoError(t, err)
	assert.Equal(t, livekit.EgressStatus_EGRESS_ENDING, info.Status, "nothing takes it back")
}

func TestChangesOfWhatHasNotBegun(t *testing.T) {
	s, ctx := serve(t, keyed()), t.Context()
	info, err := s.client.StartRoomCompositeEgress(ctx, &livekit.RoomCompositeEgressRequest{RoomName: "r", FileOutputs: mp4("a")})
	require.NoError(t, err)
	s.sleep(true)
	_, err = s.client.UpdateStream(ctx, &livekit.UpdateStreamRequest{EgressId: info.EgressId, AddOutputUrls: []string{"rtmp://h/a/k"}})
	require.NoError(t, err)
	_, err = s.client.UpdateLayout(ctx, &livekit.UpdateLayoutRequest{EgressId: info.EgressId, Layout: "grid"})
	require.NoError(t, err)
	assert.Equal(t, 2, s.updated(), "they wait for it")
}

func TestEveryStart(t *testing.T) {
	s := serve(t, keyed())
	ctx, err := twirp.WithHTTPRequestHeaders(t.Context(), http.Header{"Authorization": {"Bearer " + signed(t, "APIsecond", "the-second-secret-of-the-test", true)}})
	require.NoError(t, err)
	for name, api := range map[string]livekit.Egress{
		"protobuf": livekit.NewEgressProtobufClient(s.url+"/", http.DefaultClient), "JSON": livekit.NewEgressJSONClient(s.url, http.DefaultClient),
	} {
		info, err := api.StartEgress(ctx, &livekit.StartEgressRequest{
			RoomName: "r", Outputs: unifiedFile(), Source: &livekit.StartEgressRequest_Template{Template: &livekit.TemplateSource{}},
		})
		require.NoError(t, err, name)
		assert.NotNil(t, info.GetEgress(), name)
		info, err = api.StartParticipantEgress(ctx, &livekit.ParticipantEgressRequest{RoomName: "r", Identity: "ann", FileOutputs: mp4("a")})
		require.NoError(t, err, name)
		assert.Equal(t, "ann", s.job(info.EgressId).Identity)
		info, err = api.StartTrackCompositeEgress(ctx, &livekit.TrackCompositeEgressRequest{RoomName: "r", VideoTrackId: "TR_v", FileOutputs: mp4("a")})
		require.NoError(t, err, name)
		assert.Equal(t, livekit.EgressSourceType_EGRESS_SOURCE_TYPE_SDK, info.SourceType)
		_, err = api.StartTrackEgress(ctx, &livekit.TrackEgressRequest{RoomName: "r", TrackId: "TR_v"})
		assert.Equal(t, twirp.Unimplemented, codeOf(err), name)
		assert.ErrorContains(t, err, "StartTrackCompositeEgress", name)
	}
}

func TestRefusedStarts(t *testing.T) {
	s, ctx := serve(t, keyed()), t.Context()
	web := &livekit.WebEgressRequest{Url: "https://example.com/?token=secretsecret", StreamOutputs: rtmp("rtmp://h/a/keykeykeykeykey")}
	try := func(refuses error, panics any) error {
		s.refuses, s.panics = refuses, panics
		_, err := s.client.StartWebEgress(ctx, web)
		require.Error(t, err)
		assert.NotContains(t, err.Error(), "secretsecret")
		assert.NotContains(t, err.Error(), "keykeykeykeykey")
		return err
	}
	assert.Equal(t, twirp.AlreadyExists, codeOf(try(recorder.Errorf(recorder.CodeConflict, "one runs"), nil)))
	assert.Equal(t, twirp.Unavailable, codeOf(try(recorder.Errorf(recorder.CodeUnavailable, "redis is away: rtmp://h/a/keykeykeykeykey"), nil)))
	err := try(errors.New("bug with secretsecret"), nil)
	assert.Equal(t, twirp.Internal, codeOf(err))
	assert.NotContains(t, err.Error(), "bug", "only the log tells")
	err = try(nil, "secretsecret")
	assert.Equal(t, twirp.Internal, codeOf(err))
	require.Equal(t, 1, s.log.FilterMessage("a request panicked").Len())
	require.Equal(t, 1, s.log.FilterMessage("a request failed").Len())
	for _, e := range s.log.All() {
		assert.NotContains(t, fmt.Sprint(e.Message, e.ContextMap()), "secretsecret")
	}
	s.panics = nil
	web.Url = "ftp://secretsecret"
	assert.Equal(t, twirp.InvalidArgument, codeOf(try(nil, nil)), "the job is looked at before it is queued")
}

func signed(t *testing.T, key, secret string, record bool) string {
	t.Helper()
	token, err := auth.NewAccessToken(key, secret).SetVideoGrant(&auth.VideoGrant{RoomRecord: record}).ToJWT()
	require.NoError(t, err)
	return token
}

// byHand signs claims that the SDK would not.
func byHand(claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode([]byte(claims))
	mac := hmac.New(sha256.New, []byte(apiSecret))
	mac.Write([]byte(text))
	return text + "." + encode(mac.Sum(nil))
}

func TestWhoIsLetIn(t *testing.T) {
	s := serve(t, keyed())
	good := signed(t, apiKey, apiSecret, true)
	expired := byHand(fmt.Sprintf(`{"iss":%q,"exp":%d,"video":{"roomRecord":true}}`, apiKey, time.Now().Add(-time.Hour).Unix()))
	later := byHand(fmt.Sprintf(`{"iss":%q,"exp":%d,"video":{"roomRecord":true}}`, apiKey, time.Now().Add(time.Hour).Unix()))
	for name, c := range map[string]struct {
		header, query string
		status        int
	}{
		"header":             {"Bearer " + good, "", http.StatusOK},
		"parameter":          {"", "?access_token=" + good, http.StatusOK},
		"another of ours":    {"Bearer " + signed(t, "APIsecond", "the-second-secret-of-the-test", true), "", http.StatusOK},
		"none":               {"", "", http.StatusUnauthorized},
		"not allowed":        {"Bearer " + signed(t, apiKey, apiSecret, false), "", http.StatusUnauthorized},
		"wrong secret":       {"Bearer " + signed(t, apiKey, "another-secret-another-secret", true), "", http.StatusUnauthorized},
		"unknown key":        {"Bearer " + signed(t, "APIother", apiSecret, true), "", http.StatusUnauthorized},
		"by hand":            {"Bearer " + later, "", http.StatusOK},
		"expired":            {"Bearer " + expired, "", http.StatusUnauthorized},
		"no token":           {"Bearer nonsense", "", http.StatusUnauthorized},
		"no bearer":          {"Basic " + good, "", http.StatusUnauthorized},
		"wrong one is found": {"Bearer nonsense", "?access_token=" + good, http.StatusUnauthorized},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/twirp/livekit.Egress/ListEgress"+c.query, strings.NewReader("{}"))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		if c.header != "" {
			req.Header.Set("Authorization", c.header)
		}
		answer, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		require.NoError(t, err)
		assert.Equal(t, c.status, answer.StatusCode, "%s: %s", name, body)
		if c.status != http.StatusOK {
			assert.Contains(t, string(body), `"code":"unauthenticated"`, name)
			assert.NotContains(t, string(body), "eyJ", name)
		}
	}
}

func TestRequestsAreBounded(t *testing.T) {
	s := serve(t, keyed())
	for _, kind := range []string{"application/json", "application/protobuf"} {
		body := bytes.Repeat([]byte(" "), 2<<20)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/twirp/livekit.Egress/ListEgress", bytes.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Content-Type", kind)
		req.Header.Set("Authorization", "Bearer "+signed(t, apiKey, apiSecret, true))
		answer, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		answer.Body.Close()
		assert.Equal(t, http.StatusBadRequest, answer.StatusCode, kind)
	}
}

func TestPages(t *testing.T) {
	s, ctx := serve(t, keyed()), t.Context()
	for i := range 2500 {
		s.listed = append(s.listed, recorder.Recording{ID: fmt.Sprintf("EG_%d", i), CreatedAt: int64(i + 1), Status: recorder.StatusComplete})
	}
	var ids []string
	request := &livekit.ListEgressRequest{}
	for pages := 1; ; pages++ {
		list, err := s.client.ListEgress(ctx, request)
		require.NoError(t, err)
		for _, item := range list.Items {
			ids = append(ids, item.EgressId)
		}
		if list.NextPageToken == nil {
			assert.Equal(t, 3, pages)
			break
		}
		request.PageToken = list.NextPageToken
		s.listed = append(s.listed, recorder.Recording{ID: fmt.Sprintf("EG_new%d", pages), CreatedAt: int64(1_000_000 + pages)})
	}
	assert.Len(t, ids, 2500)
	assert.Equal(t, []string{"EG_2499", "EG_0"}, []string{ids[0], ids[2499]}, "newest first")
	slices.Sort(ids)
	assert.Len(t, slices.Compact(ids), 2500, "none twice, though new ones came")
}

func TestRoomsAreAskedForTheirID(t *testing.T) {
	lk := startServer(t)
	room, err := lk.api.CreateRoom(t.Context(), &livekit.CreateRoomRequest{Name: "stand-up"})
	require.NoError(t, err)
	s := serve(t, lk.door)
	s.client = lksdk.NewEgressClient(s.url, lk.APIKey, lk.APISecret)
	start := func(name string) *livekit.EgressInfo {
		info, err := s.client.StartRoomCompositeEgress(t.Context(), &livekit.RoomCompositeEgressRequest{RoomName: name, FileOutputs: mp4("{room_id}")})
		require.NoError(t, err)
		return info
	}
	info := start("stand-up")
	assert.Equal(t, room.Sid, info.RoomId)
	assert.Equal(t, room.Sid+".mp4", info.FileResults[0].Filename)
	assert.Empty(t, start("not-there-yet").RoomId, "which is no reason to refuse")

	id, err := egress.Door{}.RoomID(t.Context(), "stand-up")
	require.NoError(t, err)
	assert.Empty(t, id, "nobody to ask")
	wrong := lk.door
	wrong.APISecret += "x"
	_, err = wrong.RoomID(t.Context(), "stand-up")
	assert.Equal(t, recorder.CodeInvalid, recorder.CodeOf(err))
	lk.Kill()
	assert.Empty(t, start("stand-up").RoomId, "nor is a server that is away")
	assert.Equal(t, 1, s.log.FilterMessage("the room's id is not known").Len())
}
