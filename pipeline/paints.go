package pipeline

import (
	"io"
	"log"
	"sync"
	"time"

	"github.com/jezek/xgb"
	"github.com/jezek/xgb/damage"
	"github.com/jezek/xgb/xfixes"
	"github.com/jezek/xgb/xproto"

	"tapedeck/recorder"
)

// paints hears of every change of a display, through a connection of its own
// (X Damage extension 1.1).
type paints struct {
	conn *xgb.Conn
	what damage.Damage
}

//nolint:gochecknoglobals // the library's logger belongs to the process
var quietX = sync.OnceFunc(func() { xgb.Logger = log.New(io.Discard, "", 0) })

func openPaints(display string) (*paints, error) {
	quietX()
	conn, err := xgb.NewConnDisplay(display)
	if err != nil {
		return nil, recorder.Errorf(recorder.CodePipeline, "display %s: %w", display, err)
	}
	p := &paints{conn: conn}
	if err := p.subscribe(); err != nil {
		conn.Close()
		return nil, recorder.Errorf(recorder.CodePipeline, "display %s: damage: %w", display, err)
	}
	return p, nil
}

// eventNumbers are the first event numbers of the extension that the library knows: one, where
// all X servers are of one kind.
//
//nolint:gochecknoglobals // as is the library's table of events
var eventNumbers struct {
	sync.Mutex
	known map[byte]bool
}

// initDamage is damage.Init, but for its table of events: that belongs to the process, and may not be
// written while another connection hears of an event.
func initDamage(conn *xgb.Conn) error {
	const name = "DAMAGE"
	reply, err := xproto.QueryExtension(conn, uint16(len(name)), name).Reply()
	if err != nil {
		return err
	}
	eventNumbers.Lock()
	defer eventNumbers.Unlock()
	if reply.Present && eventNumbers.known[reply.FirstEvent] {
		conn.ExtLock.Lock()
		defer conn.ExtLock.Unlock()
		conn.Extensions[name] = reply.MajorOpcode
		return nil
	}
	if err := damage.Init(conn); err != nil {
		return err
	}
	eventNumbers.known = map[byte]bool{reply.FirstEvent: true}
	return nil
}

func (p *paints) subscribe() error {
	if err := initDamage(p.conn); err != nil {
		return err
	}
	if _, err := damage.QueryVersion(p.conn, 1, 1).Reply(); err != nil {
		return err
	}
	id, err := damage.NewDamageId(p.conn)
	if err != nil {
		return err
	}
	p.what = id
	root := xproto.Setup(p.conn).DefaultScreen(p.conn).Root
	return damage.CreateChecked(p.conn, id, xproto.Drawable(root), damage.ReportLevelNonEmpty).Check()
}

// run calls painted at each change until the connection is closed, by us or
// with the display.
func (p *paints) run(painted func()) {
	for {
		event, err := p.conn.WaitForEvent()
		switch {
		case event != nil:
			painted()
			damage.Subtract(p.conn, p.what, xfixes.Region(0), xfixes.Region(0)) // or there would be no other
		case err == nil:
			return
		}
	}
}

// aim keeps the times of capture clear of the display's paints. It belongs to
// the goroutine of paints.run.
type aim struct {
	phase  phase
	moved  time.Duration // of the times of capture, which are whole vsyncs without
	looked time.Duration
	move   func(by time.Duration)
}

// aimEvery is how often the times of capture are looked at.
const aimEvery = 250 * time.Millisecond

func (a *aim) painted(now time.Duration) {
	a.phase.painted(now)
	if now-a.looked < aimEvery {
		return
	}
	a.looked = now
	calm, ok := a.phase.calm()
	if !ok {
		return
	}
	if by := steer(a.moved, calm); by != a.moved {
		a.moved = by
		a.move(by)
	}
}
