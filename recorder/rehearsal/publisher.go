package rehearsal

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	protologger "github.com/livekit/protocol/logger"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"
	"go.uber.org/zap"

	"tapedeck/recorder"
)

// Participant is somebody who joins a room: with a token, or with the key to make one.
type Participant struct {
	URL               string // ws:// or wss://
	Token             string // when empty, one is made with the key
	APIKey, APISecret string
	Room              string
	Identity          string // unique in the room
	Name              string // shown; the identity when empty
	// Log gets what the SDK logs, at debug level. None when nil.
	Log *zap.Logger
}

// tokenLife is how long a publisher can stay, reconnections included.
const tokenLife = 24 * time.Hour

func (p Participant) token() (string, error) {
	if p.Token != "" {
		return p.Token, nil
	}
	name := p.Name
	if name == "" {
		name = p.Identity
	}
	own := true
	grant := &auth.VideoGrant{RoomJoin: true, Room: p.Room, CanUpdateOwnMetadata: &own}
	return auth.NewAccessToken(p.APIKey, p.APISecret).SetVideoGrant(grant).
		SetIdentity(p.Identity).SetName(name).SetValidFor(tokenLife).ToJWT()
}

// Publisher is a virtual participant in a room. Its methods may be called at once.
type Publisher struct {
	room  *lksdk.Room
	times timetable

	ctx    context.Context // of the tracks' goroutines
	cancel context.CancelFunc
	gone   chan struct{}
	left   sync.Once
	lost   sync.Once

	mu     sync.Mutex
	tracks []*Track
}

// Join returns when the participant is in the room and its media connection is
// up. ctx bounds the joining alone; Leave ends the rest.
func Join(ctx context.Context, who Participant) (*Publisher, error) {
	token, err := who.token()
	if err != nil {
		return nil, recorder.Errorf(recorder.CodeInvalid, "participant %q: no token can be made: %w", who.Identity, err)
	}
	p := &Publisher{times: newTimetable(time.Now()), gone: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	// The SDK keeps the context it joins with for its reconnections.
	defer context.AfterFunc(ctx, p.cancel)()
	quietSDK()
	p.room = lksdk.NewRoom(&lksdk.RoomCallback{
		OnDisconnected: func() { p.lost.Do(func() { close(p.gone) }) },
		ParticipantCallback: lksdk.ParticipantCallback{
			OnLocalTrackPublished: func(pub *lksdk.LocalTrackPublication, _ *lksdk.LocalParticipant) { p.published(pub) },
		},
	})
	//nolint:contextcheck // p.ctx is ctx without its end
	err = p.room.JoinWithContextAndToken(p.ctx, who.URL, token,
		lksdk.WithAutoSubscribe(false), lksdk.WithConnectTimeout(joinWithin), lksdk.WithLogger(sdkLogger(who.Log)),
		lksdk.WithDisableRegionDiscovery(),
		lksdk.WithInterceptors([]interceptor.Factory{reportsFactory{p}}), lksdk.WithIncludeDefaultInterceptors(true))
	if err != nil {
		p.Leave()
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		// The server quotes a token that it refuses.
		said := strings.ReplaceAll(recorder.ScrubText(err.Error()), token, "{…}")
		return nil, recorder.Errorf(recorder.CodeUnavailable, "joining room %q as %q at %s: %s",
			who.Room, who.Identity, recorder.RedactURL(who.URL), said)
	}
	return p, nil
}

// joinWithin bounds each attempt to join.
const joinWithin = 10 * time.Second

// quietSDK takes from the SDK and pion the logger they share in a process, which
// writes to stderr.
//
//nolint:gochecknoglobals // the SDK's logger belongs to the process
var quietSDK = sync.OnceFunc(func() { lksdk.SetLogger(protologger.GetDiscardLogger()) })

func sdkLogger(log *zap.Logger) protologger.Logger {
	if log == nil {
		return protologger.GetDiscardLogger()
	}
	return protologger.LogRLogger(funcr.New(func(_, text string) {
		log.Debug("livekit", zap.String("said", recorder.ScrubText(text)))
	}, funcr.Options{}))
}

// Gone is closed when the participant lost the room: it was removed, the room was
// closed, or the server stayed away. Leave is still to be called.
func (p *Publisher) Gone() <-chan struct{} { return p.gone }

// SetName changes the name that is shown.
func (p *Publisher) SetName(name string) { p.room.LocalParticipant.SetName(name) }

// PublishCamera publishes a camera: one clip, or up to three of the same scene and
// codec in different sizes as the layers of simulcast.
func (p *Publisher) PublishCamera(clips ...*Clip) (*Track, error) {
	return p.publish(livekit.TrackSource_CAMERA, "camera", clips)
}

// PublishScreen publishes a shared screen.
func (p *Publisher) PublishScreen(clip *Clip) (*Track, error) {
	return p.publish(livekit.TrackSource_SCREEN_SHARE, "screen", []*Clip{clip})
}

// PublishMicrophone publishes a microphone.
func (p *Publisher) PublishMicrophone(clip *Clip) (*Track, error) {
	return p.publish(livekit.TrackSource_MICROPHONE, "microphone", []*Clip{clip})
}

func (p *Publisher) publish(source livekit.TrackSource, name string, clips []*Clip) (*Track, error) {
	clips, err := layersOf(clips, source != livekit.TrackSource_MICROPHONE)
	if err != nil {
		return nil, recorder.Errorf(recorder.CodeInvalid, "%s: %w", name, err)
	}
	t := &Track{publisher: p, times: p.times, done: make(chan struct{})}
	locals, err := localTracks(clips)
	if err != nil {
		return nil, recorder.Errorf(recorder.CodeInternal, "%s: %w", name, err)
	}
	for i, c := range clips {
		t.layers = append(t.layers, newLayer(c, locals[i]))
	}
	ctx, cancel := context.WithCancel(p.ctx)
	t.cancel = cancel
	p.mu.Lock()
	p.tracks = append(p.tracks, t)
	p.mu.Unlock()
	// It sends nothing before the track is negotiated.
	go t.play(ctx)
	if err := p.offer(t, source, name); err != nil {
		t.stop()
		p.forget(t)
		return nil, recorder.Errorf(recorder.CodeUnavailable, "publishing a %s: %w", name, err)
	}
	return t, nil
}

// offer returns when the server has accepted the track.
func (p *Publisher) offer(t *Track, source livekit.TrackSource, name string) error {
	top := t.layers[len(t.layers)-1]
	options := &lksdk.TrackPublicationOptions{Name: name, Source: source, VideoWidth: top.clip.width, VideoHeight: top.clip.height}
	if len(t.layers) == 1 {
		_, err := p.room.LocalParticipant.PublishTrack(top.local, options)
		return err
	}
	var locals []*lksdk.LocalTrack
	for _, l := range t.layers {
		locals = append(locals, l.local)
	}
	_, err := p.room.LocalParticipant.PublishSimulcastTrack(locals, options)
	return err
}

// layersOf sorts clips from small to large and sees that they go together.
func layersOf(clips []*Clip, video bool) ([]*Clip, error) {
	const most = 3
	if len(clips) < 1 || len(clips) > most {
		return nil, fmt.Errorf("%d clips: give 1 to %d", len(clips), most)
	}
	clips = slices.SortedFunc(slices.Values(clips), func(a, b *Clip) int { return a.width - b.width })
	for i, c := range clips {
		if c.video() != video {
			return nil, fmt.Errorf("clip %d is %s: a camera or screen takes pictures, a microphone sound", i, c.codec)
		}
		if c.codec != clips[0].codec || c.perSecond != clips[0].perSecond {
			return nil, fmt.Errorf("clip %d is %s at %d a second: layers have the same codec and framerate", i, c.codec, c.perSecond)
		}
		if i > 0 && c.width == clips[i-1].width {
			return nil, fmt.Errorf("clip %d is %d wide: layers have different sizes", i, c.width)
		}
	}
	return clips, nil
}

// localTracks makes the SDK's track of each clip; several are layers of one.
func localTracks(clips []*Clip) ([]*lksdk.LocalTrack, error) {
	id := ""
	if len(clips) > 1 {
		id = "TR_" + rand.Text()
	}
	qualities := []livekit.VideoQuality{livekit.VideoQuality_LOW, livekit.VideoQuality_MEDIUM, livekit.VideoQuality_HIGH}
	var tracks []*lksdk.LocalTrack
	for i, c := range clips {
		var options []lksdk.LocalTrackOptions
		if id != "" {
			options = append(options, lksdk.WithSimulcast(id, &livekit.VideoLayer{
				Quality: qualities[i], Width: uint32(c.width), Height: uint32(c.height), Bitrate: uint32(c.kbps * 1000),
			}))
		}
		t, err := lksdk.NewLocalTrack(capability(c.codec), options...)
		if err != nil {
			return nil, err
		}
		tracks = append(tracks, t)
	}
	return tracks, nil
}

func capability(codec string) webrtc.RTPCodecCapability {
	switch codec {
	case recorder.ClipVP8:
		return webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: videoClock}
	case recorder.ClipH264:
		return webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeH264, ClockRate: videoClock,
			SDPFmtpLine: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
		}
	default:
		return webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: soundClock, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1"}
	}
}

// published hears of every publication, those that a reconnection makes included.
func (p *Publisher) published(pub *lksdk.LocalTrackPublication) {
	p.mu.Lock()
	i := slices.IndexFunc(p.tracks, func(t *Track) bool { return t.is(pub) })
	var t *Track
	if i >= 0 {
		t = p.tracks[i]
	}
	p.mu.Unlock()
	if t != nil {
		t.republished(pub)
	}
}

func (p *Publisher) forget(t *Track) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tracks = slices.DeleteFunc(p.tracks, func(other *Track) bool { return other == t })
}

// Leave leaves the room. It returns when nothing is sent any more and the
// connections are closed.
func (p *Publisher) Leave() {
	p.left.Do(func() {
		p.cancel()
		p.mu.Lock()
		tracks := p.tracks
		p.mu.Unlock()
		for _, t := range tracks {
			<-t.done
		}
		connections := []*webrtc.PeerConnection{
			p.room.LocalParticipant.GetPublisherPeerConnection(), p.room.LocalParticipant.GetSubscriberPeerConnection(),
		}
		// The SDK closes them later, by itself; who waits for nothing to be left cannot.
		p.room.Disconnect()
		for _, c := range connections {
			if c != nil {
				_ = c.GracefulClose()
			}
		}
	})
}
