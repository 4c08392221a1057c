package recordertest

import (
	"fmt"
	"image"
	"strings"
	"testing"
	"time"
)

// A tile's picture is also reduced to points, few enough that noise of the
// encoding averages out, and enough that a moving hand moves some.
const (
	tileColumns = frameWidth
	tileRows    = 9
	tileHeight  = frameHeight + tileRows
)

// Tile is where a recording shows a participant, in pixels.
type Tile struct {
	// Shown is the part of the picture that is the participant's.
	Shown image.Rectangle
	// Camera is where the whole of the camera's picture would be, when less is shown.
	Camera image.Rectangle
}

// WholeTile shows all of a camera's picture.
func WholeTile(x, y, width, height int) Tile {
	r := image.Rect(x, y, x+width, y+height)
	return Tile{Shown: r, Camera: r}
}

// FilledTile shows what is left of a 16:9 picture that fills a rectangle and is
// centred in it, as object-fit: cover does.
func FilledTile(x, y, width, height int) Tile {
	t := WholeTile(x, y, width, height)
	if wide := (height*16 + 4) / 9; wide > width {
		t.Camera.Min.X -= (wide - width) / 2
		t.Camera.Max.X = t.Camera.Min.X + wide
	} else {
		high := (width*9 + 8) / 16
		t.Camera.Min.Y -= (high - height) / 2
		t.Camera.Max.Y = t.Camera.Min.Y + high
	}
	return t
}

// CutTile shows the middle of a camera's picture at its own size.
func CutTile(x, y, width, height, cameraWidth, cameraHeight int) Tile {
	t := WholeTile(x, y, width, height)
	t.Camera.Min = t.Camera.Min.Add(image.Pt(width-cameraWidth, height-cameraHeight).Div(2))
	t.Camera.Max = t.Camera.Min.Add(image.Pt(cameraWidth, cameraHeight))
	return t
}

// code is where the measuring scene's barcode is, and how many of its columns, on
// the left, are not shown. They are the upper bits of words that are small.
func (t Tile) code() (r image.Rectangle, hidden int) {
	r = image.Rectangle{t.Camera.Min, t.Camera.Min.Add(image.Pt(t.Camera.Dx()/2, t.Camera.Dx()*barcodeRows/32))}
	// Of a cell only the middle counts.
	const margin = 8
	cell := t.Camera.Dx() / (2 * barcodeColumns)
	if cut := t.Shown.Min.X - t.Camera.Min.X - cell/margin; cut > 0 {
		hidden = (cut + cell - 1) / cell
	}
	return r, hidden
}

func (t Tile) flash() image.Rectangle {
	w := t.Camera.Dx()
	return image.Rect(t.Camera.Min.X+w*13/16, t.Camera.Min.Y, t.Camera.Min.X+w*15/16, t.Camera.Max.Y).Intersect(t.Shown)
}

// TileFrame is what one tile shows in one picture.
type TileFrame struct {
	// Frame reads the tile as a picture of the measuring scene.
	Frame
	// Points are brightnesses of the tile, row by row.
	Points []byte
}

// ReadTiles looks at tiles of a recording. It gives all pictures of each tile, in
// order of presentation. It needs ffmpeg.
func ReadTiles(t testing.TB, file string, tiles ...Tile) [][]TileFrame {
	t.Helper()
	out, log := ffmpeg(t, "-copyts", "-i", file, "-filter_complex", tileGraph(tiles),
		"-map", "[o]", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "pipe:1")
	stamps := readStamps(t, log)
	size := tileColumns * tileHeight * len(tiles)
	if len(stamps) < len(out)/size {
		t.Fatalf("%s: %d pictures but %d time stamps", file, len(out)/size, len(stamps))
	}
	read := make([][]TileFrame, len(tiles))
	for n := range len(out) / size {
		for i, tile := range tiles {
			part := out[n*size+i*tileColumns*tileHeight:][:tileColumns*tileHeight]
			code, points := part[:frameWidth*frameHeight], part[frameWidth*frameHeight:]
			_, hidden := tile.code()
			f := TileFrame{Frame: readFrame(code, hidden), Points: points}
			f.PTS = stamps[n]
			read[i] = append(read[i], f)
		}
	}
	return read
}

// tileGraph puts barcode, flash and points of every tile below each other.
func tileGraph(tiles []Tile) string {
	var cut, names strings.Builder
	// Cameras reach out of the picture where they are not shown.
	const around = 1024
	crop := func(r image.Rectangle, width, height int) {
		n := strings.Count(names.String(), "[")
		fmt.Fprintf(&cut, "[s%d]crop=%d:%d:%d:%d:exact=1,scale=%d:%d:flags=area[t%[1]d];",
			n, r.Dx(), r.Dy(), around+r.Min.X, around+r.Min.Y, width, height)
		fmt.Fprintf(&names, "[t%d]", n)
	}
	for _, t := range tiles {
		code, _ := t.code()
		crop(code, frameWidth, barcodeRows*cellPoints)
		crop(t.flash(), frameWidth, cellPoints)
		crop(t.Shown, tileColumns, tileRows)
	}
	n := 3 * len(tiles)
	return fmt.Sprintf("[0:v:0]format=gray,pad=iw+%d:ih+%[1]d:%d:%[2]d,split=%d%s;%s%svstack=%[3]d,showinfo=checksum=0[o]",
		2*around, around, n, strings.ReplaceAll(names.String(), "[t", "[s"), cut.String(), names.String())
}

// Frames gives what the measuring scene shows in a tile, for FlashOnsets.
func Frames(tile []TileFrame) []Frame {
	frames := make([]Frame, len(tile))
	for i, f := range tile {
		frames[i] = f.Frame
	}
	return frames
}

// moved is by how much one point's brightness must change for the picture to count
// as another one. Encoding the same picture again moves it by less than half.
const moved = 24

// StillSeconds lists the whole seconds of a recording in which nothing in a tile
// changed. A second that is cut off at the end does not count.
func StillSeconds(tile []TileFrame) []int {
	if len(tile) == 0 {
		return []int{0}
	}
	length := tile[len(tile)-1].PTS
	first, changed := map[int]TileFrame{}, map[int]bool{}
	for _, f := range tile {
		second := int(f.PTS / time.Second)
		if start, seen := first[second]; seen {
			changed[second] = changed[second] || f.differs(start)
		} else {
			first[second] = f
		}
	}
	var still []int
	for second := 0; time.Duration(second+1)*time.Second <= length; second++ {
		if !changed[second] {
			still = append(still, second)
		}
	}
	return still
}

func (f TileFrame) differs(other TileFrame) bool {
	for i, p := range f.Points {
		if d := int(p) - int(other.Points[i]); d >= moved || d <= -moved {
			return true
		}
	}
	return false
}

// Cadence says how evenly a tile shows the pictures of its publisher, who counts
// them. Publisher and recording have the same frame rate, so every picture of the
// recording should show the count one above the one before: the same count is a
// repeated picture, for the publisher has moved on by then, and a leap is a picture
// that was never shown. Pictures that cannot be read, such as those before the
// publisher is there, are no part of it.
type Cadence struct {
	Pairs      int // neighbours that could both be read
	Repeated   int // with the same count
	Back       int // with a lower count than the one before
	Lost       int // pictures of the publisher that were leapt over
	LongestLag int // the most pictures of the recording in a row with the same count, after the first
	Unreadable int
}

// RepeatedShare is between 0 and 1.
func (c Cadence) RepeatedShare() float64 { return float64(c.Repeated) / float64(max(c.Pairs, 1)) }

func (c Cadence) String() string {
	return fmt.Sprintf("%.2f %% repeated of %d, %d at once, %d lost, %d back, %d unreadable",
		100*c.RepeatedShare(), c.Pairs, c.LongestLag, c.Lost, c.Back, c.Unreadable)
}

// CadenceOf compares each picture with the one before. The publisher counts from 0
// to loop-1 and begins anew; 0 is no loop.
func CadenceOf(frames []Frame, loop int) Cadence {
	c, lag := Cadence{}, 0
	for i, f := range frames {
		if f.Counter < 0 {
			c.Unreadable++
		}
		if i == 0 || f.Counter < 0 || frames[i-1].Counter < 0 {
			lag = 0
			continue
		}
		c.Pairs++
		ahead := f.Counter - frames[i-1].Counter
		if loop > 0 && ahead < -loop/2 {
			ahead += loop
		}
		switch {
		case ahead == 0:
			c.Repeated++
			lag++
			c.LongestLag = max(c.LongestLag, lag)
			continue
		case ahead < 0:
			c.Back++
		default:
			c.Lost += ahead - 1
		}
		lag = 0
	}
	return c
}
