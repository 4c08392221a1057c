package pipeline

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/go-gst/go-gst/gst"
	"github.com/stretchr/testify/require"
)

func picture(width, height int, at func(x, y int) (r, g, b byte)) *gst.Buffer {
	data := make([]byte, 0, width*height*4)
	for y := range height {
		for x := range width {
			r, g, b := at(x, y)
			data = append(data, b, g, r, 0x5a)
		}
	}
	return gst.NewBufferFromBytes(data)
}

func TestNeutralsStayNeutral(t *testing.T) {
	gstInit()
	const w, h = 34, 6 // no multiple of any vector
	for grey := range 256 {
		out := toI420(picture(w, h, func(int, int) (byte, byte, byte) { return byte(grey), byte(grey), byte(grey) }), w, h).Bytes()
		stride, half := 36, 20
		require.Len(t, out, stride*h+half*h)
		want := byte(math.Round(16 + float64(grey)*219/255))
		for y := range h {
			for x := range w {
				require.Equal(t, want, out[y*stride+x])
			}
		}
		for y := range h { // h/2 rows of U, then of V
			for x := range w / 2 {
				require.EqualValues(t, 128, out[stride*h+y*half+x], "grey %d", grey)
			}
		}
	}
}

func TestColoursAreBT709(t *testing.T) {
	gstInit()
	const w, h = 64, 4
	random := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // a test wants the same numbers each time
	for range 200 {
		r, g, b := byte(random.IntN(256)), byte(random.IntN(256)), byte(random.IntN(256))
		out := toI420(picture(w, h, func(int, int) (byte, byte, byte) { return r, g, b }), w, h).Bytes()
		fr, fg, fb := float64(r)/255, float64(g)/255, float64(b)/255
		luma := 0.2126*fr + 0.7152*fg + 0.0722*fb
		require.InDelta(t, 16+219*luma, out[5], 0.6)
		require.InDelta(t, 128+224*(fb-luma)/1.8556, out[w*h+3], 0.6)
		require.InDelta(t, 128+224*(fr-luma)/1.5748, out[w*h+w*h/4+3], 0.6)
	}
	require.Nil(t, toI420(picture(8, 2, func(int, int) (byte, byte, byte) { return 0, 0, 0 }), 16, 16))
}

// BenchmarkConvert is one frame of 1280x720.
func BenchmarkConvert(b *testing.B) {
	gstInit()
	in := picture(1280, 720, func(x, y int) (byte, byte, byte) { return byte(x), byte(y), byte(x * y) })
	for b.Loop() {
		freeBuffer(toI420(in, 1280, 720))
	}
}
