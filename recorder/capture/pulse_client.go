package capture

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
)

// pulseClient is a connection to the session's sound server. It speaks what of
// PulseAudio's native protocol tells a server that works from one that hangs, whose
// socket the kernel lets anybody connect to (pulsecore/native-common.h, tagstruct.c).
type pulseClient struct {
	conn net.Conn
	tag  uint32 // of the last request
}

const (
	pulseReply, pulseAuth, pulseStat = 2, 8, 13
	pulseProtocol                    = 32
	pulseCookie                      = 256 // bytes; any will do, for the server asks for none
	pulseControl                     = 0xffffffff
	pulseLongest                     = 64 << 10
)

func dialPulse(ctx context.Context, socket string) (*pulseClient, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	c := &pulseClient{conn: conn}
	var hello message
	hello.pulse(pulseProtocol)
	hello.WriteByte('x')
	hello.pulseWord(pulseCookie)
	hello.Write(make([]byte, pulseCookie))
	if err := c.request(ctx, pulseAuth, hello); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *pulseClient) close() { _ = c.conn.Close() }

// answers asks how much memory the server uses, which is little to ask.
func (c *pulseClient) answers(ctx context.Context) error { return c.request(ctx, pulseStat, message{}) }

// pulseWord appends a number as the protocol has it, big endian; pulse puts its
// type before it.
func (m *message) pulseWord(n uint32) { _ = binary.Write(m, binary.BigEndian, n) }

func (m *message) pulse(n uint32) {
	m.WriteByte('L')
	m.pulseWord(n)
}

// request sends a command and waits for its reply, whatever is in it. Only one
// is under way at a time.
func (c *pulseClient) request(ctx context.Context, command uint32, fields message) error {
	defer context.AfterFunc(ctx, c.close)()
	c.tag++
	var body, out message
	body.pulse(command)
	body.pulse(c.tag)
	body.Write(fields.Bytes())
	// A packet: its length, the channel of commands, an offset of 64 bits and flags.
	for _, n := range []uint32{uint32(body.Len()), pulseControl, 0, 0, 0} {
		out.pulseWord(n)
	}
	out.Write(body.Bytes())
	if _, err := c.conn.Write(out.Bytes()); err != nil {
		return err
	}
	for {
		packet, err := c.read()
		switch {
		case err != nil:
			return err
		case len(packet) < 10 || binary.BigEndian.Uint32(packet[6:]) != c.tag:
			continue
		case binary.BigEndian.Uint32(packet[1:]) != pulseReply:
			return fmt.Errorf("command %d was refused", command)
		default:
			return nil
		}
	}
}

func (c *pulseClient) read() ([]byte, error) {
	var head [20]byte
	if _, err := io.ReadFull(c.conn, head[:]); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(head[:])
	if length > pulseLongest {
		return nil, fmt.Errorf("a packet of %d bytes", length)
	}
	packet := make([]byte, length)
	_, err := io.ReadFull(c.conn, packet)
	return packet, err
}
