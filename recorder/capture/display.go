package capture

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// screen is our own connection to the session's X server. It speaks the few
// requests of the core protocol a session needs (X11 protocol, appendix B), so
// that the cookie need not pass through the process's environment, which
// every session shares.
type screen struct {
	mu     sync.Mutex // one request at a time
	conn   net.Conn
	in     *bufio.Reader
	root   uint32
	freeze uint32 // a window of ours, see veil
	serial uint16 // of the last request
}

// windowID names a window on the X server.
type windowID uint32

// The opcodes and constants of the core protocol that are used here.
const (
	opCreateWindow        = 1
	opChangeAttributes    = 2
	opGetWindowAttributes = 3
	opMapWindow           = 8
	opUnmapWindow         = 10
	opConfigureWindow     = 12
	opQueryTree           = 15
	opWarpPointer         = 41
	opGetInputFocus       = 43
	opGetImage            = 73

	xError, xReply   = 0, 1
	mapStateViewable = 2
)

// How long the X server has for an answer: it is on this machine, and a hung
// one must not hang us.
const xLimit = 5 * time.Second

func (x *xServer) connect(ctx context.Context, width, height int) (*screen, error) {
	sc, err := x.dial(ctx)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(sc.createFloor(width, height), sc.createVeil(width, height)); err != nil {
		return nil, errors.Join(fmt.Errorf("connecting to Xvfb: %w", err), sc.close())
	}
	return sc, nil
}

func (x *xServer) dial(ctx context.Context) (*screen, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socketOf(strings.TrimPrefix(x.display, ":")))
	if err != nil {
		return nil, fmt.Errorf("connecting to Xvfb: %w", err)
	}
	sc := &screen{conn: conn, in: bufio.NewReader(conn)}
	if err := sc.setUp(x.cookie); err != nil {
		return nil, errors.Join(fmt.Errorf("connecting to Xvfb: %w", err), conn.Close())
	}
	return sc, nil
}

func (sc *screen) close() error { return sc.conn.Close() }

// message builds requests, little endian, padded to whole words.
type message struct{ bytes.Buffer }

func (m *message) put(values ...any) *message {
	for _, v := range values {
		_ = binary.Write(m, binary.LittleEndian, v) // a buffer takes everything
	}
	return m
}

func (m *message) pad() *message {
	m.Write(make([]byte, -m.Len()&3))
	return m
}

// setUp introduces us and learns the root window.
func (sc *screen) setUp(cookie []byte) error {
	_ = sc.conn.SetDeadline(time.Now().Add(xLimit))
	var hello message
	hello.put(byte('l'), byte(0), uint16(11), uint16(0), uint16(len(authMethod)), uint16(len(cookie)), uint16(0))
	hello.WriteString(authMethod)
	hello.pad().Write(cookie)
	if _, err := sc.conn.Write(hello.pad().Bytes()); err != nil {
		return err
	}
	var head [8]byte
	if _, err := io.ReadFull(sc.in, head[:]); err != nil {
		return err
	}
	body := make([]byte, 4*int(binary.LittleEndian.Uint16(head[6:])))
	if _, err := io.ReadFull(sc.in, body); err != nil {
		return err
	}
	if head[0] != 1 {
		return fmt.Errorf("refused: %s", strings.TrimRight(string(body[:min(int(head[1]), len(body))]), "\x00\n"))
	}
	// After 32 bytes come the vendor's name and 8 bytes per pixmap format, then the first screen.
	if len(body) < 32 {
		return io.ErrUnexpectedEOF
	}
	vendor := int(binary.LittleEndian.Uint16(body[16:]))
	first := 32 + (vendor+3)&^3 + 8*int(body[21])
	if len(body) < first+4 {
		return io.ErrUnexpectedEOF
	}
	sc.freeze = binary.LittleEndian.Uint32(body[4:])
	sc.root = binary.LittleEndian.Uint32(body[first:])
	return nil
}

// request sends one request and gives the answer of the last one sent. For those that have none,
// GetInputFocus is appended, so that a failure is noticed.
func (sc *screen) request(opcode, detail byte, fields message, answers bool) (reply []byte, err error) {
	_ = sc.conn.SetDeadline(time.Now().Add(xLimit))
	fields.pad()
	var out message
	out.put(opcode, detail, uint16(1+fields.Len()/4))
	out.Write(fields.Bytes())
	sc.serial++
	if !answers {
		out.put(byte(opGetInputFocus), byte(0), uint16(1))
		sc.serial++
	}
	if _, err := sc.conn.Write(out.Bytes()); err != nil {
		return nil, err
	}
	for {
		var head [32]byte
		if _, err := io.ReadFull(sc.in, head[:]); err != nil {
			return nil, err
		}
		serial := binary.LittleEndian.Uint16(head[2:])
		switch head[0] {
		case xError:
			err = fmt.Errorf("request %d failed with X error %d", head[10], head[1])
			if serial == sc.serial {
				return nil, err
			}
		case xReply:
			rest := make([]byte, 4*int(binary.LittleEndian.Uint32(head[4:])))
			if _, err := io.ReadFull(sc.in, rest); err != nil {
				return nil, err
			}
			if serial == sc.serial {
				return append(head[:], rest...), err
			}
		}
	}
}

// answers asks the server for nothing in particular.
func (sc *screen) answers() error {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	_, err := sc.request(opGetInputFocus, 0, message{}, true)
	return err
}

// windows lists the visible windows that are directly on the screen, lowest
// first.
func (sc *screen) windows() ([]windowID, error) {
	var root message
	tree, err := sc.request(opQueryTree, 0, *root.put(sc.root), true)
	if err != nil {
		return nil, err
	}
	var found []windowID
	for rest := tree[32:]; len(rest) >= 4; rest = rest[4:] {
		id := binary.LittleEndian.Uint32(rest)
		var window message
		attributes, err := sc.request(opGetWindowAttributes, 0, *window.put(id), true)
		// A window may be gone by now. The last two bytes are map state and override redirect.
		if err == nil && attributes[26] == mapStateViewable && attributes[27] == 0 {
			found = append(found, windowID(id))
		}
	}
	return found, nil
}

// cover makes every window cover the whole screen, and puts the pointer where
// it hovers over as little as possible: the server starts with it in the middle.
// Windows lose their background, or the server would paint it, before Chrome
// paints the page, where the veil is lifted.
func (sc *screen) cover(width, height int) error {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	windows, err := sc.windows()
	if err != nil {
		return err
	}
	for _, id := range windows {
		const positionAndSize, backgroundPixmap = 1 | 2 | 4 | 8, 1
		var geometry, background message
		background.put(uint32(id), uint32(backgroundPixmap), uint32(0))
		if _, err := sc.request(opChangeAttributes, 0, background, false); err != nil {
			return err
		}
		geometry.put(uint32(id), uint16(positionAndSize), uint16(0), int32(0), int32(0), int32(width), int32(height))
		if _, err := sc.request(opConfigureWindow, 0, geometry, false); err != nil {
			return err
		}
	}
	var corner message
	corner.put(uint32(0), sc.root, int16(0), int16(0), uint16(0), uint16(0), int16(width-1), int16(height-1))
	_, err = sc.request(opWarpPointer, 0, corner, false)
	return err
}

// createVeil makes a window over the whole screen that has no background: when
// it is shown, the server paints nothing, and what others draw is clipped.
func (sc *screen) createVeil(width, height int) error { return sc.createBare(sc.freeze, width, height) }

// createFloor shows such a window below all others: where Chrome's windows were, what
// they showed stays. (The server's own background is black, and its option
// -background none does not work in Xvfb.)
func (sc *screen) createFloor(width, height int) error {
	id := sc.freeze + 1
	if err := sc.createBare(id, width, height); err != nil {
		return err
	}
	var window message
	window.put(id)
	_, err := sc.request(opMapWindow, 0, window, false)
	return err
}

func (sc *screen) createBare(id uint32, width, height int) error {
	const inputOutput, backgroundPixmap, overrideRedirect = 1, 0x1, 0x200
	var window message
	window.put(id, sc.root, int16(0), int16(0), uint16(width), uint16(height), uint16(0),
		uint16(inputOutput), uint32(0), uint32(backgroundPixmap|overrideRedirect), uint32(0), uint32(1))
	_, err := sc.request(opCreateWindow, 0, window, false)
	return err
}

// veil freezes what the screen shows, and lets it go again.
func (sc *screen) veil(on bool) error {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	var window, onTop message
	window.put(sc.freeze)
	if !on {
		_, err := sc.request(opUnmapWindow, 0, window, false)
		return err
	}
	const stackMode, above = 0x40, 0
	onTop.put(sc.freeze, uint16(stackMode), uint16(0), uint32(above))
	if _, err := sc.request(opConfigureWindow, 0, onTop, false); err != nil {
		return err
	}
	_, err := sc.request(opMapWindow, 0, window, false)
	return err
}

// picture takes what the screen shows.
func (sc *screen) picture(width, height int) (image.Image, error) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	const zPixmap, allPlanes = 2, 0xffffffff
	var area message
	area.put(sc.root, int16(0), int16(0), uint16(width), uint16(height), uint32(allPlanes))
	reply, err := sc.request(opGetImage, zPixmap, area, true)
	if err != nil {
		return nil, err
	}
	pixels := reply[32:]
	if len(pixels) < 4*width*height {
		return nil, io.ErrUnexpectedEOF
	}
	// Blue, green, red and nothing, as a 24 bit screen of a little endian server has them.
	picture := image.NewNRGBA(image.Rect(0, 0, width, height))
	for i := 0; i < 4*width*height; i += 4 {
		picture.Pix[i], picture.Pix[i+1], picture.Pix[i+2], picture.Pix[i+3] = pixels[i+2], pixels[i+1], pixels[i], 0xff
	}
	return picture, nil
}
