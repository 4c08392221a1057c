package recordertest_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder/recordertest"
)

const (
	width, height = 640, 360
	rate          = 30
	seconds       = 3
)

// drawBarcode is the page's drawing, written down a second time.
func drawBarcode(counter int, flash bool) []byte {
	picture := bytes.Repeat([]byte{0x40}, width*height)
	fill := func(x0, y0, x1, y1 int, white bool) {
		for y := y0; y < y1; y++ {
			for x := x0; x < x1; x++ {
				picture[y*width+x] = 0
				if white {
					picture[y*width+x] = 255
				}
			}
		}
	}
	const cell = width / 32
	for row, word := range []int{counter >> 16, counter & 0xffff, counter>>16 ^ counter&0xffff ^ 0xa5c3} {
		for i := range 16 {
			fill(i*cell, row*cell, (i+1)*cell, (row+1)*cell, word>>(15-i)&1 == 1)
		}
	}
	fill(width*3/4, 0, width, height, flash)
	return picture
}

// beeps is 100 ms of 1 kHz at every whole second.
func beeps() []byte {
	var pcm bytes.Buffer
	for i := range 48000 * seconds {
		v := 0.0
		if i%48000 < 4800 {
			v = 0.5 * math.Sin(2*math.Pi*1000*float64(i)/48000)
		}
		_ = binary.Write(&pcm, binary.LittleEndian, int16(v*math.MaxInt16))
	}
	return pcm.Bytes()
}

func encode(t *testing.T, picture func(i int) []byte) string {
	t.Helper()
	return encodeRoom(t, beeps(), picture)
}

func TestRecordingOfTheBarcodeIsReadBack(t *testing.T) {
	file := encode(t, func(i int) []byte { return drawBarcode(65500+i, i%rate < 3) })

	frames := recordertest.ReadBarcodes(t, file)
	require.Len(t, frames, rate*seconds)
	for i, f := range frames {
		assert.Equal(t, 65500+i, f.Counter)
		assert.Equal(t, i%rate < 3, f.Flash, "frame %d", i)
		assert.InDelta(t, time.Duration(i)*time.Second/rate, f.PTS, float64(time.Millisecond))
	}
	assert.Len(t, recordertest.FlashOnsets(frames), seconds)

	onsets := recordertest.BeepOnsets(t, file)
	require.Len(t, onsets, seconds)
	for i, at := range onsets {
		assert.InDelta(t, time.Duration(i)*time.Second, at, float64(time.Millisecond))
	}
}

func TestPictureWithoutABarcodeHasNoCounter(t *testing.T) {
	file := encode(t, func(int) []byte { return bytes.Repeat([]byte{0x40}, width*height) })
	for _, f := range recordertest.ReadBarcodes(t, file) {
		assert.Equal(t, -1, f.Counter)
		assert.False(t, f.Flash)
	}
}
