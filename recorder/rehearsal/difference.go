package rehearsal

import (
	"image"
	"math"
)

// Difference is by how much two pictures of one size differ, 0 to 1: the mean
// over 32 x 18 areas of the difference of their brightness. What moves within a
// tile hardly counts.
func Difference(a, b image.Image) float64 {
	const columns, rows = 32, 18
	var sum float64
	for row := range rows {
		for column := range columns {
			sum += math.Abs(brightness(a, column, row, columns, rows) - brightness(b, column, row, columns, rows))
		}
	}
	return sum / (columns * rows)
}

// brightness is the mean of an area, 0 to 1.
func brightness(picture image.Image, column, row, columns, rows int) float64 {
	size := picture.Bounds()
	left, right := size.Min.X+column*size.Dx()/columns, size.Min.X+(column+1)*size.Dx()/columns
	top, bottom := size.Min.Y+row*size.Dy()/rows, size.Min.Y+(row+1)*size.Dy()/rows
	var sum, n float64
	for y := top; y < bottom; y++ {
		for x := left; x < right; x++ {
			r, g, b, _ := picture.At(x, y).RGBA()
			sum += (0.299*float64(r) + 0.587*float64(g) + 0.114*float64(b)) / math.MaxUint16
			n++
		}
	}
	if n == 0 {
		return 0
	}
	return sum / n
}
