package templates_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/pipeline"
	"tapedeck/recorder"
	"tapedeck/recorder/capture"
	"tapedeck/recorder/rehearsal"
	"tapedeck/templates"
)

// patience bounds what a test waits for.
const patience = 20 * time.Second

func within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

// rooms is a LiveKit server and the page under test beside it.
type rooms struct {
	*rehearsal.Server
	api  *lksdk.RoomServiceClient
	page string
}

func startRooms(t *testing.T) *rooms {
	t.Helper()
	require.NoError(t, templates.Built())
	server, err := rehearsal.StartServer(within(t, patience), rehearsal.ServerOptions{})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	page := httptest.NewServer(templates.Handler())
	t.Cleanup(page.Close)
	api := lksdk.NewRoomServiceClient("http"+strings.TrimPrefix(server.URL(), "ws"), server.APIKey, server.APISecret)
	return &rooms{Server: server, api: api, page: page.URL}
}

// guest is somebody in a room.
type guest struct {
	*rehearsal.Publisher
	t *testing.T
}

func (r *rooms) join(t *testing.T, room, identity, name string) *guest {
	t.Helper()
	p, err := rehearsal.Join(within(t, patience), rehearsal.Participant{
		URL: r.URL(), APIKey: r.APIKey, APISecret: r.APISecret, Room: room, Identity: identity, Name: name,
	})
	require.NoError(t, err)
	t.Cleanup(p.Leave)
	return &guest{p, t}
}

// agent joins as an agent does.
func (r *rooms) agent(t *testing.T, room, identity string) *guest {
	t.Helper()
	token := auth.NewAccessToken(r.APIKey, r.APISecret).SetIdentity(identity).SetKind(livekit.ParticipantInfo_AGENT).
		SetVideoGrant(&auth.VideoGrant{RoomJoin: true, Room: room})
	jwt, err := token.ToJWT()
	require.NoError(t, err)
	p, err := rehearsal.Join(within(t, patience), rehearsal.Participant{URL: r.URL(), Token: jwt, Room: room, Identity: identity})
	require.NoError(t, err)
	t.Cleanup(p.Leave)
	return &guest{p, t}
}

func (g *guest) camera(clip *rehearsal.Clip) *rehearsal.Track {
	g.t.Helper()
	track, err := g.PublishCamera(clip)
	require.NoError(g.t, err)
	return track
}

func (g *guest) screen(clip *rehearsal.Clip) *rehearsal.Track {
	g.t.Helper()
	track, err := g.PublishScreen(clip)
	require.NoError(g.t, err)
	return track
}

// speak publishes a microphone that hears a steady tone.
func (g *guest) speak() *rehearsal.Track {
	g.t.Helper()
	clip, err := rehearsal.NewStudio(pipeline.ClipEncoder{}).Sound(within(g.t, patience), rehearsal.Tone(440))
	require.NoError(g.t, err)
	track, err := g.PublishMicrophone(clip)
	require.NoError(g.t, err)
	return track
}

// viewer is a browser on the page, in a window of its own.
type viewer struct {
	*capture.Session
	t    *testing.T
	size image.Point
}

func open(t *testing.T, size image.Point) *viewer {
	t.Helper()
	session, err := capture.Open(within(t, patience), recorder.SessionSpec{Width: size.X, Height: size.Y, Dir: t.TempDir()},
		capture.Options{ExtraChromeFlags: []string{"--allow-loopback-in-peer-connection"}})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, session.Close()) })
	return &viewer{session, t, size}
}

// watch opens the page for a room as a recorder called identity, with more
// parameters, and waits for START_RECORDING.
func (v *viewer) watch(r *rooms, room, identity, layout string, more ...string) {
	v.t.Helper()
	v.enter(r, room, identity, layout, more...)
	v.starts()
}

// enter is the first half of watch, starts the other one.
func (v *viewer) enter(r *rooms, room, identity, layout string, more ...string) {
	v.t.Helper()
	require.NoError(v.t, v.Navigate(within(v.t, patience), r.address(v.t, room, identity, layout, more...)))
}

func (v *viewer) starts() {
	v.t.Helper()
	require.NoError(v.t, v.Wait(within(v.t, patience), recorder.MarkerStart))
}

func (r *rooms) address(t *testing.T, room, identity, layout string, more ...string) string {
	t.Helper()
	grant := &auth.VideoGrant{RoomJoin: true, Room: room, Hidden: true, Recorder: true}
	grant.SetCanPublish(false)
	grant.SetCanPublishData(false)
	token, err := auth.NewAccessToken(r.APIKey, r.APISecret).SetIdentity(identity).
		SetKind(livekit.ParticipantInfo_EGRESS).SetVideoGrant(grant).ToJWT()
	require.NoError(t, err)
	query := url.Values{"url": {r.URL()}, "token": {token}, "template": {layout}, "layout": {layout}}
	for i := 0; i < len(more); i += 2 {
		query.Set(more[i], more[i+1])
	}
	return r.page + "/?" + query.Encode()
}

// change tells the page another layout, as a recorder's worker does.
func (r *rooms) change(t *testing.T, room, identity, layout string) {
	t.Helper()
	_, err := r.api.UpdateParticipant(within(t, patience), &livekit.UpdateParticipantRequest{
		Room: room, Identity: identity, Metadata: fmt.Sprintf(`{"layout":%q}`, layout),
	})
	require.NoError(t, err)
}

// picture takes what the page shows.
func (v *viewer) picture() image.Image {
	v.t.Helper()
	return v.decode(v.shot())
}

// shot takes what the page shows, as PNG.
func (v *viewer) shot() []byte {
	v.t.Helper()
	path := v.Diagnose(within(v.t, patience)).Screenshot
	require.NotEmpty(v.t, path, "no picture of the page")
	defer func() { _ = os.Remove(path) }()
	data, err := os.ReadFile(path)
	require.NoError(v.t, err)
	return data
}

func (v *viewer) decode(shot []byte) image.Image {
	v.t.Helper()
	picture, err := png.Decode(bytes.NewReader(shot))
	require.NoError(v.t, err)
	return picture
}

// console gives what the page said, but for the markers.
func (v *viewer) console() []string {
	var lines []string
	for _, line := range v.Diagnose(within(v.t, patience)).Console {
		if !strings.Contains(line, "START_RECORDING") && !strings.Contains(line, "END_RECORDING") {
			lines = append(lines, line)
		}
	}
	return lines
}

// await takes pictures until one is as it should be, and tells when that was
// taken. fault says what is wrong with a picture.
func (v *viewer) await(fault func(image.Image) string) time.Time {
	v.t.Helper()
	began, wrong := time.Now(), "there is no picture"
	for last := []byte(nil); ; {
		shot := v.shot()
		taken := time.Now()
		if !bytes.Equal(shot, last) { // looking at it takes long with the race detector
			last = shot
			if wrong = fault(v.decode(shot)); wrong == "" {
				return taken
			}
		}
		if time.Since(began) > 10*time.Second {
			v.t.Fatalf("%s; the page is in %s", wrong, keep(v.t, v.decode(shot)))
		}
	}
}

// keep writes a picture where it can be looked at after the test.
func keep(t *testing.T, picture image.Image) string {
	t.Helper()
	return keepAs(t, picture, "")
}

func keepAs(t *testing.T, picture image.Image, name string) string {
	t.Helper()
	const dir = "../out/templates"
	require.NoError(t, os.MkdirAll(dir, 0o755))
	path := dir + "/" + strings.NewReplacer("/", "-", " ", "-").Replace(t.Name()+name) + ".png"
	file, err := os.Create(path)
	require.NoError(t, err)
	defer file.Close()
	require.NoError(t, png.Encode(file, picture))
	return path
}

// The colours that guests' cameras show, far from each other and from all that
// the page itself draws.
var (
	red    = color.RGBA{220, 40, 40, 255}
	green  = color.RGBA{40, 190, 60, 255}
	blue   = color.RGBA{40, 70, 220, 255}
	yellow = color.RGBA{230, 210, 40, 255}
	purple = color.RGBA{170, 40, 190, 255}
)

// plain is an encoder whose every picture is of one colour.
type plain struct {
	pipeline.ClipEncoder
	color.RGBA
}

func (e plain) EncodePictures(ctx context.Context, c recorder.PictureClip) ([]recorder.ClipSample, error) {
	// Real cameras send a key frame when asked for one; of a clip, somebody has to wait for the next.
	c.KeyEvery = 2
	c.Draw = drawnOnce(func(_ int, i420 []byte) {
		pixels := c.Width * c.Height
		r, g, b := float64(e.R)/255, float64(e.G)/255, float64(e.B)/255
		y := 16 + 65.481*r + 128.553*g + 24.966*b
		u, v := 128-37.797*r-74.203*g+112*b, 128+112*r-93.786*g-18.214*b
		for i := range i420 {
			switch {
			case i < pixels:
				i420[i] = byte(y)
			case i < pixels*5/4:
				i420[i] = byte(u)
			default:
				i420[i] = byte(v)
			}
		}
	})
	return e.ClipEncoder.EncodePictures(ctx, c)
}

// paint makes a clip of one colour.
func paint(t *testing.T, c color.RGBA, codec ...string) *rehearsal.Clip {
	t.Helper()
	format := rehearsal.Format{Width: 320, Height: 180, Framerate: 15}
	if len(codec) > 0 {
		format.Codec = codec[0]
	}
	clip, err := rehearsal.NewStudio(plain{RGBA: c}).Pictures(within(t, patience), rehearsal.Presenter("", 0), format)
	require.NoError(t, err)
	return clip
}

// share is how much of a picture has a colour, 0 to 1.
func share(picture image.Image, c color.RGBA) float64 {
	const near = 24
	count, all := 0, 0
	bounds := picture.Bounds()
	for y := bounds.Min.Y; y < bounds.Max.Y; y += 4 {
		for x := bounds.Min.X; x < bounds.Max.X; x += 4 {
			all++
			r, g, b, _ := picture.At(x, y).RGBA()
			if off(r, c.R) < near && off(g, c.G) < near && off(b, c.B) < near {
				count++
			}
		}
	}
	return float64(count) / float64(all)
}

func off(shown uint32, want uint8) int {
	d := int(shown>>8) - int(want)
	return max(d, -d)
}

// shares makes a fault of await: each colour covers between so much and so much
// of the page.
func shares(want map[color.RGBA][2]float64) func(image.Image) string {
	return func(picture image.Image) string {
		var wrong []string
		for c, limits := range want {
			if got := share(picture, c); got < limits[0] || got > limits[1] {
				wrong = append(wrong, fmt.Sprintf("%v covers %.1f%%, want %.1f%% to %.1f%%", c, got*100, limits[0]*100, limits[1]*100))
			}
		}
		return strings.Join(wrong, "; ")
	}
}
