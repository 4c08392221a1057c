package capture

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"time"
)

// usher shows new windows to their place: below the veil, where they are drawn but
// not seen. A window that is shown goes on top otherwise, and for some frames a
// blank one would cover the last picture. It does so as a window manager does, and
// only while a browser starts (X11 protocol, SubstructureRedirect).
type usher struct {
	*screen
	veil uint32
	done chan struct{}
}

const (
	substructureRedirect = 1 << 20
	mapRequest           = 20
	configureRequest     = 23
)

// usher begins; leave must be called.
func (x *xServer) usher(ctx context.Context, veiled *screen) (*usher, error) {
	sc, err := x.dial(ctx)
	if err != nil {
		return nil, err
	}
	const eventMask = 1 << 11
	var root message
	root.put(sc.root, uint32(eventMask), uint32(substructureRedirect))
	if _, err := sc.request(opChangeAttributes, 0, root, false); err != nil {
		return nil, errors.Join(err, sc.close())
	}
	_ = sc.conn.SetDeadline(time.Time{}) // windows come when they come
	u := &usher{screen: sc, veil: veiled.freeze, done: make(chan struct{})}
	go u.serve()
	return u, nil
}

// leave ends it: windows go where they like again.
func (u *usher) leave() {
	_ = u.close()
	<-u.done
}

// serve answers requests until the connection is closed. Answers to our own
// requests, and errors for windows that went away, are of no interest.
func (u *usher) serve() {
	defer close(u.done)
	for {
		var event [32]byte
		if _, err := io.ReadFull(u.in, event[:]); err != nil {
			return
		}
		var err error
		switch event[0] {
		case mapRequest:
			err = u.show(binary.LittleEndian.Uint32(event[8:]))
		case configureRequest:
			err = u.place(event)
		}
		if err != nil {
			return
		}
	}
}

// show maps a window right below the veil.
func (u *usher) show(window uint32) error {
	const sibling, stackMode, below = 0x20, 0x40, 1
	var order, shown message
	order.put(window, uint16(sibling|stackMode), uint16(0), u.veil, uint32(below))
	shown.put(window)
	return errors.Join(u.send(opConfigureWindow, order), u.send(opMapWindow, shown))
}

// place gives a window the position and size it asks for, and no other order.
func (u *usher) place(event [32]byte) error {
	word := func(at int) uint16 { return binary.LittleEndian.Uint16(event[at:]) }
	mask := word(26) & 0x1f
	if mask == 0 {
		return nil
	}
	var fields message
	fields.put(binary.LittleEndian.Uint32(event[8:]), mask, uint16(0))
	for bit, value := range []uint32{
		uint32(int32(int16(word(16)))), uint32(int32(int16(word(18)))), uint32(word(20)), uint32(word(22)), uint32(word(24)),
	} {
		if mask&(1<<bit) != 0 {
			fields.put(value)
		}
	}
	return u.send(opConfigureWindow, fields)
}

// send does not wait: there is no answer but for errors.
func (u *usher) send(opcode byte, fields message) error {
	var out message
	out.put(opcode, byte(0), uint16(1+fields.Len()/4))
	out.Write(fields.Bytes())
	_, err := u.conn.Write(out.Bytes())
	return err
}
