package rehearsal

import (
	"fmt"
	"image/color"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var sizes = [][2]int{{320, 180}, {640, 360}, {360, 640}, {302, 170}}

// looked gives the pictures a test looks at: a second, and the end of the loop.
func looked(framerate int) []int {
	var all []int
	for n := range framerate {
		all = append(all, n)
	}
	for n := (PictureLoop - 1) * framerate; n < PictureLoop*framerate; n++ {
		all = append(all, n)
	}
	return all
}

func TestScenesMoveInEveryPictureAndComeRound(t *testing.T) {
	for _, scene := range []Scene{Presenter("Ada", 0), Presenter("A name that is far too long for any tile whatever its size", 7), Presenter("", 1), Screen("Figures"), Measuring()} {
		for _, size := range append(sizes, [2]int{16, 16}) {
			width, height := size[0], size[1]
			name := fmt.Sprintf("%s %q %dx%d", scene.kind, scene.name, width, height)
			const framerate = 30
			paint := scene.painter(width, height, framerate)
			var last []byte
			still := 0
			pictures := looked(framerate)
			for _, n := range pictures {
				picture := make([]byte, width*height*3/2)
				paint(n, picture)
				if last != nil && string(last) == string(picture) {
					still++
				}
				last = picture
			}
			first, again := make([]byte, width*height*3/2), make([]byte, width*height*3/2)
			paint(0, first)
			scene.painter(width, height, framerate)(0, again)
			assert.Equal(t, again, first, "%s: a picture depends on its number alone", name)
			if width >= 300 && scene.kind != kindScreen {
				assert.Zero(t, still, name)
			}
			assert.Less(t, still, len(pictures)*9/10, name)
			assert.NotEqual(t, first, last, name)
		}
	}
}

func TestPresentersAreToldApart(t *testing.T) {
	const width, height, presenters = 64, 36, 9
	var colours [presenters]ink
	for number := range presenters {
		picture := make([]byte, width*height*3/2)
		Presenter("", number).painter(width, height, 30)(0, picture)
		c := canvasOn(picture, width, height)
		colours[number] = ink{int(c.y[0]), int(c.u[0]), int(c.v[0])}
		for other, is := range colours[:number] {
			distance := max(abs(is.y-int(c.y[0])), abs(is.u-int(c.u[0])), abs(is.v-int(c.v[0])))
			assert.Greater(t, distance, 5, "%d and %d", number, other)
		}
	}
}

func abs(n int) int { return max(n, -n) }

// The barcode as recordertest's page draws it, read from the middle of its cells.
func TestMeasuringCountsAndFlashes(t *testing.T) {
	for _, size := range sizes {
		width, height := size[0], size[1]
		for _, framerate := range []int{25, 30} {
			paint := Measuring().painter(width, height, framerate)
			picture := make([]byte, width*height*3/2)
			lit := 0
			pictures := looked(framerate)
			for _, n := range pictures {
				paint(n, picture)
				var words [3]int
				for row := range words {
					for column := range 16 {
						x, y := (2*column+1)*width/64, (2*row+1)*width/64
						words[row] <<= 1
						switch picture[y*width+x] {
						case 235:
							words[row] |= 1
						case 16:
						default:
							require.Fail(t, "neither black nor white", "picture %d row %d column %d", n, row, column)
						}
					}
				}
				require.Equal(t, n, words[0]<<16|words[1])
				require.Equal(t, words[2], words[0]^words[1]^0xa5c3)
				flash := picture[(height/2)*width+width*7/8] == 235
				require.Equal(t, float64(n%framerate)/float64(framerate) < 0.1, flash, "picture %d at %d", n, framerate)
				if flash {
					lit++
				}
			}
			require.InDelta(t, len(pictures)/10, lit, 3)
		}
	}
}

func TestColoursAreBT601InLimitedRange(t *testing.T) {
	for c, want := range map[color.RGBA]ink{
		{0, 0, 0, 255}:       {16, 128, 128},
		{255, 255, 255, 255}: {235, 128, 128},
		{255, 0, 0, 255}:     {81, 90, 240},
		{0, 255, 0, 255}:     {145, 54, 34},
		{0, 0, 255, 255}:     {41, 240, 110},
	} {
		assert.Equal(t, want, inkOf(c), "%v", c)
	}
}

func TestClockShowsTheLastDigitOfTheSecondsAndTenths(t *testing.T) {
	for n, want := range map[int]string{0: "0.0", 2: "0.0", 3: "0.1", 29: "0.9", 30: "1.0", 299: "9.9"} {
		assert.Equal(t, want, clockText(n, 30))
	}
}
