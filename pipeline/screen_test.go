package pipeline_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jezek/xgb"
	"github.com/jezek/xgb/xproto"
	"github.com/stretchr/testify/require"
)

// clock is a display that shows in each picture when it was drawn, as the barcode page
// writes numbers, in ms since it began. Once a second there is a beep of 1 kHz.
type clock struct {
	*rig
	began time.Time
	drawn atomic.Int64 // what it shows, ms

	mu    sync.Mutex
	draws []int64 // all that it showed
}

func newClock(t *testing.T) *clock {
	return newClockWith(t, "wave=ticks freq=1000 sine-periods-per-tick=100 volume=0.5")
}

// newClockWith sounds another way.
func newClockWith(t *testing.T, sound string) *clock {
	c := &clock{rig: &rig{t: t, dir: t.TempDir()}, began: time.Now()}
	c.startX("640x360x24")
	c.startPulse()
	c.player("audiotestsrc is-live=true %s ! audio/x-raw,rate=48000,channels=2 ! pulsesink provide-clock=false sync=false server=%s",
		sound, c.inputs.PulseServer)
	x, err := xgb.NewConnDisplay(c.inputs.Display)
	require.NoError(t, err)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		c.draw(x, quit)
	}()
	t.Cleanup(func() {
		close(quit)
		<-done
		x.Close()
	})
	return c
}

// draw draws 120 times a second until quit is closed.
func (c *clock) draw(x *xgb.Conn, quit <-chan struct{}) {
	screen := xproto.Setup(x).DefaultScreen(x)
	pen, err := xproto.NewGcontextId(x)
	if err != nil {
		return
	}
	root := xproto.Drawable(screen.Root)
	xproto.CreateGC(x, pen, root, 0, nil)
	const cell, columns, rows = rigWidth / 32, 16, 3
	picture := make([]byte, cell*columns*cell*rows*4)
	tick := time.NewTicker(time.Second / 120)
	defer tick.Stop()
	for {
		ms := uint32(time.Since(c.began).Milliseconds()) //nolint:gosec // seconds
		for row, word := range []uint32{ms >> 16, ms & 0xffff, ms>>16 ^ ms&0xffff ^ 0xa5c3} {
			for i := range cell * cell * columns {
				grey := byte(word>>(columns-1-i%(cell*columns)/cell)&1) * 255
				at := (row*cell*cell*columns + i) * 4
				picture[at], picture[at+1], picture[at+2] = grey, grey, grey
			}
		}
		xproto.PutImage(x, xproto.ImageFormatZPixmap, root, pen, cell*columns, cell*rows, 0, 0, 0, screen.RootDepth, picture)
		x.Sync()
		c.drawn.Store(int64(ms))
		c.mu.Lock()
		c.draws = append(c.draws, int64(ms))
		c.mu.Unlock()
		select {
		case <-tick.C:
		case <-quit:
			return
		}
	}
}

// due gives how many of the pictures that are taken from one time of the clock to another
// show something new, and the longest that nothing was drawn: machines have other things to do.
func (c *clock) due(from, to int64) (pictures int, gap int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	slot, before := int64(-1), from
	for _, at := range c.draws {
		if at < from || at > to {
			continue
		}
		gap, before = max(gap, at-before), at
		if s := at * 30 / 1000; s != slot {
			slot = s
			pictures++
		}
	}
	return pictures, gap
}
