package faults

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// What is missing decides over every row, so it is looked at by itself.
func TestMissing(t *testing.T) {
	const s = time.Second
	even := func(from, to time.Duration) (at []time.Duration) {
		for p := from; p < to; p += s / fps {
			at = append(at, p)
		}
		return at
	}
	assert.Zero(t, missing(even(0, 20*s), 0, 20*s, everyPicture, usualPicture))
	assert.InDelta(t, 20*s, missing(nil, 0, 20*s, everyPicture, usualPicture), float64(s/4), "nothing was recorded")
	assert.InDelta(t, 5*s, missing(append(even(0, 8*s), even(13*s, 20*s)...), 0, 20*s, everyPicture, usualPicture), float64(s/4), "a gap")
	assert.InDelta(t, 4*s, missing(even(0, 16*s), 0, 20*s, everyPicture, usualPicture), float64(s/4), "the end")
	assert.InDelta(t, 3*s, missing(even(3*s, 30*s), 0, 20*s, everyPicture, usualPicture), float64(s/4), "the beginning; not what came after the stop")
	assert.Zero(t, missing(append(even(9*s, 20*s), even(0, 10*s)...), 0, 20*s, everyPicture, usualPicture), "files in any order, a piece twice")
	beeps := []time.Duration{s, 2 * s, 3 * s, 7 * s, 8 * s}
	assert.Equal(t, 3*s, missing(beeps, 0, 9*s, everyBeep, usualBeep), "three beeps are missing")

	a, b := take{picture: even(0, 10*s)}, take{picture: even(7*s, 20*s)}
	assert.InDelta(t, 3*s, overlap([]take{a, b}), float64(s/4))
	assert.Equal(t, len(even(0, 10*s))+len(even(7*s, 20*s)), within([]take{a, b}, 0, 20*s), "none of these pictures is the same")
	assert.Equal(t, len(even(0, 10*s)), within([]take{a, a}, 0, 20*s))
}
