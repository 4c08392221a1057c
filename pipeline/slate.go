package pipeline

import "math"

// Colours of the slate in BT.709, limited range: a dark grey with a little blue, and a
// light grey.
const (
	slateDark, slateLight = 36, 190
	slateU, slateV        = 130, 126
)

// drawSlate draws what streams show in a pause, in I420: the sign for it in a ring. It
// needs no font, and people of any language know it.
func drawSlate(width, height int) []byte {
	luma := width * height
	picture := make([]byte, luma*3/2)
	for i := range picture {
		switch {
		case i < luma:
			picture[i] = slateDark
		case i < luma*5/4:
			picture[i] = slateU
		default:
			picture[i] = slateV
		}
	}
	radius := float64(min(width, height)) / 6
	reach := int(radius) + 2
	for y := -reach; y < reach; y++ {
		for x := -reach; x < reach; x++ {
			if at := (height/2+y)*width + width/2 + x; at >= 0 && at < luma && reach <= width/2 {
				picture[at] += byte(math.Round(slateInk((float64(x)+0.5)/radius, (float64(y)+0.5)/radius, 1/radius) * (slateLight - slateDark)))
			}
		}
	}
	return picture
}

// slateInk gives how much of the pixel at a place is part of the sign, 0 to 1. The ring
// has a radius of 1, and a pixel is so large.
func slateInk(x, y, pixel float64) float64 {
	ring := math.Abs(math.Hypot(x, y)-0.95) - 0.05
	bar := math.Max(math.Abs(math.Abs(x)-0.22)-0.11, math.Abs(y)-0.42)
	return math.Min(1, math.Max(0, 0.5-math.Min(ring, bar)/pixel))
}
