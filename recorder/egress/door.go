// Package egress is LiveKit's side of a recording: how one is asked for and shown
// in LiveKit's own words, and how a recorder enters a room.
//
//	Door       signs: in the worker, Admit makes a recorder.Pass; Job reads a
//	           request of either generation (request*.go), and keeps it without
//	           its secrets in Job.Origin (origin.go)
//	Enter      in the recording's process, which has only the Pass: the room
//	Info       a recording as EgressInfo (info*.go)
//	Service    the API over HTTP, in front of a recorder.Controller (service*.go)
//	Bus        a worker as one of a livekit-server's egress services (bus*.go): it
//	           takes requests, and answers for the jobs that the worker has
//	Reporter   tells a livekit-server what becomes of the jobs that came through it
package egress

import (
	"cmp"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"

	"tapedeck/recorder"
)

// Door admits recordings to the rooms of one LiveKit server.
type Door struct {
	// URL of the server (ws, wss, http, https).
	URL string
	// APIKey and APISecret sign; without them, jobs bring their own tokens.
	APIKey, APISecret string
}

// How long a token is good. It must outlive the recording, since a page that
// crashed is loaded again with it: so the job's longest time, its start and its
// end, and no less than LiveKit's own recorders get.
const (
	shortestLife = 24 * time.Hour
	unlimited    = 30 * 24 * time.Hour // a job without any limit
	slack        = time.Hour
)

// Admit makes the pass of a job's recorder: hidden, it sees and hears only. Its
// identity is the job's id, unless a token of the job's own names another. CodeInvalid when neither the job nor the Door has what it
// takes.
func (d Door) Admit(job recorder.Job) (recorder.Pass, error) {
	pass := recorder.Pass{URL: cmp.Or(job.LiveKitURL, d.URL), Token: job.Token}
	signs := d.APIKey != "" && d.APISecret != ""
	if !job.UsesBuiltIn() && (pass.URL == "" || (!signs && job.Token == "")) {
		return pass, nil // a page of its owner's may know its server, and how to enter
	}
	if pass.URL == "" {
		return pass, recorder.Errorf(recorder.CodeInvalid,
			"livekit_url: room %q is on no server: set livekit_url in the job, or livekit.url in the worker's configuration", job.RoomName)
	}
	if !signs && job.Token == "" {
		return pass, recorder.Errorf(recorder.CodeInvalid, "room %q cannot be entered without a token; set token in the job, "+
			"or livekit.api_key and livekit.api_secret in the configuration", job.RoomName)
	}
	if room := roomOf(job.Token); room != "" && room != job.RoomName {
		return pass, recorder.Errorf(recorder.CodeInvalid,
			"the token is for room %q, and the job names room_name %q; use a token of that room, or none where the worker has a key", room, job.RoomName)
	}
	// A token somebody else's key has signed is for somebody else's server: ours
	// knows nothing of that room.
	if !signs || (job.Token != "" && keyOf(job.Token) != d.APIKey) {
		return pass, nil
	}
	var err error
	life := lifetime(job.Limits)
	switch {
	case job.Token == "":
		pass.Token, err = d.pageToken(job.ID, job.RoomName, life)
	case d.madeForRecorder(job.Token, job.RoomName):
		pass.Token, err = d.pageToken(identityOf(job.Token), job.RoomName, life)
	}
	if err != nil {
		return pass, err
	}
	if !d.trusts(job) {
		return pass, err
	}
	pass.AdminToken, err = d.sign(job.ID+"-admin", life, &auth.VideoGrant{RoomList: true, RoomAdmin: true, Room: job.RoomName})
	return pass, err
}

// trusts reports whether a job's server may have what makes its holder the room's
// admin: our own server, or any where none is configured; another one when the job
// proves, by a token, that it knows our secret.
func (d Door) trusts(job recorder.Job) bool {
	if job.LiveKitURL == "" || d.URL == "" {
		return true
	}
	own, err := apiURL(d.URL)
	asked, askedErr := apiURL(job.LiveKitURL)
	if err == nil && askedErr == nil && strings.TrimRight(own, "/") == strings.TrimRight(asked, "/") {
		return true
	}
	parsed, err := auth.ParseAPIToken(job.Token)
	if err != nil || parsed.APIKey() != d.APIKey {
		return false
	}
	_, _, err = parsed.Verify(d.APISecret)
	return err == nil
}

func lifetime(l recorder.Limits) time.Duration {
	if l.MaxDuration <= 0 {
		return unlimited
	}
	return max(shortestLife, l.MaxDuration.Std()+l.Starting()+slack)
}

func (d Door) pageToken(identity, room string, life time.Duration) (string, error) {
	return d.sign(identity, life, pageGrant(room))
}

// pageGrant is what a page may do, also to a livekit-server.
func pageGrant(room string) *auth.VideoGrant {
	yes, no := true, false
	return &auth.VideoGrant{
		RoomJoin: true, Room: room, CanSubscribe: &yes, CanPublish: &no, CanPublishData: &no,
		Hidden: true, Recorder: true,
	}
}

// madeForRecorder reports whether a token is what a livekit-server of our key signs
// for its recorders. It is good for a day only: a job that is longer, or is taken
// over the day after, gets one of ours that allows the same.
func (d Door) madeForRecorder(token, room string) bool {
	var claims tokenClaims
	parser := jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithoutClaimsValidation())
	_, err := parser.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return []byte(d.APISecret), nil })
	return err == nil && claims.Subject != "" && reflect.DeepEqual(claims.Video, *pageGrant(room))
}

// tokenClaims is what is read of a token.
type tokenClaims struct {
	jwt.RegisteredClaims
	Video auth.VideoGrant `json:"video"`
}

func (d Door) sign(identity string, life time.Duration, grant *auth.VideoGrant) (string, error) {
	token, err := auth.NewAccessToken(d.APIKey, d.APISecret).SetIdentity(identity).
		SetKind(livekit.ParticipantInfo_EGRESS).SetVideoGrant(grant).SetValidFor(life).ToJWT()
	if err != nil {
		return "", recorder.Errorf(recorder.CodeInvalid, "livekit.api_secret: no token can be signed with it: %w", err)
	}
	return token, nil
}

// keyOf names the API key that signed a token; empty when it is none.
func keyOf(token string) string {
	if parsed, err := auth.ParseAPIToken(token); err == nil {
		return parsed.APIKey()
	}
	return ""
}

// identityOf tells whom a token lets in.
func identityOf(token string) string {
	if parsed, err := auth.ParseAPIToken(token); err == nil {
		return parsed.Identity()
	}
	return ""
}

// roomOf tells which room a token is for; empty when it is none, or for no room.
func roomOf(token string) string {
	var claims tokenClaims
	if _, _, err := jwt.NewParser().ParseUnverified(token, &claims); err != nil {
		return ""
	}
	return claims.Video.Room
}

// apiURL is where the server's API is: the same host and path, over HTTP.
func apiURL(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", recorder.Errorf(recorder.CodeInvalid, "livekit_url is no valid URL: write wss://host")
	}
	switch u.Scheme {
	case "ws":
		u.Scheme = "http"
	case "wss":
		u.Scheme = "https"
	}
	u.RawQuery, u.Fragment = "", "" // paths are appended
	return u.String(), nil
}
