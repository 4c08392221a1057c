package pipeline

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pausedRun is a recording without media: pictures and blocks are taken as they would
// be, at random paces, while somebody pauses and resumes.
type pausedRun struct {
	t              *testing.T
	p              *pauses
	random         *rand.Rand
	pictures       int64
	blocks         int64
	kept, live     []int64 // captured numbers of the pictures that files, and streams, got
	sound, streams []int64 // the same of blocks
}

func (r *pausedRun) capture(d time.Duration) {
	for end := r.p.picture.at(r.pictures) + d; r.p.picture.at(r.pictures) < end; {
		at := r.p.takePicture(r.pictures)
		if at.fate == fateKept {
			require.EqualValues(r.t, len(r.kept), at.kept, "kept without a gap")
			r.kept = append(r.kept, r.pictures)
		}
		if at.fate != fateSkipped {
			require.EqualValues(r.t, len(r.live), at.live, "streams have no gap")
			r.live = append(r.live, r.pictures)
		}
		r.pictures++
		// The sound is 42 ms ahead, and up to 20 ms late.
		ahead := time.Duration(42-r.random.Int64N(20)) * time.Millisecond
		for r.p.block.at(r.blocks+1) < r.p.picture.at(r.pictures)+ahead {
			r.block()
		}
	}
}

func (r *pausedRun) block() {
	block := slices.Repeat([]float32{1}, blockFrames*channels)
	at := r.p.takeBlock(r.blocks, block)
	if at.fate == fateKept {
		require.EqualValues(r.t, len(r.sound), at.kept)
		r.sound = append(r.sound, r.blocks)
	}
	if at.fate != fateSkipped {
		require.EqualValues(r.t, len(r.streams), at.live)
		r.streams = append(r.streams, r.blocks)
	}
	r.blocks++
}

// requireTogether checks that what was captured together is kept together, for files and
// for streams, but for so much: away from cuts, which are rounded.
func (r *pausedRun) requireTogether(pictures, blocks []int64, most time.Duration) {
	r.t.Helper()
	within := func(list []int64, n int) bool {
		return n > 0 && n+1 < len(list) && list[n+1] == list[n]+1 && list[n-1] == list[n]-1
	}
	checked := 0
	for n, captured := range pictures {
		at := r.p.picture.at(int64(n))
		b := int(r.p.block.nearest(at))
		if !within(pictures, n) || !within(blocks, b) {
			continue
		}
		checked++
		apart := r.p.block.at(blocks[b]) - r.p.block.at(int64(b)) - (r.p.picture.at(captured) - at)
		require.LessOrEqual(r.t, apart.Abs(), most, "picture %d, captured as %d", n, captured)
	}
	if r.p.picture.units > 10 {
		require.Greater(r.t, checked, len(pictures)/4)
	}
}

// requireTranslated checks that what the streams' encoders get is found again.
func (r *pausedRun) requireTranslated(live, kept []int64, picture bool) {
	r.t.Helper()
	var found []int64
	for n, captured := range live {
		k, _, ok := r.p.kept(int64(n), picture)
		if ok {
			require.EqualValues(r.t, len(found), k)
			found = append(found, captured)
		}
	}
	require.Equal(r.t, kept, found)
}

func TestPausesKeepPictureAndSoundTogether(t *testing.T) {
	t.Parallel()
	for _, fps := range []int{1, 7, 24, 30, 60} {
		for _, live := range []bool{true, false} {
			r := &pausedRun{t: t, p: newPauses(fps, 48000, true, true), random: rand.New(rand.NewPCG(1, uint64(fps)))} //nolint:gosec // a test wants the same numbers each time
			span := func() time.Duration {
				return time.Duration(r.random.Int64N(int64(5*time.Second))) / time.Duration(1+r.random.Int64N(50))
			}
			wanted := time.Duration(0)
			for range 100 {
				r.capture(span())
				r.p.begin(r.p.picture.at(r.pictures), live && r.random.IntN(3) > 0)
				length := span()
				r.capture(length / 2)
				if live && r.random.IntN(2) > 0 {
					r.p.stream()
				}
				r.capture(length / 2)
				r.p.end(r.pictures - 1)
				wanted += length
			}
			r.capture(3 * time.Second)
			require.Less(t, len(r.kept), int(r.pictures))
			require.InDelta(t, wanted, r.p.picture.at(r.pictures-int64(len(r.kept))), float64(wanted/20+100*3*time.Second/time.Duration(fps)))
			const halfBlock = 11 * time.Millisecond
			r.requireTogether(r.kept, r.sound, halfBlock)
			r.requireTogether(r.live, r.streams, 3*halfBlock)
			r.requireTranslated(r.live, r.kept, true)
			r.requireTranslated(r.streams, r.sound, false)
			for n, captured := range r.kept {
				require.Equal(t, r.p.picture.at(captured-int64(n)), r.p.before(r.p.picture.at(int64(n))), "the wall clock's time")
			}
		}
	}
}

func TestPausesThatAreTakenBack(t *testing.T) {
	p := newPauses(30, 48000, true, true)
	p.begin(0, true)
	p.begin(0, true)
	p.end(-1)
	p.end(-1)
	require.Equal(t, place{fateKept, 0, 0, 0}, p.takePicture(0), "before anything was captured")
	block := make([]float32, blockFrames*channels)
	for n := range int64(3) {
		p.takeBlock(n, block)
	}
	p.begin(time.Second, false)
	require.True(t, p.hides(time.Second))
	require.False(t, p.hides(time.Second-1))
	require.Equal(t, fateKept, p.takePicture(1).fate, "the sound is there already")
	from := p.pictures[0].from
	require.Equal(t, fateKept, p.takePicture(from-1).fate)
	require.Equal(t, fateSkipped, p.takePicture(from).fate)
	p.end(from + 5)
	require.False(t, p.hides(time.Second))
	p.begin(2*time.Second, true) // before the end was reached
	require.Len(t, p.pictures, 1)
	require.EqualValues(t, never, p.pictures[0].to)
	require.Equal(t, fateSlate, p.takePicture(from+100).fate)
	p.end(from + 200)
	at := p.takePicture(from + 201)
	require.Equal(t, place{fateKept, from, at.live, 1}, at)
}

// Not a sample of a pause is heard, but for fading.
func TestPausesAreSilent(t *testing.T) {
	p := newPauses(30, 48000, true, true)
	next := int64(0)
	take := func(n int64) (line []float32) {
		for range n {
			block := slices.Repeat([]float32{1}, blockFrames*channels)
			p.takeBlock(next, block)
			for i := 0; i < len(block); i += channels {
				line = append(line, max(block[i], block[i+1]))
			}
			next++
		}
		return line
	}
	line := take(100)
	p.begin(time.Second, true)
	line = append(line, take(100)...)
	p.end(0)
	line = append(line, take(100)...)
	from, to := p.frames(p.pictures[0].from), p.frames(p.pictures[0].to)
	require.Greater(t, from, int64(100*blockFrames))
	for n, s := range line {
		at := int64(n)
		within, outside := at >= from && at <= to, at < from-edgeFrames || at > to+edgeFrames
		if (within && s != 0) || (outside && s != 1) || s < 0 || s > 1 {
			t.Fatalf("frame %d is %v, paused from %d to %d", n, s, from, to)
		}
	}
	require.Less(t, from, int64(104*blockFrames))
}

func TestPausesOfSoundAlone(t *testing.T) {
	p := newPauses(30, 48000, false, true)
	block := make([]float32, blockFrames*channels)
	require.Equal(t, place{fateKept, 0, 0, 0}, p.takeBlock(0, block))
	p.begin(0, false)
	require.Equal(t, fateKept, p.takeBlock(1, block).fate)
	require.Equal(t, fateSkipped, p.takeBlock(2, block).fate)
	p.stream()
	require.Equal(t, fateSkipped, p.takeBlock(3, block).fate)
	require.Equal(t, place{fateSlate, 2, 2, 1}, p.takeBlock(4, block))
	p.end(2)
	require.Equal(t, place{fateSlate, 2, 3, 1}, p.takeBlock(5, block))
	require.Equal(t, place{fateKept, 2, 4, 1}, p.takeBlock(6, block))
	n, first, ok := p.kept(4, false)
	require.True(t, n == 2 && first && ok)
	_, _, ok = p.kept(3, false)
	require.False(t, ok)
}
