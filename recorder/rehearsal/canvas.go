package rehearsal

import (
	"image"
	"image/color"
)

// canvas is a picture in I420, its rows not padded.
type canvas struct {
	width, height int
	y, u, v       []byte
}

// canvasOn draws into a buffer of width*height*3/2 bytes. Both are even.
func canvasOn(i420 []byte, width, height int) canvas {
	luma, chroma := width*height, width*height/4
	return canvas{width, height, i420[:luma], i420[luma : luma+chroma], i420[luma+chroma : luma+2*chroma]}
}

func newCanvas(width, height int) canvas {
	return canvasOn(make([]byte, width*height*3/2), width, height)
}

// copyFrom takes over a picture of the same size.
func (c canvas) copyFrom(other canvas) {
	copy(c.y, other.y)
	copy(c.u, other.u)
	copy(c.v, other.v)
}

// ink is a colour as I420 has it.
type ink struct{ y, u, v int }

// inkOf converts by BT.601 to limited range, which receivers of WebRTC assume.
func inkOf(c color.RGBA) ink {
	r, g, b := float64(c.R), float64(c.G), float64(c.B)
	round := func(f float64) int { return int(f + 0.5) }
	return ink{
		round(16 + (65.481*r+128.553*g+24.966*b)/255),
		round(128 + (-37.797*r-74.203*g+112*b)/255),
		round(128 + (112*r-93.786*g-18.214*b)/255),
	}
}

// fill paints a rectangle.
func (c canvas) fill(r image.Rectangle, with ink) {
	c.paint(r, with, func(int, int) int { return 255 })
}

// mask paints where the mask, its bounds moved to at, lets it through.
func (c canvas) mask(m *image.Alpha, at image.Point, with ink) {
	corner := m.Bounds().Min
	c.paint(m.Bounds().Sub(corner).Add(at), with, func(x, y int) int {
		return int(m.AlphaAt(corner.X+x-at.X, corner.Y+y-at.Y).A)
	})
}

// disc paints a circle with a smooth edge.
func (c canvas) disc(x, y, radius float64, with ink) {
	r := image.Rect(int(x-radius)-1, int(y-radius)-1, int(x+radius)+2, int(y+radius)+2)
	inner, outer := max(0, radius-0.5)*max(0, radius-0.5), (radius+0.5)*(radius+0.5)
	c.paint(r, with, func(px, py int) int {
		dx, dy := float64(px)+0.5-x, float64(py)+0.5-y
		// Linear in the square of the distance: over one pixel nobody sees the difference.
		return int(255 * min(max((outer-dx*dx-dy*dy)/(outer-inner), 0), 1))
	})
}

// paint blends a colour in: coverage says how much of it each pixel of the
// rectangle gets, 0 to 255, and a pixel of chroma the mean of its four.
func (c canvas) paint(r image.Rectangle, with ink, coverage func(x, y int) int) {
	r = r.Intersect(image.Rect(0, 0, c.width, c.height))
	for y := r.Min.Y &^ 1; y < r.Max.Y; y += 2 {
		for x := r.Min.X &^ 1; x < r.Max.X; x += 2 {
			sum := 0
			for _, p := range [4]image.Point{{X: x, Y: y}, {X: x + 1, Y: y}, {X: x, Y: y + 1}, {X: x + 1, Y: y + 1}} {
				if !p.In(r) {
					continue
				}
				if amount := coverage(p.X, p.Y); amount > 0 {
					sum += amount
					blend(&c.y[p.Y*c.width+p.X], with.y, amount)
				}
			}
			if sum > 0 {
				i := y/2*(c.width/2) + x/2
				blend(&c.u[i], with.u, sum/4)
				blend(&c.v[i], with.v, sum/4)
			}
		}
	}
}

func blend(old *byte, with, amount int) {
	*old = byte((int(*old)*(255-amount) + with*amount + 127) / 255)
}
