package templates_test

import (
	"image"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// withoutFonts is a configuration of fontconfig that knows all of the system's
// fonts but those that have the letters of these scripts.
const withoutFonts = `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
  <include>/etc/fonts/fonts.conf</include>
  <selectfont><rejectfont>
    <glob>*CJK*</glob><glob>*Arabic*</glob><glob>*Kufi*</glob><glob>*Naskh*</glob><glob>*Nastaliq*</glob>
    <glob>*Devanagari*</glob><glob>*Emoji*</glob><glob>*DejaVu*</glob><glob>*droid*</glob><glob>*wqy*</glob><glob>*freefont*</glob>
  </rejectfont></selectfont>
</fontconfig>`

// TestNamesOfEveryScriptAreDrawn compares names with the same names on a system
// that lacks the fonts for all but the first: that one must look the same, and
// the others must not, or they were boxes all along.
func TestNamesOfEveryScriptAreDrawn(t *testing.T) {
	r := startRooms(t)
	names := []string{"Ada Lovelace", "山田太郎", "محمد علي", "क्षितिज शर्मा", "😀🚀🎉"}
	for i, name := range names {
		g := r.join(t, "talk", string(rune('a'+i)), name)
		if i == 0 {
			g.speak() // the page then starts with the first sound
		}
	}
	with := nameTiles(t, r, "EG_with", len(names))
	// Chrome reads it as another user, who cannot pass t.TempDir.
	dir, err := os.MkdirTemp("", "tapedeck-fonts-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	file := filepath.Join(dir, "fonts.conf")
	require.NoError(t, os.WriteFile(file, []byte(withoutFonts), 0o644))
	t.Setenv("FONTCONFIG_FILE", file)
	without := nameTiles(t, r, "EG_without", len(names))
	for i, name := range names {
		changed := differing(with[i], without[i])
		if i == 0 {
			assert.Zero(t, changed, "%s needs no other font", name)
			continue
		}
		assert.Greater(t, changed, 60, "%s looks the same without its font: %s and %s", name, keepAs(t, with[i], "with"), keepAs(t, without[i], "without"))
	}
}

// nameTiles opens the page in a browser of its own and cuts the tiles of a grid
// of five out of it.
func nameTiles(t *testing.T, r *rooms, identity string, count int) []image.Image {
	t.Helper()
	v := open(t, wide)
	v.watch(r, "talk", identity, "grid")
	picture, ok := v.settled(time.Second).(*image.RGBA)
	require.True(t, ok)
	places := []image.Rectangle{
		image.Rect(8, 44, 424, 356), image.Rect(432, 44, 848, 356), image.Rect(856, 44, 1272, 356),
		image.Rect(220, 364, 636, 676), image.Rect(644, 364, 1060, 676),
	}
	tiles := make([]image.Image, count)
	for i := range tiles {
		tiles[i] = picture.SubImage(places[i])
	}
	return tiles
}

// differing counts the pixels that are not the same in two pictures.
func differing(a, b image.Image) int {
	count := 0
	for y := a.Bounds().Min.Y; y < a.Bounds().Max.Y; y++ {
		for x := a.Bounds().Min.X; x < a.Bounds().Max.X; x++ {
			if a.At(x, y) != b.At(x, y) {
				count++
			}
		}
	}
	return count
}
