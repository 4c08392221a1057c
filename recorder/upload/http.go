package upload

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// errStalled is why a connection on which nothing moves is ended.
var errStalled = errors.New("no byte moved")

// httpClient sends files of any size over links of any speed: no bound on the
// whole, but one on standing still. It follows no redirect. proxy may be empty:
// then the environment says.
func (o Options) httpClient(proxy string) *http.Client {
	if o.HTTPClient != nil {
		return o.HTTPClient
	}
	t := &http.Transport{Proxy: http.ProxyFromEnvironment}
	o.tune(t)
	useProxy(t, proxy)
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (o Options) tune(t *http.Transport) {
	dialer := &net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}
	stall := o.Stall
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return newStallConn(c, stall)
	}
	t.TLSHandshakeTimeout = 15 * time.Second
	t.ExpectContinueTimeout = 2 * time.Second
	t.IdleConnTimeout = 10 * time.Second
	t.MaxIdleConnsPerHost = 2 * partsAtOnce
	t.WriteBufferSize = 64 << 10
	// One connection per part: over HTTP/2 all parts would share one window.
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
}

// stallConn pushes its deadline on with every byte, whichever way it moves: an
// upload's response is awaited from the first byte of its body on. Bytes that
// the kernel still sends count as well.
type stallConn struct {
	net.Conn
	after  time.Duration
	unsent atomic.Int64 // in the kernel's buffer when last seen
}

func newStallConn(c net.Conn, after time.Duration) (net.Conn, error) {
	s := &stallConn{Conn: c, after: after}
	if err := s.moved(); err != nil {
		_ = c.Close()
		return nil, err
	}
	return s, nil
}

func (s *stallConn) moved() error { return s.SetDeadline(time.Now().Add(s.after)) }

func (s *stallConn) Read(b []byte) (int, error) {
	for {
		n, err := s.Conn.Read(b)
		again, err := s.judge(n, err)
		if !again || n > 0 {
			return n, err
		}
	}
}

func (s *stallConn) Write(b []byte) (int, error) {
	// The kernel takes large writes bit by bit; small ones show that it does.
	const most = 256 << 10
	sent := 0
	for sent < len(b) {
		n, err := s.Conn.Write(b[sent:min(sent+most, len(b))])
		sent += n
		if _, err := s.judge(n, err); err != nil {
			return sent, err
		}
		s.unsent.Store(s.queued())
	}
	return sent, nil
}

// judge tells a timeout while something still moves from a stall.
func (s *stallConn) judge(n int, err error) (again bool, _ error) {
	var timeout net.Error
	late := errors.As(err, &timeout) && timeout.Timeout()
	switch {
	case late && n == 0 && !s.draining():
		return false, &stallError{after: s.after}
	case late:
		return true, s.moved()
	case err == nil && n > 0:
		return false, s.moved()
	default:
		return false, err
	}
}

// draining reports whether the other side took bytes since the last look.
func (s *stallConn) draining() bool {
	now := s.queued()
	return now < s.unsent.Swap(now)
}

// queued is what the other side has not acknowledged.
func (s *stallConn) queued() int64 {
	sc, ok := s.Conn.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0
	}
	queued := 0
	if err := raw.Control(func(fd uintptr) { queued, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); err != nil {
		return 0
	}
	return int64(queued)
}

// waited reports whether a request failed after a wait that is bounded here. No SDK repeats one: each
// would wait as long again before anybody hears of it, and a backup storage with them.
func waited(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// stallError is a timeout for whoever asks.
type stallError struct{ after time.Duration }

func (e *stallError) Error() string   { return fmt.Sprintf("%v for %s", errStalled, e.after) }
func (e *stallError) Timeout() bool   { return true }
func (e *stallError) Temporary() bool { return true }
func (e *stallError) Unwrap() error   { return errStalled }
