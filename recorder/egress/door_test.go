package egress_test

import (
	"testing"
	"time"

	"github.com/livekit/protocol/auth"
	pegress "github.com/livekit/protocol/egress"
	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/egress"
)

const (
	apiKey    = "APIofTheTest"
	apiSecret = "a-secret-that-nobody-but-the-worker-has"
)

func roomJob() recorder.Job {
	return recorder.Job{ID: "EG_test", Source: recorder.Source{RoomName: "stand-up"}}
}

func door() egress.Door {
	return egress.Door{URL: "wss://livekit.example.com", APIKey: apiKey, APISecret: apiSecret}
}

// claims checks the signature as a server does.
func claims(t *testing.T, token string) (*auth.ClaimGrants, time.Duration) {
	t.Helper()
	parsed, err := auth.ParseAPIToken(token)
	require.NoError(t, err)
	registered, grants, err := parsed.Verify(apiSecret)
	require.NoError(t, err)
	return grants, registered.ExpiresAt.Sub(registered.NotBefore.Time)
}

func TestPageTokenIsAHiddenListener(t *testing.T) {
	pass, err := door().Admit(roomJob())
	require.NoError(t, err)
	assert.Equal(t, "wss://livekit.example.com", pass.URL)
	grants, _ := claims(t, pass.Token)
	assert.Equal(t, "EG_test", grants.Identity)
	assert.Equal(t, livekit.ParticipantInfo_EGRESS, grants.GetParticipantKind())
	yes, no := true, false
	assert.Equal(t, &auth.VideoGrant{
		RoomJoin: true, Room: "stand-up", CanSubscribe: &yes, CanPublish: &no, CanPublishData: &no, Hidden: true, Recorder: true,
	}, grants.Video, "and nothing else")
	grants, _ = claims(t, pass.AdminToken)
	assert.Equal(t, &auth.VideoGrant{RoomList: true, RoomAdmin: true, Room: "stand-up"}, grants.Video)
}

func TestTokensOutliveTheJob(t *testing.T) {
	for most, want := range map[time.Duration]time.Duration{
		0:              30 * 24 * time.Hour,
		time.Minute:    24 * time.Hour,
		72 * time.Hour: 73 * time.Hour,
	} {
		job := roomJob()
		job.Limits.MaxDuration = recorder.Duration(most)
		pass, err := door().Admit(job)
		require.NoError(t, err)
		for _, token := range []string{pass.Token, pass.AdminToken} {
			_, life := claims(t, token)
			assert.GreaterOrEqual(t, life, want, most)
			assert.Less(t, life, want+time.Hour, most)
		}
	}
}

// What a livekit-server signs is good for a day: not for a longer job, nor for who
// takes it over the next day.
func TestTokenOfAServerIsReplaced(t *testing.T) {
	signed := func(life time.Duration, change func(*auth.VideoGrant)) string {
		yes, no := true, false
		grant := &auth.VideoGrant{
			RoomJoin: true, Room: "stand-up", CanSubscribe: &yes, CanPublish: &no, CanPublishData: &no, Hidden: true, Recorder: true,
		}
		change(grant)
		token, err := auth.NewAccessToken(apiKey, apiSecret).SetIdentity("EG_server").SetKind(livekit.ParticipantInfo_EGRESS).
			SetVideoGrant(grant).SetValidFor(life).ToJWT()
		require.NoError(t, err)
		return token
	}
	same := func(*auth.VideoGrant) {}
	served, err := pegress.BuildEgressToken("EG_server", apiKey, apiSecret, "stand-up")
	require.NoError(t, err)
	job := roomJob()
	job.Limits.MaxDuration = recorder.Duration(72 * time.Hour)
	for name, token := range map[string]string{"good for a day": served, "expired": signed(-time.Hour, same)} {
		job.Token = token
		pass, err := door().Admit(job)
		require.NoError(t, err, name)
		grants, life := claims(t, pass.Token)
		assert.Equal(t, "EG_server", grants.Identity, name)
		assert.GreaterOrEqual(t, life, 73*time.Hour, name)
		page, err := recorder.PageURL(job, pass, "http://127.0.0.1/t")
		require.NoError(t, err)
		assert.Contains(t, page, pass.Token, "the page enters with it")
	}
	for name, token := range map[string]string{
		"allows something else": signed(time.Hour, func(g *auth.VideoGrant) { g.Hidden = false }),
		"a forged one":          served[:len(served)-8] + "AAAAAAAA",
	} {
		job.Token = token
		pass, err := door().Admit(job)
		require.NoError(t, err, name)
		assert.Equal(t, token, pass.Token, name)
	}
}

func TestTokenOfTheJobsOwn(t *testing.T) {
	signed := func(key, secret string) string {
		token, err := auth.NewAccessToken(key, secret).SetIdentity("mine").SetVideoGrant(&auth.VideoGrant{RoomJoin: true, Room: "stand-up"}).ToJWT()
		require.NoError(t, err)
		return token
	}
	for name, c := range map[string]struct {
		token string
		admin bool
	}{
		"of our key":      {signed(apiKey, apiSecret), true},
		"of another's":    {signed("APIother", apiSecret), false},
		"no token at all": {"opaque", false},
	} {
		job := roomJob()
		job.Token = c.token
		pass, err := door().Admit(job)
		require.NoError(t, err, name)
		assert.Equal(t, c.token, pass.Token, name)
		assert.Equal(t, c.admin, pass.AdminToken != "", name)
	}
}

// Whoever may enqueue names the server, and that gets the token: an admin's is for
// our own alone, unless the job knows our secret anyway.
func TestServerOfTheJobsOwn(t *testing.T) {
	token := func(secret string) string {
		token, err := auth.NewAccessToken(apiKey, secret).SetIdentity("mine").SetVideoGrant(&auth.VideoGrant{RoomJoin: true, Room: "stand-up"}).ToJWT()
		require.NoError(t, err)
		return token
	}
	own := egress.Door{APIKey: apiKey, APISecret: apiSecret}
	for name, c := range map[string]struct {
		door       egress.Door
		url, token string
		admin      bool
	}{
		"another one":              {door(), "wss://other.example.com", "", false},
		"ours":                     {door(), "https://livekit.example.com/", "", true},
		"with proof":               {door(), "wss://other.example.com", token(apiSecret), true},
		"with a forged proof":      {door(), "wss://other.example.com", token("a-guess-that-is-as-long-as-a-secret"), false},
		"where none is configured": {own, "wss://other.example.com", "", true},
	} {
		job := roomJob()
		job.LiveKitURL, job.Token = c.url, c.token
		pass, err := c.door.Admit(job)
		require.NoError(t, err, name)
		assert.Equal(t, c.url, pass.URL, "for the page and for whoever looks after the room")
		assert.Equal(t, c.admin, pass.AdminToken != "", name)
	}
}

func TestTokenOfAnotherRoom(t *testing.T) {
	token, err := auth.NewAccessToken("APIother", apiSecret).SetIdentity("mine").SetVideoGrant(&auth.VideoGrant{RoomJoin: true, Room: "boardroom"}).ToJWT()
	require.NoError(t, err)
	job := roomJob()
	job.Token = token
	_, err = door().Admit(job)
	assert.Equal(t, recorder.CodeInvalid, recorder.CodeOf(err))
	assert.ErrorContains(t, err, "boardroom")
	assert.ErrorContains(t, err, "stand-up")
	assert.NotContains(t, err.Error(), token)
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	job := roomJob()
	_, err := egress.Door{URL: "wss://lk"}.Admit(job)
	assert.Equal(t, recorder.CodeInvalid, recorder.CodeOf(err))
	assert.ErrorContains(t, err, "livekit.api_key")

	_, err = egress.Door{APIKey: apiKey, APISecret: apiSecret}.Admit(job)
	assert.Equal(t, recorder.CodeInvalid, recorder.CodeOf(err))
	assert.ErrorContains(t, err, "livekit_url")

	custom := job
	custom.CustomBaseURL = "https://t.example.com"
	pass, err := egress.Door{}.Admit(custom)
	require.NoError(t, err, "such a page may know by itself")
	assert.Equal(t, recorder.Pass{}, pass)

	job.LiveKitURL, job.Token = "ws://own", "opaque"
	pass, err = egress.Door{}.Admit(job)
	require.NoError(t, err)
	assert.Equal(t, recorder.Pass{URL: "ws://own", Token: "opaque"}, pass)
}
