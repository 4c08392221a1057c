package templates_test

import (
	"context"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/pipeline"
	"tapedeck/recorder"
	"tapedeck/recorder/rehearsal"
)

var update = flag.Bool("update", false, "write the pictures of testdata/golden anew")

// still is an encoder whose pictures do not move and whose sound is silent.
type still struct{ pipeline.ClipEncoder }

func (e still) EncodePictures(ctx context.Context, c recorder.PictureClip) ([]recorder.ClipSample, error) {
	c.Draw = drawnOnce(c.Draw)
	c.KeyEvery = 2
	return e.ClipEncoder.EncodePictures(ctx, c)
}

// drawnOnce gives all pictures the looks of the first, which is drawn once: drawing is slow
// with the race detector.
func drawnOnce(draw func(n int, i420 []byte)) func(n int, i420 []byte) {
	var first []byte
	return func(_ int, i420 []byte) {
		if first == nil {
			draw(0, i420)
			first = slices.Clone(i420)
		}
		copy(i420, first)
	}
}

func (e still) EncodeSound(ctx context.Context, c recorder.SoundClip) ([]recorder.ClipSample, error) {
	clear(c.Samples)
	return e.ClipEncoder.EncodeSound(ctx, c)
}

// TestPictures compares what the page shows in all its states, at three sizes,
// with pictures of testdata/golden that somebody has looked at.
//
//	go test ./templates -run TestPictures -update
func TestPictures(t *testing.T) {
	t.Parallel()
	r := startRooms(t)
	fillRooms(t, r)
	for _, size := range []image.Point{{1280, 720}, {1920, 1080}, {720, 1280}} {
		t.Run(fmt.Sprintf("%dx%d", size.X, size.Y), func(t *testing.T) {
			t.Parallel()
			v := open(t, size)
			identity := fmt.Sprintf("EG_%d", size.X)
			for _, room := range []struct {
				name       string
				layouts    []string
				parameters []string
			}{
				{"alone", []string{"grid", "participant"}, []string{"identity", "ada"}},
				{"people", []string{"grid", "grid-light", "speaker", "single-speaker-light", "audio-light", "audio"}, nil},
				{"screen", []string{"grid", "speaker-light", "single-speaker", "participant"}, []string{"identity", "s0"}},
				{"crowd", []string{"grid", "speaker-light", "audio"}, nil},
				{"nobody", []string{"speaker"}, nil},
			} {
				v.watch(r, room.name, identity, room.layouts[0], room.parameters...)
				for i, layout := range room.layouts {
					if i > 0 {
						r.change(t, room.name, identity, layout)
					}
					t.Run(room.name+" "+layout, func(t *testing.T) { v.compare(t) })
				}
				assert.Empty(t, v.console(), room.name)
			}
		})
	}
}

// fillRooms brings people into the rooms: with and without camera, muted and
// not, speaking, sharing a screen, and more than there are places.
func fillRooms(t *testing.T, r *rooms) {
	t.Helper()
	studio := rehearsal.NewStudio(still{})
	person := func(name string, number int) *rehearsal.Clip {
		clip, err := studio.Pictures(within(t, patience), rehearsal.Presenter(name, number), rehearsal.Format{Width: 960, Height: 540, Framerate: 5})
		require.NoError(t, err)
		return clip
	}
	silence, err := studio.Sound(within(t, patience), rehearsal.Tone(440))
	require.NoError(t, err)
	screen, err := studio.Pictures(within(t, patience), rehearsal.Screen("Quarterly figures"), rehearsal.Format{Width: 1280, Height: 720, Framerate: 5})
	require.NoError(t, err)
	ada, ali := person("Ada", 0), person("Ali", 2)
	listen := func(g *guest) *rehearsal.Track {
		track, err := g.PublishMicrophone(silence)
		require.NoError(t, err)
		return track
	}

	g := r.join(t, "alone", "ada", "Ada Lovelace")
	g.camera(ada)
	listen(g)

	g = r.join(t, "people", "p0", "Ada Lovelace")
	g.camera(ada)
	listen(g)
	r.join(t, "people", "p1", "山田太郎").speak()
	r.join(t, "people", "p2", "محمد علي").camera(ali)
	listen(r.join(t, "people", "p3", "क्षितिज शर्मा"))
	listen(r.join(t, "people", "p4", "👩🏽‍🚀 Zoë")).Mute()

	g = r.join(t, "screen", "s0", "Ada Lovelace")
	g.camera(ada)
	g.screen(screen)
	listen(g)
	g = r.join(t, "screen", "s1", "محمد علي")
	g.camera(ali)
	g.speak()
	r.join(t, "screen", "s2", "Grace Hopper")

	for i := range 52 {
		g := r.join(t, "crowd", fmt.Sprintf("c%02d", i), fmt.Sprintf("Guest %d", i+1))
		switch i {
		case 0:
			g.camera(ada)
		case 1:
			g.camera(ali)
			g.speak()
		}
	}
	_, err = r.api.CreateRoom(within(t, patience), &livekit.CreateRoomRequest{Name: "nobody"})
	require.NoError(t, err)
}

// compare awaits the picture that was kept under the test's name.
func (v *viewer) compare(t *testing.T) {
	t.Helper()
	outer := v.t
	v.t = t
	defer func() { v.t = outer }()
	path := filepath.Join("testdata", "golden", goldenName(t)+".jpg")
	if *update {
		writeGolden(t, path, reduce(v.settled(2500*time.Millisecond)))
		return
	}
	file, err := os.Open(path)
	require.NoError(t, err, "write it with -update, and look at it")
	defer file.Close()
	kept, err := jpeg.Decode(file)
	require.NoError(t, err)
	golden := rgba(kept)
	v.await(func(picture image.Image) string { return difference(reduce(picture), golden, picture.Bounds().Dx()) })
}

// settled gives the page's picture once it has not changed for so long.
func (v *viewer) settled(unchanged time.Duration) image.Image {
	v.t.Helper()
	last := v.picture()
	since := time.Now()
	for time.Since(since) < unchanged {
		next := v.picture()
		if difference(reduce(next), reduce(last), 0) != "" {
			since = time.Now()
		}
		last = next
	}
	return last
}

// goldenName is WIDTHxHEIGHT and the state, from the test's name.
func goldenName(t *testing.T) string {
	t.Helper()
	dir, state := filepath.Split(t.Name())
	return state + "-" + filepath.Base(dir)
}

func writeGolden(t *testing.T, path string, picture image.Image) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	file, err := os.Create(path)
	require.NoError(t, err)
	defer file.Close()
	require.NoError(t, jpeg.Encode(file, picture, &jpeg.Options{Quality: 85}))
}

// reduce makes a picture so small that a moved pixel of a letter does not count:
// a half, or a third of a large one.
func reduce(picture image.Image) *image.RGBA {
	factor := 2
	if picture.Bounds().Dx() > 1280 {
		factor = 3
	}
	return mean(picture, factor)
}

// mean gives one pixel for each square of pixels.
func mean(picture image.Image, side int) *image.RGBA {
	bounds, large := picture.Bounds(), rgba(picture)
	small := image.NewRGBA(image.Rect(0, 0, bounds.Dx()/side, bounds.Dy()/side))
	for y := range small.Bounds().Dy() {
		for x := range small.Bounds().Dx() {
			var sum [3]uint32
			for i := range side * side {
				p := large.Pix[large.PixOffset(bounds.Min.X+x*side+i%side, bounds.Min.Y+y*side+i/side):]
				sum[0], sum[1], sum[2] = sum[0]+uint32(p[0]), sum[1]+uint32(p[1]), sum[2]+uint32(p[2])
			}
			n := uint32(side * side)
			small.SetRGBA(x, y, color.RGBA{uint8(sum[0] / n), uint8(sum[1] / n), uint8(sum[2] / n), 255})
		}
	}
	return small
}

// rgba gives a picture's pixels, as Chrome's pictures have them already.
func rgba(picture image.Image) *image.RGBA {
	if same, ok := picture.(*image.RGBA); ok {
		return same
	}
	bounds := picture.Bounds()
	all := image.NewRGBA(bounds)
	draw.Draw(all, bounds, picture, bounds.Min, draw.Src)
	return all
}

// difference says where two reduced pictures differ, in pixels of a page so many
// pixels wide; empty when they do not. Areas of 8 x 8 are compared by their mean:
// a font's new release moves letters within them.
func difference(a, b image.Image, width int) string {
	const side, apart, most = 8, 20, 4
	if a.Bounds() != b.Bounds() {
		return fmt.Sprintf("the size is %v, want %v", a.Bounds().Size(), b.Bounds().Size())
	}
	coarseA, coarseB := mean(a, side), mean(b, side)
	var where image.Rectangle
	count := 0
	for y := range coarseA.Bounds().Dy() {
		for x := range coarseA.Bounds().Dx() {
			p, q := coarseA.RGBAAt(x, y), coarseB.RGBAAt(x, y)
			if max(off(uint32(p.R)<<8, q.R), off(uint32(p.G)<<8, q.G), off(uint32(p.B)<<8, q.B)) >= apart {
				where = where.Union(image.Rect(x, y, x+1, y+1))
				count++
			}
		}
	}
	if count <= most {
		return ""
	}
	scale := side * width / a.Bounds().Dx()
	return fmt.Sprintf("%d of %d areas differ, within %v", count, coarseA.Bounds().Dx()*coarseA.Bounds().Dy(),
		image.Rectangle{Min: where.Min.Mul(scale), Max: where.Max.Mul(scale)})
}
