package rehearsal

import (
	"image"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// letter draws text as a mask that is no larger than the box: as high as fits,
// and as wide.
func letter(text string, width, height int) *image.Alpha {
	size := float64(height)
	face := faceOf(size)
	if advance := font.MeasureString(face, text).Ceil(); advance > width {
		size *= float64(width) / float64(advance)
		face = faceOf(size)
	}
	return drawText(face, text)
}

// faceOf gives Go Bold with so many pixels from the top of its letters to their
// lowest point.
func faceOf(pixels float64) font.Face {
	parsed, err := opentype.Parse(gobold.TTF)
	if err != nil {
		panic("rehearsal: the embedded font: " + err.Error()) // a bug of ours
	}
	face, err := opentype.NewFace(parsed, &opentype.FaceOptions{Size: max(pixels*0.8, 4), DPI: 72, Hinting: font.HintingFull})
	if err != nil {
		panic("rehearsal: the embedded font: " + err.Error())
	}
	return face
}

func drawText(face font.Face, text string) *image.Alpha {
	metrics := face.Metrics()
	mask := image.NewAlpha(image.Rect(0, 0, max(1, font.MeasureString(face, text).Ceil()), (metrics.Ascent + metrics.Descent).Ceil()))
	d := font.Drawer{Dst: mask, Src: image.Opaque, Face: face, Dot: fixed.Point26_6{Y: metrics.Ascent}}
	d.DrawString(text)
	return mask
}

// digits are the masks of a clock's characters, all of one width so that the
// clock stands still.
type digits struct {
	masks   map[rune]*image.Alpha
	advance int
}

func digitsOf(height int) digits {
	face := faceOf(float64(height))
	d := digits{masks: map[rune]*image.Alpha{}}
	for _, r := range "0123456789." {
		d.masks[r] = drawText(face, string(r))
		d.advance = max(d.advance, d.masks[r].Bounds().Dx())
	}
	return d
}

// write paints text of these characters with its middle at x and its top at y.
func (d digits) write(c canvas, text string, x, y int, with ink) {
	x -= len(text) * d.advance / 2
	for _, r := range text {
		m := d.masks[r]
		c.mask(m, image.Pt(x+(d.advance-m.Bounds().Dx())/2, y), with)
		x += d.advance
	}
}
