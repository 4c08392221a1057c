package rehearsal

import (
	"math"

	"tapedeck/recorder"
)

// Sound is what a microphone hears. Two equal sounds sound the same.
type Sound struct {
	kind    soundKind
	hertz   int
	turn    int
	turners int
}

type soundKind string

const (
	kindTone  soundKind = "tone"
	kindBeeps soundKind = "beeps"
	kindTurn  soundKind = "turn"
)

// TurnSeconds is how long everybody speaks before it is the next one's turn.
const TurnSeconds = 4

// beepHertz is what recordertest listens for.
const beepHertz = 1000

// Tone is a steady tone of a whole number of hertz, up to 20 000.
func Tone(hertz int) Sound { return Sound{kind: kindTone, hertz: hertz} }

// Beeps is 1 kHz for a tenth of each second, from its beginning on: with Measuring's
// flashes.
func Beeps() Sound { return Sound{kind: kindBeeps} }

// Turn speaks, in syllables of a voice of so many hertz, in its turn of so many and
// is silent otherwise. turn counts from 0.
func Turn(turn, turners, hertz int) Sound {
	return Sound{kind: kindTurn, turn: turn, turners: max(1, turners), hertz: hertz}
}

// seconds is how long the loop is.
func (s Sound) seconds() int {
	if s.kind == kindTurn {
		return s.turners * TurnSeconds
	}
	return 1
}

// samples gives the loop.
func (s Sound) samples() []float32 {
	all := make([]float32, s.seconds()*recorder.ClipRate)
	for i := range all {
		at := float64(i) / recorder.ClipRate
		switch s.kind {
		case kindBeeps:
			if i < recorder.ClipRate/10 {
				all[i] = float32(0.5 * math.Sin(2*math.Pi*beepHertz*at))
			}
		case kindTurn:
			if i/(TurnSeconds*recorder.ClipRate) == s.turn%s.turners {
				all[i] = voice(at, float64(s.hertz))
			}
		default:
			all[i] = float32(0.25 * math.Sin(2*math.Pi*float64(s.hertz)*at))
		}
	}
	return all
}

// voice is a tone with overtones in four syllables a second.
func voice(at, hertz float64) float32 {
	var sum float64
	for overtone := 1.0; overtone <= 5; overtone++ {
		sum += math.Sin(2*math.Pi*hertz*overtone*at) / overtone
	}
	syllable := 0.5 - 0.5*math.Cos(2*math.Pi*4*at)
	return float32(0.25 * (0.2 + 0.8*syllable) * sum)
}
