package e2e

import (
	"fmt"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// apart is how far a tile's picture and its sound may be apart at a moment of a recording. Until the page has
// measured how long Chrome holds the sound, a second at most, its pictures may be ahead of it; how far depends
// on how busy the machine is at the start, which a short recording is not to judge.
func apart(at time.Duration) time.Duration {
	if at < time.Second && !long() {
		return 150 * time.Millisecond
	}
	return 80 * time.Millisecond
}

// long asks for a minute of each recording: `make test-rooms`.
func long() bool { return os.Getenv("TAPEDECK_LONG") != "" }

func lengthOf(short time.Duration) time.Duration {
	if long() {
		return time.Minute
	}
	return short
}

// repeats says how many of a tile's pictures may be repeated, and from when on. The
// page takes up to three seconds to step off the beat on which Chrome drops pictures:
// nothing in a minute, but a lot of a few seconds. A short recording on a busy machine
// only tells gross faults; make test-rooms, on a quiet one, holds to the bar.
func repeats() (most float64, from time.Duration) {
	if long() {
		return 0.02, 0
	}
	return 0.15, 3 * time.Second
}

// shot is what a layout shows of a room of three at 1280x720.
type shot struct {
	layout string
	tiles  map[string]recordertest.Tile
	tones  []int // that are heard beside the beeps
	args   []string
	short  time.Duration
}

// TestRoomLayouts records a room of three in each layout, and looks for each of
// them in the picture and in the sound.
func TestRoomLayouts(t *testing.T) {
	s := startRooms(t)
	for _, a := range []actor{flasher(), low(), high()} {
		s.enter(t, "talk", a)
	}
	all := []int{lowTone, highTone}
	for _, shot := range []shot{
		{layout: "grid", tones: all, short: 9 * time.Second, tiles: map[string]recordertest.Tile{
			// Nearly as large as the cameras' pictures, which are cut rather than scaled.
			"first": recordertest.CutTile(18, 9, 618, 347, 640, 360), "second": recordertest.CutTile(644, 9, 618, 347, 640, 360),
			"third": recordertest.CutTile(331, 364, 618, 347, 640, 360),
		}},
		{layout: "speaker", tones: all, short: 9 * time.Second, tiles: map[string]recordertest.Tile{
			"stage": recordertest.FilledTile(8, 8, 1018, 704),
			"upper": recordertest.FilledTile(1034, 222, 238, 134), "lower": recordertest.FilledTile(1034, 364, 238, 134),
		}},
		{layout: "single-speaker", tones: all, short: 8 * time.Second, tiles: map[string]recordertest.Tile{
			"stage": recordertest.WholeTile(0, 0, 1280, 720),
		}},
		{layout: "participant", short: 8 * time.Second, args: []string{"--identity", "flasher"}, tiles: map[string]recordertest.Tile{
			"stage": recordertest.WholeTile(0, 0, 1280, 720),
		}},
	} {
		t.Run(shot.layout, func(t *testing.T) {
			h := newHome(t)
			judged(t, func() []string { return h.shoot(s, shot) })
		})
	}
	t.Run("audio", func(t *testing.T) { recordAudioRoom(t, s) })
}

// shoot records a layout and gives what is wrong with its timing.
func (h *home) shoot(s *roomServer, shot shot) (complaints []string) {
	length := lengthOf(shot.short)
	args := append([]string{"--layout", shot.layout, "--duration", length.String()}, shot.args...)
	take := h.recordRoom(s, "talk", "out.mp4", args...)
	take.end(length+30*time.Second, recorder.EndMaxDuration, recorder.StatusLimitReached)
	take.requireWhole(time.Unix(0, take.rec.StartedAt).Add(length), time.Second/2)
	complaints = append(hearTones(h.t, take.path, shot.tones), probePartial(h.t, take.path).gaps(h.t, 30)...)

	beeps := recordertest.BeepOnsetsAmongTones(h.t, take.path)
	require.NotEmpty(h.t, beeps)
	if !aSecond(len(beeps), length) {
		complaints = append(complaints, fmt.Sprintf("%d beeps in %v", len(beeps), length))
	}
	var tiles []recordertest.Tile
	var names []string
	for name, tile := range shot.tiles {
		names, tiles = append(names, name), append(tiles, tile)
	}
	for i, tile := range recordertest.ReadTiles(h.t, take.path, tiles...) {
		for _, c := range judgeTile(h.t, tile, beeps, length) {
			complaints = append(complaints, names[i]+": "+c)
		}
	}
	return complaints
}

// judgeTile looks at one tile's pictures; what depends on the machine is a complaint.
func judgeTile(t testing.TB, tile []recordertest.TileFrame, beeps []time.Duration, length time.Duration) (complaints []string) {
	t.Helper()
	if still := recordertest.StillSeconds(tile); len(still) > 0 {
		complaints = append(complaints, fmt.Sprintf("nothing changes in the seconds %v", still))
	}
	frames := recordertest.Frames(tile)
	flashes := recordertest.FlashOnsets(frames)
	require.NotEmpty(t, flashes)
	if !aSecond(len(flashes), length) {
		complaints = append(complaints, fmt.Sprintf("%d flashes in %v", len(flashes), length))
	}
	behind := behindBeeps(flashes, beeps)
	low, middle, high := spread(behind)
	most, from := repeats()
	first := slices.IndexFunc(frames, func(f recordertest.Frame) bool { return f.PTS >= from })
	cadence := recordertest.CadenceOf(frames, camLoop)
	t.Logf("picture behind sound: %v to %v, median %v, first %v; %v", low, high, middle, behind[0], cadence)
	for i, b := range behind {
		if b.Abs() > apart(flashes[i]) {
			complaints = append(complaints, fmt.Sprintf("the flash at %v is %v behind its beep", flashes[i], b))
		}
	}
	if cadence.Back > 0 {
		// Somebody else's picture took the place, a little behind.
		t.Logf("the count went back %d times", cadence.Back)
	}
	if settled := recordertest.CadenceOf(frames[first:], camLoop); settled.RepeatedShare() > most {
		complaints = append(complaints, fmt.Sprintf("%v, from %v on", settled, from))
	}
	if cadence.Unreadable >= camRate {
		complaints = append(complaints, fmt.Sprintf("%d pictures show no tile: all are there in the first second", cadence.Unreadable))
	}
	return complaints
}

// aSecond tells whether there was one of something in each second.
func aSecond(n int, length time.Duration) bool {
	return math.Abs(float64(n)-length.Seconds()) <= 1.5
}

// hearTones complains of tones that are not heard nearly all the time. No other may be
// heard at all.
func hearTones(t testing.TB, path string, tones []int) (complaints []string) {
	t.Helper()
	hertz := []float64{lowTone, highTone, 3100}
	for i, levels := range recordertest.ToneLevels(t, path, hertz...) {
		heard := 0
		for _, level := range levels {
			if level > 0.05 {
				heard++
			}
		}
		share := float64(heard) / float64(len(levels))
		switch {
		case !slices.Contains(tones, int(hertz[i])):
			assert.Zero(t, heard, "%g Hz is not heard", hertz[i])
		case share < 0.95:
			complaints = append(complaints, fmt.Sprintf("%g Hz is heard %.0f %% of the time", hertz[i], 100*share))
			assert.Greater(t, share, 0.5, "%g Hz is heard", hertz[i])
		}
	}
	return complaints
}

// recordAudioRoom records the layout without cameras: sound, and a wave that moves.
func recordAudioRoom(t *testing.T, s *roomServer) {
	h := newHome(t)
	length := lengthOf(5 * time.Second)
	take := h.recordRoom(s, "talk", "out.mp4", "--layout", "audio", "--duration", length.String())
	take.end(length+30*time.Second, recorder.EndMaxDuration, recorder.StatusLimitReached)
	take.requireWhole(time.Unix(0, take.rec.StartedAt).Add(length), time.Second/2)
	hearTones(t, take.path, []int{lowTone, highTone})
	tiles := recordertest.ReadTiles(t, take.path, recordertest.WholeTile(0, 504, 1280, 216), recordertest.WholeTile(0, 0, 1280, 504))
	assert.Empty(t, recordertest.StillSeconds(tiles[0]), "the wave moves")
	for _, f := range tiles[1] {
		require.Negative(t, f.Counter, "no camera is shown")
	}
}
