package pipeline

import "time"

// vsync is how often Chrome draws: without a monitor it counts 60 a second by
// itself, in a phase of its own.
const vsync = time.Second / 60

// phase finds out when within a vsync a display is painted, and from that when
// it should be looked at. A picture that is taken while Chrome paints shows, by
// luck, the last frame or the next: of a video as fast as the recording, one frame is
// then recorded twice and the next one never. It belongs to one goroutine.
type phase struct {
	bins [phaseBins]float64
	sum  float64
}

const (
	phaseBins = 32
	// phaseMemory is how many paints count; older ones fade. A page that is moved by
	// a hiccup to another phase is followed within seconds.
	phaseMemory = 120
	// phaseEnough is how many paints it takes to say anything.
	phaseEnough = 20
	// phaseNoise is the share of paints below which a bin counts as quiet.
	phaseNoise = 0.025
	// phaseAhead is how long before the next paint to look: paints are often late,
	// and never early.
	phaseAhead = 3 * time.Millisecond
)

// painted notes a paint.
func (p *phase) painted(at time.Duration) {
	for i := range p.bins {
		p.bins[i] *= 1 - 1.0/phaseMemory
	}
	p.sum = p.sum*(1-1.0/phaseMemory) + 1
	p.bins[int64(at%vsync)*phaseBins/int64(vsync)]++
}

// calm gives the time after the beginning of a vsync at which to look. ok is
// false while nothing is painted, or all the time.
func (p *phase) calm() (at time.Duration, ok bool) {
	if p.sum < phaseEnough {
		return 0, false
	}
	end, longest := 0, 0
	for i, run := 0, 0; i < 2*phaseBins && run < phaseBins; i++ { // twice round: a run may go over the end
		if p.bins[i%phaseBins] >= phaseNoise*p.sum {
			run = 0
			continue
		}
		run++
		if run > longest {
			end, longest = i+1, run
		}
	}
	quiet := time.Duration(longest) * vsync / phaseBins
	if quiet < 2*time.Millisecond {
		return 0, false
	}
	at = time.Duration(end)*vsync/phaseBins - min(phaseAhead, quiet/2)
	return (at + vsync) % vsync, true
}

// steer gives by how much to move the times of capture, which are whole vsyncs
// when they are not moved. It moves on from now by as little as it can, and never
// further than sound and picture may be apart.
func steer(now, calm time.Duration) time.Duration {
	next := calm
	for next-now > vsync/2 {
		next -= vsync
	}
	for now-next > vsync/2 {
		next += vsync
	}
	switch {
	case next > steerMost:
		next -= vsync
	case next < -steerMost:
		next += vsync
	}
	if (next - now).Abs() < steerLeast {
		return now
	}
	return next
}

const (
	steerMost  = 3 * vsync / 4
	steerLeast = 1500 * time.Microsecond
)
