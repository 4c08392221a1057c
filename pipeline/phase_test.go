package pipeline

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// paintsAt plays n paints of a page that draws at every second vsync, each late
// by up to jitter, and some of them by a lot.
func paintsAt(p *phase, from int, n int, at, jitter time.Duration, random *rand.Rand) {
	for i := range n {
		late := time.Duration(random.Int64N(int64(jitter) + 1))
		if i%150 == 149 {
			late = time.Duration(random.Int64N(int64(vsync)))
		}
		p.painted(at + late + time.Duration(from+2*i)*vsync)
	}
}

func TestCalmIsBeforeTheNextPaint(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for at := time.Duration(0); at < vsync; at += time.Millisecond {
		var p phase
		_, ok := p.calm()
		assert.False(t, ok, "nothing is painted yet")
		paintsAt(&p, 0, 600, at, 5*time.Millisecond, random)
		calm, ok := p.calm()
		require.True(t, ok)
		before := (at - calm + vsync) % vsync
		assert.InDelta(t, phaseAhead.Seconds(), before.Seconds(), 0.0008, "paints begin at %v, calm is %v", at, calm)
	}
}

func TestPaintsAllOverGiveNoCalm(t *testing.T) {
	var p phase
	paintsAt(&p, 0, 2000, 0, vsync, rand.New(rand.NewPCG(3, 4)))
	_, ok := p.calm()
	assert.False(t, ok)
}

// Chrome's 60 Hz is 16666 µs, and a page that hangs for a moment may go on in
// another phase.
func TestCalmFollowsThePage(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	var p phase
	moved, jumps := time.Duration(0), 0
	for second := range 1200 {
		at := 4*time.Millisecond - time.Duration(second)*40*time.Microsecond
		if second > 600 {
			at += 7 * time.Millisecond
		}
		at = (at%vsync + vsync) % vsync
		paintsAt(&p, 60*second, 30, at, 4*time.Millisecond, random)
		calm, ok := p.calm()
		if !ok {
			continue
		}
		next := steer(moved, calm)
		if (next - moved).Abs() > vsync/2 {
			jumps++
		}
		moved = next
		assert.LessOrEqual(t, moved.Abs(), steerMost)
		if second > 10 && (second < 600 || second > 620) {
			before := ((at-moved)%vsync + vsync) % vsync
			assert.Greater(t, before, time.Millisecond, "second %d", second)
			assert.Less(t, before, 6*time.Millisecond, "second %d", second)
		}
	}
	assert.LessOrEqual(t, jumps, 4, "48 ms of drift are three vsyncs")
}

func TestSteerTakesTheShortWay(t *testing.T) {
	ms := time.Millisecond
	for _, c := range []struct{ now, calm, want time.Duration }{
		{0, 0, 0},
		{0, ms, 0}, // not worth a hitch
		{0, 4 * ms, 4 * ms},
		{0, vsync - 4*ms, -4 * ms},
		{-7 * ms, 8 * ms, 8*ms - vsync},
		{12 * ms, 14 * ms, 14*ms - vsync}, // no further
		{-12 * ms, 2 * ms, 2 * ms},
	} {
		assert.Equal(t, c.want, steer(c.now, c.calm), "%v to %v", c.now, c.calm)
	}
}
