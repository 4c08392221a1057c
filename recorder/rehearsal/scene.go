package rehearsal

import (
	"fmt"
	"image"
	"image/color"
	"math"
)

// PictureLoop is how long scenes are, in seconds: they come round with the last
// digit of the wall clock's seconds.
const PictureLoop = 10

// Scene is what a camera or a screen shows. Two equal scenes look the same.
type Scene struct {
	kind sceneKind
	name string
	hue  int
}

type sceneKind string

const (
	kindPresenter sceneKind = "presenter"
	kindScreen    sceneKind = "screen"
	kindMeasuring sceneKind = "measuring"
)

// Presenter is somebody in front of a background of their own colour, with their
// name and a clock: the last digit of the wall clock's seconds, and tenths. number
// chooses the colour.
func Presenter(name string, number int) Scene { return Scene{kindPresenter, name, number} }

// Screen is a shared screen: a page of text that scrolls, under a title and the clock.
func Screen(title string) Scene { return Scene{kind: kindScreen, name: title} }

// Measuring counts its pictures in a barcode from 0 to PictureLoop times the
// framerate less one, and flashes white for a tenth of each second, from its
// beginning on. It has the geometry of recordertest's barcode page, so that the
// same readers read it.
func Measuring() Scene { return Scene{kind: kindMeasuring} }

// painter gives what draws picture n of the scene.
func (s Scene) painter(width, height, framerate int) func(n int, i420 []byte) {
	switch s.kind {
	case kindMeasuring:
		return measuringPainter(width, height, framerate)
	case kindScreen:
		return s.screenPainter(width, height, framerate)
	default:
		return s.presenterPainter(width, height, framerate)
	}
}

// presenterPainter keeps what stands still, and draws on it a head that sways, the
// clock, and a bar that crosses the picture once a second.
func (s Scene) presenterPainter(width, height, framerate int) func(n int, i420 []byte) {
	back, light := inkOf(colourOf(s.hue, 0.45)), inkOf(colourOf(s.hue, 0.85))
	white := inkOf(color.RGBA{255, 255, 255, 255})
	side := min(width, height)
	base := newCanvas(width, height)
	base.fill(image.Rect(0, 0, width, height), back)
	name := letter(s.name, width*9/10, side/6)
	base.mask(name, image.Pt((width-name.Bounds().Dx())/2, side/24), white)
	clock := digitsOf(side / 7)
	clockTop := side/24 + side/6
	return func(n int, i420 []byte) {
		c := canvasOn(i420, width, height)
		c.copyFrom(base)
		turn := 2 * math.Pi * float64(n) / float64(2*framerate)
		x := float64(width)/2 + float64(side)*0.09*math.Sin(turn)
		y := float64(height) - float64(side)*(0.36+0.02*math.Cos(2*turn))
		c.disc(float64(width)/2+float64(side)*0.03*math.Sin(turn), float64(height)+float64(side)*0.06, float64(side)*0.28, light)
		c.disc(x, y, float64(side)*0.13, light)
		clock.write(c, clockText(n, framerate), width/2, clockTop, white)
		// Wide enough to be seen at every size; it leaves on the right as it comes in on the left.
		bar, at := max(4, width/16), n%framerate*width/framerate
		for _, left := range []int{at, at - width} {
			c.fill(image.Rect(left, height-max(4, side/40), left+bar, height), white)
		}
	}
}

// clockText is the last digit of the seconds and the tenths.
func clockText(n, framerate int) string {
	tenths := n * 10 / framerate
	return fmt.Sprintf("%d.%d", tenths/10%10, tenths%10)
}

// colourOf goes round the circle of colours in steps that keep neighbours apart.
func colourOf(number int, lightness float64) color.RGBA {
	const golden = 0.6180339887
	_, hue := math.Modf(0.58 + golden*float64(number))
	channel := func(shift float64) uint8 {
		_, at := math.Modf(hue + shift)
		// A cosine between a floor and the lightness.
		return uint8(255 * lightness * (0.62 + 0.38*math.Cos(2*math.Pi*at)))
	}
	return color.RGBA{channel(0), channel(2.0 / 3), channel(1.0 / 3), 255}
}

// screenPainter scrolls lines of text, drawn as bars, by one page a loop.
func (s Scene) screenPainter(width, height, framerate int) func(n int, i420 []byte) {
	paper, text := inkOf(color.RGBA{245, 245, 240, 255}), inkOf(color.RGBA{70, 80, 95, 255})
	head, white := inkOf(color.RGBA{30, 60, 110, 255}), inkOf(color.RGBA{255, 255, 255, 255})
	side := min(width, height)
	top := side / 6
	title := letter(s.name, width*7/10, top*2/3)
	clock := digitsOf(top * 2 / 3)
	pitch := max(4, side/18)
	rows := (height-top)/pitch + 1
	return func(n int, i420 []byte) {
		c := canvasOn(i420, width, height)
		c.fill(image.Rect(0, 0, width, height), paper)
		// Whole pages of rows come round, so that the end meets the beginning.
		scrolled := n * rows * pitch / (PictureLoop * framerate)
		for i := range 2 * rows {
			y := top + i*pitch - scrolled
			length := 40 + (i%rows)*37%55 // of a hundred
			c.fill(image.Rect(width/20, max(top, y), width/20+width*9/10*length/100, max(top, y+pitch*3/5)), text)
		}
		c.fill(image.Rect(0, 0, width, top), head)
		c.mask(title, image.Pt(width/20, top/6), white)
		clock.write(c, clockText(n, framerate), width-2*clock.advance, top/6, white)
	}
}

// The barcode of recordertest: 16 x 3 cells of 1/32 of the width each, the counter's
// upper half, its lower half and a check word; the flash is in the right quarter.
const (
	barcodeColumns = 16
	barcodeCheck   = 0xa5c3
)

func measuringPainter(width, height, framerate int) func(n int, i420 []byte) {
	black, grey := inkOf(color.RGBA{A: 255}), inkOf(color.RGBA{64, 64, 64, 255})
	white := inkOf(color.RGBA{255, 255, 255, 255})
	base := newCanvas(width, height)
	base.fill(image.Rect(0, 0, width, height), grey)
	edge := func(cell int) int { return (cell*width + barcodeColumns) / (2 * barcodeColumns) }
	clock := digitsOf(min(width, height) / 4)
	return func(n int, i420 []byte) {
		c := canvasOn(i420, width, height)
		c.copyFrom(base)
		high, low := n>>16, n&0xffff
		for row, word := range []int{high, low, high ^ low ^ barcodeCheck} {
			for column := range barcodeColumns {
				with := black
				if word>>(barcodeColumns-1-column)&1 == 1 {
					with = white
				}
				c.fill(image.Rect(edge(column), edge(row), edge(column+1), edge(row+1)), with)
			}
		}
		with := black
		if n%framerate*10 < framerate {
			with = white
		}
		c.fill(image.Rect(width*3/4, 0, width, height), with)
		clock.write(c, clockText(n, framerate), width*3/8, height/2, white)
	}
}
