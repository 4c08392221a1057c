package recordertest

import (
	"encoding/binary"
	"math"
	"testing"
	"time"
)

// ToneWindow is how finely ToneLevels looks at time. Tones have to be 4/ToneWindow
// = 40 Hz apart to be told from each other.
const ToneWindow = 100 * time.Millisecond

// ToneLevels gives, of each frequency, its amplitude in each window of a recording's
// sound; full scale is 1. It needs ffmpeg.
func ToneLevels(t testing.TB, file string, hertz ...float64) [][]float64 {
	t.Helper()
	samples := readSound(t, file)
	const window = int(ToneWindow * sampleRate / time.Second)
	levels := make([][]float64, len(hertz))
	for i, h := range hertz {
		for at := 0; at+window <= len(samples); at += window {
			levels[i] = append(levels[i], goertzel(samples[at:at+window], h))
		}
	}
	return levels
}

// BeepOnsetsAmongTones is BeepOnsets where others are heard, too, as long as their
// tones are a multiple of 100 Hz from the beeps': over a window of so many of their
// periods they come to nothing. It is exact to about 2 ms.
func BeepOnsetsAmongTones(t testing.TB, file string) []time.Duration {
	t.Helper()
	return toneOnsets(readSound(t, file), sampleRate/100)
}

// readSound decodes a file's sound to one channel; gaps are silence.
func readSound(t testing.TB, file string) []float64 {
	t.Helper()
	out, _ := ffmpeg(t, "-copyts", "-i", file, "-map", "0:a:0",
		"-af", "aresample=48000:async=1:min_hard_comp=0.01:first_pts=0",
		"-f", "s16le", "-ac", "1", "-ar", "48000", "pipe:1")
	samples := make([]float64, len(out)/2)
	for i := range samples {
		samples[i] = float64(int16(binary.LittleEndian.Uint16(out[2*i:]))) / math.MaxInt16
	}
	return samples
}

// goertzel gives the amplitude of one frequency in a Hann window, whose side lobes
// keep loud neighbours out.
func goertzel(samples []float64, hertz float64) float64 {
	step := 2 * math.Pi * hertz / sampleRate
	coefficient := 2 * math.Cos(step)
	hann := 2 * math.Pi / float64(len(samples))
	var s1, s2 float64
	for i, x := range samples {
		s1, s2 = x*(0.5-0.5*math.Cos(hann*float64(i)))+coefficient*s1-s2, s1
	}
	power := s1*s1 + s2*s2 - coefficient*s1*s2
	// The window halves the sum.
	return 2 * math.Sqrt(max(power, 0)) / (0.5 * float64(len(samples)))
}
