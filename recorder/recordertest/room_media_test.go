package recordertest_test

import (
	"bytes"
	"encoding/binary"
	"image"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder/recordertest"
)

// put draws the barcode scene at half its size into a picture.
func put(picture []byte, at image.Point, counter int, flash bool) {
	scene := drawBarcode(counter, flash)
	for y := range height / 2 {
		for x := range width / 2 {
			picture[(at.Y+y)*width+at.X+x] = scene[2*y*width+2*x]
		}
	}
}

func tile(x, y int) recordertest.Tile { return recordertest.WholeTile(x, y, width/2, height/2) }

// roomSound is 400 Hz throughout, and 700 Hz from second 1 to second 2.
func roomSound() []byte {
	var pcm bytes.Buffer
	for i := range 48000 * seconds {
		v := 0.2 * math.Sin(2*math.Pi*400*float64(i)/48000)
		if i/48000 == 1 {
			v += 0.1 * math.Sin(2*math.Pi*700*float64(i)/48000)
		}
		_ = binary.Write(&pcm, binary.LittleEndian, int16(v*math.MaxInt16))
	}
	return pcm.Bytes()
}

func TestTilesOfARoomAreReadApart(t *testing.T) {
	const loop = 60
	// The second tile stands still for two pictures in ten, the third one always.
	second := func(i int) int { return i - min(i%10, 2) + 7000 }
	file := encodeRoom(t, roomSound(), func(i int) []byte {
		picture := bytes.Repeat([]byte{0x20}, width*height)
		put(picture, image.Pt(0, 0), i%loop, i%rate < 3)
		put(picture, image.Pt(320, 0), second(i), false)
		put(picture, image.Pt(0, 180), 9, false)
		return picture
	})
	tiles := recordertest.ReadTiles(t, file, tile(0, 0), tile(320, 0), tile(0, 180), tile(320, 180))
	require.Len(t, tiles, 4)
	for i := range rate * seconds {
		assert.Equal(t, i%loop, tiles[0][i].Counter)
		assert.Equal(t, i%rate < 3, tiles[0][i].Flash)
		assert.Equal(t, second(i), tiles[1][i].Counter)
		assert.Equal(t, 9, tiles[2][i].Counter)
		assert.Equal(t, -1, tiles[3][i].Counter)
		assert.InDelta(t, time.Duration(i)*time.Second/rate, tiles[1][i].PTS, float64(time.Millisecond))
	}
	assert.Len(t, recordertest.FlashOnsets(recordertest.Frames(tiles[0])), seconds)

	assert.Empty(t, recordertest.StillSeconds(tiles[0][:rate*seconds-1]))
	assert.Empty(t, recordertest.StillSeconds(tiles[1]))
	for _, still := range tiles[2:] {
		assert.Equal(t, []int{0, 1}, recordertest.StillSeconds(still), "the last second has no end")
	}

	even := recordertest.CadenceOf(recordertest.Frames(tiles[0]), loop)
	assert.Equal(t, recordertest.Cadence{Pairs: rate*seconds - 1}, even)
	halting := recordertest.CadenceOf(recordertest.Frames(tiles[1]), 0)
	assert.Equal(t, recordertest.Cadence{Pairs: rate*seconds - 1, Repeated: 18, Lost: 16, LongestLag: 2}, halting)
	assert.InDelta(t, 18.0/89, halting.RepeatedShare(), 1e-9)
	assert.Equal(t, recordertest.Cadence{Unreadable: rate * seconds}, recordertest.CadenceOf(recordertest.Frames(tiles[3]), 0))
	back := recordertest.CadenceOf([]recordertest.Frame{{Counter: 5}, {Counter: 3}, {Counter: -1}, {Counter: 4}, {Counter: 4}}, loop)
	assert.Equal(t, recordertest.Cadence{Pairs: 2, Repeated: 1, Back: 1, LongestLag: 1, Unreadable: 1}, back)
}

func TestTonesOfARoomAreToldApart(t *testing.T) {
	file := encodeRoom(t, roomSound(), func(int) []byte { return bytes.Repeat([]byte{0x20}, width*height) })
	levels := recordertest.ToneLevels(t, file, 400, 700, 1000)
	windows := int(time.Second / recordertest.ToneWindow)
	require.GreaterOrEqual(t, len(levels[0]), windows*seconds-1)
	for i := 1; i < windows*seconds-1; i++ {
		assert.InDelta(t, 0.2, levels[0][i], 0.01, "window %d", i)
		if i%windows != 0 && i%windows != windows-1 {
			want := 0.0
			if i/windows == 1 {
				want = 0.1
			}
			assert.InDelta(t, want, levels[1][i], 0.01, "window %d", i)
		}
		assert.Less(t, levels[2][i], 0.01, "window %d", i)
	}
}

func TestBeepsAreFoundAmongTones(t *testing.T) {
	var pcm bytes.Buffer
	for i := range 48000 * seconds {
		v := 0.25*math.Sin(2*math.Pi*400*float64(i)/48000) + 0.25*math.Sin(2*math.Pi*1900*float64(i)/48000)
		if i%48000 >= 24000 && i%48000 < 28800 {
			v += 0.3 * math.Sin(2*math.Pi*1000*float64(i-24000)/48000)
		}
		_ = binary.Write(&pcm, binary.LittleEndian, int16(v*math.MaxInt16))
	}
	file := encodeRoom(t, pcm.Bytes(), func(int) []byte { return bytes.Repeat([]byte{0x20}, width*height) })
	onsets := recordertest.BeepOnsetsAmongTones(t, file)
	require.Len(t, onsets, seconds)
	for i, at := range onsets {
		assert.InDelta(t, time.Duration(i)*time.Second+time.Second/2, at, float64(3*time.Millisecond))
	}
}

// A stage is less wide than its camera's picture: the sides are cut off.
func TestTileThatFillsItsPlaceIsRead(t *testing.T) {
	const left, shown = 70, 500
	file := encodeRoom(t, roomSound(), func(i int) []byte {
		scene := drawBarcode(i, i%rate < 3)
		picture := bytes.Repeat([]byte{0xe0}, width*height)
		for y := range height {
			copy(picture[y*width+left:][:shown], scene[y*width+(width-shown)/2:][:shown])
		}
		return picture
	})
	tile := recordertest.FilledTile(left, 0, shown, height)
	assert.Equal(t, image.Rect(0, 0, width, height), tile.Camera)
	for i, f := range recordertest.ReadTiles(t, file, tile)[0] {
		require.Equal(t, i, f.Counter)
		require.Equal(t, i%rate < 3, f.Flash)
	}
	assert.Equal(t, tile, recordertest.CutTile(left, 0, shown, height, width, height))
	high := recordertest.FilledTile(0, 0, 320, 100)
	assert.Equal(t, image.Rect(0, -40, 320, 140), high.Camera)
}

func encodeRoom(t *testing.T, pcm []byte, picture func(i int) []byte) string {
	t.Helper()
	dir := t.TempDir()
	sound := filepath.Join(dir, "sound.pcm")
	require.NoError(t, os.WriteFile(sound, pcm, 0o600))
	var raw bytes.Buffer
	for i := range rate * seconds {
		raw.Write(picture(i))
	}
	file := filepath.Join(dir, "recording.mp4")
	cmd := exec.Command("ffmpeg", strings.Fields("-loglevel error -f rawvideo -pix_fmt gray -s 640x360 -r 30 -i pipe:0 "+
		"-f s16le -ar 48000 -ac 1 -i "+sound+" -c:v libx264 -preset veryfast -b:v 1500k -pix_fmt yuv420p -c:a aac -b:a 128k "+file)...)
	cmd.Stdin = &raw
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return file
}
