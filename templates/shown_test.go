package templates_test

import (
	"fmt"
	"image"
	"image/color"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
	"tapedeck/recorder/rehearsal"
)

var wide = image.Pt(1280, 720)

// Ranges of how much of the page a colour covers.
var (
	gone  = [2]float64{0, 0.001}
	small = [2]float64{0.01, 0.06} // in a strip
	third = [2]float64{0.2, 0.3}   // one of three or four in a grid
	stage = [2]float64{0.6, 0.85}  // beside a strip
	whole = [2]float64{0.9, 1}
)

type shown = map[color.RGBA][2]float64

// TestLayouts changes the layout of one running page, as a recording does.
func TestLayouts(t *testing.T) {
	t.Parallel()
	r := startRooms(t)
	ada, bob := r.join(t, "talk", "ada", "Ada"), r.join(t, "talk", "bob", "Bob")
	eve, robot := r.join(t, "talk", "eve", "Eve"), r.agent(t, "talk", "robot")
	ada.camera(paint(t, red))
	bob.camera(paint(t, green, recorder.ClipH264))
	voice := bob.speak()
	eve.camera(paint(t, blue))
	robot.camera(paint(t, purple))
	robot.speak()

	v := open(t, wide)
	v.watch(r, "talk", "EG_1", "grid")
	v.await(shares(shown{red: third, green: third, blue: third, purple: gone}))
	r.change(t, "talk", "EG_1", "speaker")
	v.await(shares(shown{red: small, green: stage, blue: small, purple: gone}))
	r.change(t, "talk", "EG_1", "single-speaker-light")
	v.await(shares(shown{red: gone, green: whole, blue: gone}))
	voice.Mute()
	eve.speak()
	v.await(shares(shown{red: gone, green: gone, blue: whole}))
	r.change(t, "talk", "EG_1", "audio")
	v.await(shares(shown{red: gone, green: gone, blue: gone}))

	screen := eve.screen(paint(t, yellow))
	for _, layout := range []string{"grid", "speaker-dark"} {
		r.change(t, "talk", "EG_1", layout)
		v.await(shares(shown{yellow: {0.5, 0.7}, red: small, green: small, blue: small}))
	}
	r.change(t, "talk", "EG_1", "single-speaker")
	v.await(shares(shown{yellow: whole, red: gone, green: gone, blue: gone}))
	require.NoError(t, screen.Unpublish())
	v.await(shares(shown{yellow: gone, blue: whole}))
	assert.Empty(t, v.console())

	r.change(t, "talk", "EG_1", "mosaic")
	require.Eventually(t, func() bool { return len(v.console()) > 0 }, patience, 100*time.Millisecond)
	assert.Contains(t, v.console()[0], `warning: layout: there is no "mosaic", so the present one stays`)
	v.await(shares(shown{blue: whole}))
}

// TestChangesShowWithinASecond is what a recording promises its viewers. It runs
// alone, for it measures. A clip's key pictures come in its own time, whoever asks for one, as
// browsers' do not: what was late is looked at once more.
func TestChangesShowWithinASecond(t *testing.T) {
	r, v := startRooms(t), open(t, wide)
	clips := map[color.RGBA]*rehearsal.Clip{red: paint(t, red), yellow: paint(t, yellow), blue: paint(t, blue)}
	talks := 0
	recordertest.Judged(t, func() (late []string) {
		talks++
		took := v.changes(t, r, fmt.Sprint("talk", talks), clips)
		if slices.Max(slices.Collect(maps.Values(took))) < time.Second {
			return nil
		}
		talks++
		again := v.changes(t, r, fmt.Sprint("talk", talks), clips)
		for what := range took {
			if took[what] >= time.Second && again[what] >= time.Second {
				late = append(late, fmt.Sprintf("%s: %s, and again %s", what, took[what], again[what]))
			}
		}
		return late
	})
}

// changes gives how long each change in a talk takes to be seen.
func (v *viewer) changes(t *testing.T, r *rooms, room string, clips map[color.RGBA]*rehearsal.Clip) map[string]time.Duration {
	t.Helper()
	ada := r.join(t, room, "ada", "Ada")
	defer ada.Leave()
	camera := ada.camera(clips[red])
	v.watch(r, room, "EG_1", "grid")
	v.await(shares(shown{red: whole}))

	took := map[string]time.Duration{}
	see := func(what string, change func(), want shown) {
		began := time.Now()
		change()
		took[what] = v.await(shares(want)).Sub(began)
	}
	see("mute", camera.Mute, shown{red: gone})
	see("unmute", camera.Unmute, shown{red: whole})
	eve := r.join(t, room, "eve", "Eve")
	see("join", func() { eve.camera(clips[blue]) }, shown{red: {0.3, 0.5}, blue: {0.3, 0.5}})
	var screen *rehearsal.Track
	see("share", func() { screen = ada.screen(clips[yellow]) }, shown{yellow: {0.5, 0.7}, red: small, blue: small})
	see("unshare", func() { require.NoError(t, screen.Unpublish()) }, shown{yellow: gone, red: {0.3, 0.5}})
	see("leave", eve.Leave, shown{red: whole, blue: gone})
	t.Log(took)
	return took
}

// TestOneParticipant shows one identity, or exactly the tracks that are named.
func TestOneParticipant(t *testing.T) {
	t.Parallel()
	r := startRooms(t)
	ada, bob := r.join(t, "talk", "ada", "Ada"), r.join(t, "talk", "bob", "Bob")
	ada.camera(paint(t, red))
	ada.speak()
	camera := bob.camera(paint(t, green))
	screen := bob.screen(paint(t, yellow))

	v := open(t, wide)
	for name, c := range map[string]struct {
		parameters []string
		want       shown
	}{
		"camera and screen": {[]string{"identity", "bob"}, shown{yellow: {0.5, 0.7}, green: small, red: gone}},
		"camera":            {[]string{"identity", "bob", "screen_share", "false"}, shown{green: whole, yellow: gone}},
		"screen":            {[]string{"identity", "bob", "screen_share", "true"}, shown{yellow: whole, green: gone}},
		"a camera's track":  {[]string{"video_track_id", camera.ID()}, shown{green: whole, yellow: gone}},
		"a screen's track":  {[]string{"video_track_id", screen.ID()}, shown{yellow: whole, green: gone}},
		"somebody else":     {[]string{"identity", "ada"}, shown{red: whole, green: gone, yellow: gone}},
	} {
		t.Run(name, func(t *testing.T) {
			v.watch(r, "talk", "EG_1", "participant", c.parameters...)
			v.await(shares(c.want))
		})
	}
	t.Run("nobody yet", func(t *testing.T) {
		v.enter(r, "talk", "EG_1", "participant", "identity", "zoe")
		v.await(shares(shown{red: gone, green: gone, yellow: gone}))
		r.join(t, "talk", "zoe", "Zoe").camera(paint(t, blue))
		v.starts()
		v.await(shares(shown{blue: whole}))
	})
}

// TestLastPictureStays loses the server, which comes back.
func TestLastPictureStays(t *testing.T) {
	t.Parallel()
	r := startRooms(t)
	ada, bob := r.join(t, "talk", "ada", "Ada"), r.join(t, "talk", "bob", "Bob")
	ada.camera(paint(t, red))
	bob.camera(paint(t, green))
	v := open(t, wide)
	v.watch(r, "talk", "EG_1", "grid")
	both := shown{red: {0.3, 0.5}, green: {0.3, 0.5}}
	v.await(shares(both))

	r.Kill()
	for gone := time.Now(); time.Since(gone) < 4*time.Second; {
		require.Empty(t, shares(both)(v.picture()), "%v after the server", time.Since(gone))
	}
	require.NoError(t, r.Restart(within(t, patience)))
	eve := r.join(t, "talk", "eve", "Eve")
	eve.camera(paint(t, blue))
	v.await(shares(shown{blue: {0.2, 1}}))
	// Chrome tells of every attempt, with the address.
	console := strings.Join(v.console(), "\n")
	assert.NotContains(t, console, "eyJ", "the token")
}
