package rehearsal

import (
	"image"
	"image/color"
	"image/draw"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestDifference(t *testing.T) {
	picture := func(white ...image.Rectangle) image.Image {
		p := image.NewRGBA(image.Rect(0, 0, 320, 180))
		draw.Draw(p, p.Bounds(), image.NewUniform(color.Black), image.Point{}, draw.Src)
		for _, r := range white {
			draw.Draw(p, r, image.NewUniform(color.White), image.Point{}, draw.Src)
		}
		return p
	}
	black, white := picture(), picture(image.Rect(0, 0, 320, 180))
	assert.Zero(t, Difference(black, black))
	assert.InDelta(t, 1, Difference(black, white), 1e-6)
	assert.InDelta(t, 0.5, Difference(black, picture(image.Rect(0, 0, 160, 180))), 1e-6)
	assert.InDelta(t, 0, Difference(picture(image.Rect(1, 1, 3, 3)), picture(image.Rect(5, 5, 7, 7))), 1e-6, "what moves a little does not count")
	assert.Zero(t, Difference(image.NewRGBA(image.Rect(0, 0, 4, 4)), image.NewRGBA(image.Rect(0, 0, 4, 4))), "smaller than the areas")
}
