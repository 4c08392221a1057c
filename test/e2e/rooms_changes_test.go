package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
	"tapedeck/recorder/rehearsal"
)

// atOnce is how soon what changes in a room is in the recording: within a second
// on a machine that does nothing else. The short form tells gross faults, for the
// negotiation of a join takes longer where others compute.
func atOnce() time.Duration {
	if long() {
		return time.Second
	}
	return 1500 * time.Millisecond
}

// view is what the recording shows when a room looks in one way at 1280x720: in
// every one of these places somebody who measures.
type view []recordertest.Tile

var (
	alone    = view{recordertest.WholeTile(0, 0, 1280, 720)}
	together = view{recordertest.FilledTile(8, 124, 628, 471), recordertest.FilledTile(644, 124, 628, 471)}
	// A screen is shown whole on the stage.
	sharing = view{recordertest.WholeTile(8, 74, 1018, 572), recordertest.FilledTile(1034, 222, 238, 134), recordertest.FilledTile(1034, 364, 238, 134)}
)

// change is something that happens in a room, and how it is seen or heard.
type change struct {
	name   string
	asked  time.Time // what happens cannot show before,
	when   time.Time // and must show soon after
	view   view      // that is there afterwards
	hidden int       // of its places, the last ones, where a camera is not shown
	tone   int       // that is heard afterwards,
	silent bool      // or that is not
}

// script lets things happen, one after the other.
type script struct {
	pause   func()
	changes []change
}

// do makes a change, counts from when it was asked for, and leaves it alone for a while.
func (s *script) do(c change, act func()) {
	c.asked = time.Now()
	c.when = c.asked
	act()
	s.changes = append(s.changes, c)
	s.pause()
}

// publish makes a change that counts from when the server has accepted it: until
// then the publisher negotiates.
func (s *script) publish(c change, act func()) {
	c.asked = time.Now()
	act()
	c.when = time.Now()
	s.changes = append(s.changes, c)
	s.pause()
}

// TestRoomChanges records a room in which things happen, and a layout that is
// changed from outside, into one file.
func TestRoomChanges(t *testing.T) {
	s, p := startRooms(t), startPool(t)
	p.startWorker("w1", s.env()...)
	judged(t, func() []string {
		first := s.enter(t, "talk", flasher())
		defer first.Leave()
		id := p.enqueue(recorder.Job{
			Source: recorder.Source{RoomName: "talk", Layout: "grid"},
			Files:  []recorder.FileOutput{{Filepath: "talk.mp4", DisableManifest: true}},
			Limits: recorder.Limits{MaxDuration: recorder.Duration(time.Minute)},
		})
		p.awaitActive(id)
		changes := p.play(s, id)
		require.Zero(t, p.verb("stop", id).code)
		rec := p.awaitStatus(id, recorder.StatusComplete, 20*time.Second)
		assert.Equal(t, "grid", p.list(id).Layout, "the layout that was set last by us")
		require.Len(t, rec.Files, 1, "one file")
		m := probe(t, p.stored(rec.Files[0].Filename))
		m.requireWhole(t, 30)
		return append(watchChanges(t, m.path, time.Unix(0, rec.StartedAt), changes), m.gaps(t, 30)...)
	})
}

// play lets somebody join, speak, mute, share and leave, and the layout change.
func (p *pool) play(s *roomServer, id string) []change {
	t := p.t
	play := &script{pause: func() { p.awaitElapsed(id, p.state(id).Stats.Elapsed.Std()+1500*time.Millisecond) }}
	play.pause()
	second := s.join(t, "talk", low())
	play.publish(change{name: "join", view: together}, second.show)
	play.publish(change{name: "speak", view: together, tone: lowTone}, second.speak)
	play.do(change{name: "mute", view: together, hidden: 1, tone: lowTone, silent: true}, func() { second.camera.Mute(); second.mic.Mute() })
	play.do(change{name: "unmute", view: together, tone: lowTone}, func() { second.camera.Unmute(); second.mic.Unmute() })
	play.do(change{name: "update --layout", view: alone}, func() {
		require.Zero(t, p.verb("update", id, "--layout", "single-speaker").code)
	})
	play.do(change{name: "update --layout back", view: together}, func() {
		require.Zero(t, p.verb("update", id, "--layout", "grid").code)
	})
	layout := func(name string) func() {
		return func() {
			_, err := s.rooms.UpdateParticipant(t.Context(), &livekit.UpdateParticipantRequest{
				Room: "talk", Identity: id, Metadata: fmt.Sprintf(`{"layout":%q}`, name),
			})
			require.NoError(t, err)
		}
	}
	play.do(change{name: "UpdateParticipant", view: alone}, layout("single-speaker-light"))
	play.do(change{name: "UpdateParticipant back", view: together}, layout("grid"))
	var screen *rehearsal.Track
	play.publish(change{name: "share", view: sharing}, func() {
		var err error
		screen, err = second.PublishScreen(second.pictures(rehearsal.Measuring()))
		require.NoError(t, err)
	})
	play.do(change{name: "unshare", view: together}, func() { require.NoError(t, screen.Unpublish()) })
	play.do(change{name: "leave", view: alone, tone: lowTone, silent: true}, second.Leave)
	return play.changes
}

// watchChanges looks for each change, and complains of those that came late.
func watchChanges(t testing.TB, path string, began time.Time, changes []change) (complaints []string) {
	t.Helper()
	var tiles []recordertest.Tile
	for _, v := range []view{alone, together, sharing} {
		tiles = append(tiles, v...)
	}
	read := recordertest.ReadTiles(t, path, tiles...)
	for i, tile := range tiles {
		late := latencies(recordertest.Frames(read[i]), began)
		least, middle, most := spread(late)
		t.Logf("%v: %d pictures, %v to %v late, median %v", tile.Shown, len(late), least, most, middle)
	}
	tones := recordertest.ToneLevels(t, path, lowTone)[0]
	for i, c := range changes {
		from, at := c.asked.Sub(began), c.when.Sub(began)
		until := read[0][len(read[0])-1].PTS
		if i+1 < len(changes) {
			until = changes[i+1].asked.Sub(began)
		}
		seen := firstFrame(read, tiles, c, from, until) - at
		heard := firstTone(tones, c, from) - at
		t.Logf("%s at %v (asked %v before): seen after %v, heard after %v", c.name, at.Round(time.Millisecond),
			(at - from).Round(time.Millisecond), seen.Round(time.Millisecond), heard.Round(time.Millisecond))
		for what, late := range map[string]time.Duration{"seen": seen, "heard": heard} {
			if late > atOnce() {
				complaints = append(complaints, fmt.Sprintf("%s is %s after %v", c.name, what, late))
			}
		}
	}
	return complaints
}

// never is when something comes that does not.
const never = time.Hour

// settled is for how many pictures a view must stay.
const settled = 6

// firstFrame gives when after a change the picture is as it should be.
func firstFrame(read [][]recordertest.TileFrame, tiles []recordertest.Tile, c change, from, until time.Duration) time.Duration {
	lasted := 0
	for n, f := range read[0] {
		if f.PTS < from || f.PTS >= until {
			continue
		}
		asWanted := true
		for i, tile := range c.view {
			shown := read[slices.Index(tiles, tile)][n].Counter >= 0
			asWanted = asWanted && shown == (i < len(c.view)-c.hidden)
		}
		lasted++
		if !asWanted {
			lasted = 0
		}
		if lasted == settled {
			return read[0][n-settled+1].PTS
		}
	}
	return never
}

// firstTone gives when after a change the low tone is heard as it should be.
func firstTone(levels []float64, c change, from time.Duration) time.Duration {
	if c.tone == 0 {
		return from
	}
	for i := int(from / recordertest.ToneWindow); i < len(levels); i++ {
		if (levels[i] > 0.05) != c.silent {
			return time.Duration(i+1) * recordertest.ToneWindow
		}
	}
	return never
}
