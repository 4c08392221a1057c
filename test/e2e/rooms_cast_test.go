package e2e

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/pipeline"
	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
	"tapedeck/recorder/rehearsal"
)

// studio keeps the clips: encoding them takes longer than many a test.
var studio = sync.OnceValue(func() *rehearsal.Studio { return rehearsal.NewStudio(pipeline.ClipEncoder{}) })

// The pictures' count starts anew after so many.
const camRate, camLoop = 30, 30 * rehearsal.PictureLoop

// actor is what somebody shows and says. Those who measure all show the same
// picture at the same time: its count, and a flash with the flasher's beeps.
type actor struct {
	name   string
	codec  string
	camera rehearsal.Scene
	sound  rehearsal.Sound
}

// Tones are a multiple of 100 Hz from the beeps: see recordertest.BeepOnsetsAmongTones.
const lowTone, highTone = 400, 1900

func flasher() actor {
	return actor{"flasher", recorder.ClipVP8, rehearsal.Measuring(), rehearsal.Beeps()}
}

func low() actor {
	return actor{"low", recorder.ClipH264, rehearsal.Measuring(), rehearsal.Tone(lowTone)}
}

func high() actor {
	return actor{"high", recorder.ClipVP8, rehearsal.Measuring(), rehearsal.Tone(highTone)}
}

// guest is an actor in a room.
type guest struct {
	*rehearsal.Publisher
	actor
	t           testing.TB
	camera, mic *rehearsal.Track
}

// join brings somebody in who publishes nothing yet, and leaves with the test. The
// server tells others of such people only every 3 s.
func (s *roomServer) join(t testing.TB, room string, a actor) *guest {
	t.Helper()
	p, err := rehearsal.Join(t.Context(), rehearsal.Participant{
		URL: s.URL(), APIKey: s.APIKey, APISecret: s.APISecret, Room: room, Identity: a.name,
	})
	require.NoError(t, err)
	t.Cleanup(p.Leave)
	return &guest{Publisher: p, actor: a, t: t}
}

// enter brings somebody in with camera and microphone.
func (s *roomServer) enter(t testing.TB, room string, a actor) *guest {
	t.Helper()
	g := s.join(t, room, a)
	g.show()
	g.speak()
	return g
}

// show publishes the camera.
func (g *guest) show() {
	g.t.Helper()
	var err error
	g.camera, err = g.PublishCamera(g.pictures(g.actor.camera))
	require.NoError(g.t, err)
}

func (g *guest) pictures(scene rehearsal.Scene) *rehearsal.Clip {
	g.t.Helper()
	clip, err := studio().Pictures(g.t.Context(), scene, rehearsal.Format{Codec: g.codec, Width: 640, Height: 360, Framerate: camRate})
	require.NoError(g.t, err)
	return clip
}

// speak publishes the microphone.
func (g *guest) speak() {
	g.t.Helper()
	clip, err := studio().Sound(g.t.Context(), g.sound)
	require.NoError(g.t, err)
	g.mic, err = g.PublishMicrophone(clip)
	require.NoError(g.t, err)
}

// latencies gives how long after its time each picture that can be read is in the
// recording: pictures are counted by the clock.
func latencies(frames []recordertest.Frame, began time.Time) (late []time.Duration) {
	for _, f := range frames {
		if f.Counter < 0 {
			continue
		}
		const loop = time.Second * camLoop / camRate
		shown := began.Add(f.PTS).UnixNano() % int64(loop)
		due := time.Duration(f.Counter) * time.Second / camRate
		// Never more than half a loop.
		late = append(late, (time.Duration(shown)-due+loop+loop/2)%loop-loop/2)
	}
	return late
}
