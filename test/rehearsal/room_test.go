package rehearsal

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	protologger "github.com/livekit/protocol/logger"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/pipeline"
	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
	"tapedeck/recorder/rehearsal"
)

func TestMain(m *testing.M) {
	lksdk.SetLogger(protologger.GetDiscardLogger())
	// Where `make tools` puts livekit-server.
	if tools, err := filepath.Abs("../../build/bin"); err == nil {
		_ = os.Setenv("PATH", tools+string(filepath.ListSeparator)+os.Getenv("PATH"))
	}
	code := m.Run()
	// Their publishers have left: the tests' goroutines are gone, too.
	for deadline := time.Now().Add(10 * time.Second); len(goroutines()) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			fmt.Fprintf(os.Stderr, "goroutines are left:\n%s\n", strings.Join(goroutines(), "\n\n"))
			os.Exit(1)
		}
	}
	os.Exit(code)
}

func startServer(t testing.TB) *rehearsal.Server {
	t.Helper()
	s, err := rehearsal.StartServer(t.Context(), rehearsal.ServerOptions{})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

// theStudio is the one of all tests, for it keeps the clips: encoding them takes
// longer than anything else here.
var theStudio = sync.OnceValue(func() *rehearsal.Studio { return rehearsal.NewStudio(pipeline.ClipEncoder{}) })

func join(t testing.TB, s *rehearsal.Server, identity string) *rehearsal.Publisher {
	t.Helper()
	p, err := rehearsal.Join(t.Context(), rehearsal.Participant{
		URL: s.URL(), APIKey: s.APIKey, APISecret: s.APISecret, Room: "stage", Identity: identity, Name: "The " + identity,
	})
	require.NoError(t, err)
	t.Cleanup(p.Leave)
	return p
}

func pictures(t testing.TB, studio *rehearsal.Studio, scene rehearsal.Scene, codec string) *rehearsal.Clip {
	t.Helper()
	c, err := studio.Pictures(t.Context(), scene, rehearsal.Format{Codec: codec})
	require.NoError(t, err)
	return c
}

func sound(t testing.TB, studio *rehearsal.Studio, s rehearsal.Sound) *rehearsal.Clip {
	t.Helper()
	c, err := studio.Sound(t.Context(), s)
	require.NoError(t, err)
	return c
}

// must is for the handle of a track that a test needs no more.
func must(t testing.TB) func(track *rehearsal.Track, err error) *rehearsal.Track {
	return func(track *rehearsal.Track, err error) *rehearsal.Track {
		t.Helper()
		require.NoError(t, err)
		return track
	}
}

const (
	framerate = 30
	loop      = rehearsal.PictureLoop * framerate
)

// What three publishers send arrives whole: each picture and each packet of sound
// once, in order, over the end of every loop, and picture and sound in step.
func TestThreePublishersAreReceivedWithoutAGap(t *testing.T) {
	server, studio := startServer(t), theStudio()
	vp8 := pictures(t, studio, rehearsal.Measuring(), recorder.ClipVP8)
	h264 := pictures(t, studio, rehearsal.Measuring(), recorder.ClipH264)
	layers, err := studio.Layers(t.Context(), rehearsal.Measuring(), rehearsal.Format{Width: 1280, Height: 720})
	require.NoError(t, err)
	beeps := sound(t, studio, rehearsal.Beeps())

	l := listen(t, server, "stage")
	for identity, camera := range map[string][]*rehearsal.Clip{"ada": {vp8}, "grace": {h264}, "alan": layers} {
		p := join(t, server, identity)
		must(t)(p.PublishMicrophone(beeps))
		must(t)(p.PublishCamera(camera...))
	}
	codecs := map[string]string{"ada": webrtc.MimeTypeVP8, "grace": webrtc.MimeTypeH264, "alan": webrtc.MimeTypeVP8}
	for identity, codec := range codecs {
		camera, microphone := l.track(identity+" camera"), l.track(identity+" microphone")
		assert.Equal(t, codec, camera.codec)
		assert.Equal(t, webrtc.MimeTypeOpus, microphone.codec)
		assert.Equal(t, livekit.TrackSource_CAMERA, camera.publication.Source())
	}
	// Simulcast begins small and grows; what is looked at comes after that.
	alan := l.track("alan camera")
	l.await(20*time.Second, "the largest layer", func() bool {
		width, height := vp8Size(alan.frames[len(alan.frames)-1].data)
		return width == 1280 && height == 720
	})
	// Longer than the loops of all clips.
	cameras, microphones, from := map[string]*heard{}, map[string]*heard{}, map[string]int{}
	for identity := range codecs {
		cameras[identity], microphones[identity] = l.track(identity+" camera"), l.track(identity+" microphone")
		from[identity] = l.count(cameras[identity]) - 1
	}
	from["alan"] = lastKey(l, alan)
	for identity := range codecs {
		l.await(30*time.Second, identity+"'s pictures", func() bool {
			return len(cameras[identity].frames) > from[identity]+loop+loop/5
		})
	}
	for identity := range codecs {
		requireEven(t, l, cameras[identity], from[identity], 90000/framerate, framerate)
		requireEven(t, l, microphones[identity], 50, 48000/50, 50)
		requireCounting(t, l, cameras[identity], identity)
		requireInStep(t, l, cameras[identity], microphones[identity], identity)
	}
	// Whoever shows it small gets the small layer.
	require.NoError(t, alan.publication.SetVideoQuality(livekit.VideoQuality_LOW))
	l.await(10*time.Second, "the smallest layer", func() bool {
		width, height := vp8Size(alan.frames[len(alan.frames)-1].data)
		return width == 320 && height == 180
	})
}

// lastKey gives the index of the last key frame of a track in VP8.
func lastKey(l *listener, h *heard) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(h.frames) - 1; i > 0; i-- {
		if width, _ := vp8Size(h.frames[i].data); width > 0 {
			return i
		}
	}
	return 0
}

// requireEven checks that frames follow each other by ticks of the RTP clock, that
// no packet is missing, and that so many came in each second.
func requireEven(t *testing.T, l *listener, h *heard, from int, ticks uint32, perSecond float64) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := from + 1; i < len(h.frames); i++ {
		require.Equal(t, ticks, h.frames[i].timestamp-h.frames[i-1].timestamp, "%s frame %d of %d", h.codec, i, len(h.frames))
	}
	first := h.frames[from].timestamp
	var arrived []time.Time
	for i, p := range h.packets {
		if int32(p.Timestamp-first) >= 0 && (len(arrived) == 0 || p.Timestamp != h.packets[i-1].Timestamp) {
			arrived = append(arrived, h.arrived[i])
		}
	}
	rate := float64(len(arrived)-1) / arrived[len(arrived)-1].Sub(arrived[0]).Seconds()
	var longest time.Duration
	for i := 1; i < len(arrived); i++ {
		longest = max(longest, arrived[i].Sub(arrived[i-1]))
	}
	t.Logf("%s %s: %.3f a second over %.1f s, longest pause %s", h.publication.Name(), h.codec, rate,
		arrived[len(arrived)-1].Sub(arrived[0]).Seconds(), longest.Round(time.Millisecond))
	// A pause of a busy machine at either end is not the publisher's.
	whole := arrived[len(arrived)-1].Sub(arrived[0])
	require.InDelta(t, perSecond, rate, perSecond*(0.01+longest.Seconds()/whole.Seconds()))
}

// requireCounting decodes what arrived and checks that the pictures count up, by
// one, over the end of the loop.
func requireCounting(t *testing.T, l *listener, h *heard, identity string) {
	t.Helper()
	from := 0
	if identity == "alan" {
		from = lastKey(l, h) // decoders of files do not follow a change of size
	}
	frames := recordertest.ReadBarcodes(t, l.save(h, from))
	require.NotEmpty(t, frames)
	require.Zero(t, frames[0].Counter%(framerate/2), "%s: the first picture is a key frame", identity)
	cadence := recordertest.CadenceOf(frames, loop)
	require.Equal(t, recordertest.Cadence{Pairs: len(frames) - 1}, cadence, "%s", identity)
	for i, f := range frames {
		require.Equal(t, f.Counter%framerate < 3, f.Flash, "%s picture %d, counter %d", identity, i, f.Counter)
	}
}

// requireInStep puts pictures and sound on the clock of the sender's reports, as a
// receiver does that keeps lips and voice together. By it they are due at whole
// samples of the wall clock, which is where scenes flash and beep.
func requireInStep(t *testing.T, l *listener, camera, microphone *heard, identity string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for h, is := range map[*heard]struct{ rate, perSecond int64 }{camera: {90000, framerate}, microphone: {48000, 50}} {
		require.NotEmpty(t, h.reports)
		for _, r := range h.reports {
			at := clock(r, h.frames[len(h.frames)-1].timestamp, is.rate)
			samples := float64(at.Nanosecond()) * float64(is.perSecond) / float64(time.Second)
			off := time.Duration((samples - math.Round(samples)) * float64(time.Second) / float64(is.perSecond))
			require.Less(t, off.Abs(), time.Millisecond, "%s's %s", identity, h.publication.Name())
		}
	}
}

// clock gives the time of an RTP timestamp by a sender report.
func clock(r *rtcp.SenderReport, timestamp uint32, rate int64) time.Time {
	const since1900 = 2208988800
	seconds, fraction := int64(r.NTPTime>>32)-since1900, int64(r.NTPTime&0xffffffff)
	return time.Unix(seconds, fraction*int64(time.Second)>>32).Add(time.Duration(int64(int32(timestamp-r.RTPTime)) * int64(time.Second) / rate))
}

func TestMuteUnmuteUnpublishLeave(t *testing.T) {
	t.Parallel()
	server, studio := startServer(t), theStudio()
	l := listen(t, server, "stage")
	p := join(t, server, "ada")
	camera := must(t)(p.PublishCamera(pictures(t, studio, rehearsal.Measuring(), recorder.ClipVP8)))
	screen := must(t)(p.PublishScreen(pictures(t, studio, rehearsal.Screen("Figures"), recorder.ClipH264)))
	heardCamera, heardScreen := l.track("ada camera"), l.track("ada screen")
	assert.Equal(t, livekit.TrackSource_SCREEN_SHARE, heardScreen.publication.Source())
	assert.Equal(t, heardCamera.publication.SID(), camera.ID())

	camera.Mute()
	l.await(5*time.Second, "the room knows it is muted", heardCamera.publication.IsMuted)
	goOn := func(frames int) {
		from := l.count(heardScreen)
		l.await(10*time.Second, "the screen goes on", func() bool { return len(heardScreen.frames) > from+frames })
	}
	goOn(framerate) // what was on its way arrives
	n := l.count(heardCamera)
	goOn(2 * framerate)
	assert.Equal(t, n, l.count(heardCamera), "no pictures while it is muted")

	camera.Unmute()
	n = l.count(heardCamera)
	l.await(5*time.Second, "pictures come back", func() bool { return len(heardCamera.frames) > n+framerate })
	assert.False(t, heardCamera.publication.IsMuted())
	l.mu.Lock()
	width, _ := vp8Size(heardCamera.frames[n].data)
	skipped := heardCamera.frames[n].timestamp - heardCamera.frames[n-1].timestamp
	l.mu.Unlock()
	assert.Equal(t, 640, width, "the first one can be decoded")
	assert.Greater(t, skipped, uint32(2*90000*9/10), "and comes as much later as the pause was")
	assert.Zero(t, skipped%3000, "on the same clock")

	require.NoError(t, screen.Unpublish())
	l.await(5*time.Second, "the screen ends", func() bool { return heardScreen.ended })
	assert.Error(t, screen.Unpublish(), "it is gone")
	again := must(t)(p.PublishScreen(pictures(t, studio, rehearsal.Screen("Figures"), recorder.ClipH264)))
	l.await(10*time.Second, "another screen", func() bool {
		h := l.tracks["ada screen"]
		return h != heardScreen && len(h.frames) > framerate
	})
	assert.NotEqual(t, screen.ID(), again.ID())

	p.SetName("Countess")
	l.await(5*time.Second, "the name changes", func() bool {
		return l.room.GetParticipantByIdentity("ada").Name() == "Countess"
	})
	p.Leave()
	p.Leave()
	l.await(5*time.Second, "she is gone", func() bool { return l.gone["ada"] })
	_, err := p.PublishScreen(pictures(t, studio, rehearsal.Screen("Figures"), recorder.ClipH264))
	assert.Error(t, err)
}

// The server reckons who speaks from what publishers say of their sound's level.
func TestThoseWhoSpeakInTurnAreActiveSpeakers(t *testing.T) {
	server, studio := startServer(t), theStudio()
	l := listen(t, server, "stage")
	for turn, identity := range []string{"ada", "grace"} {
		must(t)(join(t, server, identity).PublishMicrophone(sound(t, studio, rehearsal.Turn(turn, 2, 200+50*turn))))
	}
	l.await(20*time.Second, "both speak", func() bool { return l.speaking["ada"] > 0 && l.speaking["grace"] > 0 })
	// Whose turn it is follows from the wall clock, and the server takes less than a second to see it.
	recordertest.Judged(t, func() (late []string) {
		for range 2 {
			turn, begin := nextTurn(2)
			time.Sleep(time.Until(begin.Add(1500 * time.Millisecond)))
			var speakers []string
			for _, p := range l.room.ActiveSpeakers() {
				speakers = append(speakers, p.Identity())
			}
			if who := []string{"ada", "grace"}[turn]; !slices.Equal(speakers, []string{who}) {
				late = append(late, fmt.Sprintf("%v speak in %s's turn", speakers, who))
			}
		}
		return late
	})
}

func nextTurn(of int64) (turn int64, begin time.Time) {
	n := time.Now().Unix()/rehearsal.TurnSeconds + 1
	return n % of, time.Unix(n*rehearsal.TurnSeconds, 0)
}

// A publisher comes back by itself when the server does, with what was published and
// muted as it was.
func TestPublishersOutliveARestartOfTheServer(t *testing.T) {
	t.Parallel()
	server, studio := startServer(t), theStudio()
	p := join(t, server, "ada")
	camera := must(t)(p.PublishCamera(pictures(t, studio, rehearsal.Measuring(), recorder.ClipVP8)))
	microphone := must(t)(p.PublishMicrophone(sound(t, studio, rehearsal.Tone(440))))
	before := camera.ID()
	microphone.Mute()
	require.NoError(t, server.Restart(t.Context()))
	l := listen(t, server, "stage")
	h := l.track("ada camera")
	l.await(5*time.Second, "she goes on", func() bool { return len(h.frames) > 2*framerate })
	assert.NotEqual(t, before, camera.ID())
	assert.Equal(t, h.publication.SID(), camera.ID())
	l.await(5*time.Second, "her microphone is muted", func() bool {
		m := l.tracks["ada microphone"]
		return m == nil || m.publication.IsMuted()
	})
	microphone.Unmute()
	heardMicrophone := l.track("ada microphone")
	n := l.count(heardMicrophone)
	l.await(5*time.Second, "she is heard", func() bool {
		return len(heardMicrophone.frames) > n+50 && !heardMicrophone.publication.IsMuted()
	})
	select {
	case <-p.Gone():
		t.Error("she is not gone")
	default:
	}
}

func TestJoiningThatFailsSaysWhy(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	who := rehearsal.Participant{URL: server.URL(), APIKey: server.APIKey, APISecret: "wrong-secret-wrong-secret-wrong-secret", Room: "stage", Identity: "ada"}
	_, err := rehearsal.Join(t.Context(), who)
	require.Error(t, err)
	assert.Equal(t, recorder.CodeUnavailable, recorder.CodeOf(err))
	assert.Contains(t, err.Error(), `room "stage"`)
	assert.Contains(t, err.Error(), "signature is invalid")
	assert.NotRegexp(t, `eyJ[\w-]+\.`, err.Error(), "a token")

	server.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = rehearsal.Join(ctx, who)
	require.Error(t, err)
	assert.Contains(t, err.Error(), "connection refused")
}

func TestGoneWhenTheRoomIsDeleted(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	p := join(t, server, "ada")
	rooms := lksdk.NewRoomServiceClient("http"+strings.TrimPrefix(server.URL(), "ws"), server.APIKey, server.APISecret)
	_, err := rooms.DeleteRoom(t.Context(), &livekit.DeleteRoomRequest{Room: "stage"})
	require.NoError(t, err)
	select {
	case <-p.Gone():
	case <-time.After(10 * time.Second):
		t.Fatal("she does not notice")
	}
}

// Nothing is left of publishers and server: no goroutine, no process, no file.
func TestNothingIsLeftOfARoom(t *testing.T) {
	studio := theStudio()
	camera, tone := pictures(t, studio, rehearsal.Measuring(), recorder.ClipVP8), sound(t, studio, rehearsal.Tone(440))
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	server, err := rehearsal.StartServer(t.Context(), rehearsal.ServerOptions{})
	require.NoError(t, err)
	assert.Len(t, children(t), 1)
	var last *rehearsal.Publisher
	for i := range 3 {
		last = join(t, server, fmt.Sprint("guest ", i))
		must(t)(last.PublishCamera(camera))
		must(t)(last.PublishMicrophone(tone))
		if i > 0 {
			last.Leave()
		}
	}
	assert.NotEmpty(t, goroutines(), "the first one is there")
	server.Close()
	assert.Empty(t, children(t))
	left, err := os.ReadDir(temp)
	require.NoError(t, err)
	assert.Empty(t, left)
}

// goroutines gives the stacks of those that the SDK, pion or we run.
func goroutines() []string {
	stacks := make([]byte, 1<<22)
	stacks = stacks[:runtime.Stack(stacks, true)]
	var found []string
	for _, one := range strings.Split(string(stacks), "\n\n")[1:] { // the first is the caller
		for _, whose := range []string{"livekit", "pion", "tapedeck/recorder/rehearsal"} {
			if strings.Contains(one, whose) {
				found = append(found, one)
				break
			}
		}
	}
	return found
}

// children lists the processes that are ours.
func children(t testing.TB) []string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	var found []string
	for _, path := range all {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has just ended
		}
		after := string(stat[strings.LastIndexByte(string(stat), ')')+1:])
		if fields := strings.Fields(after); fields[1] == strconv.Itoa(os.Getpid()) {
			found = append(found, string(stat))
		}
	}
	return found
}
