package recordertest

import (
	"crypto/tls"
	"io"
	"net"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// StallingProxy is a TCP proxy in front of a server that can stop reading
// while its connections stay open, or refuse.
type StallingProxy struct {
	// Addr is host:port to connect to.
	Addr string

	t      testing.TB
	target string

	mu       sync.Mutex
	resumed  chan struct{} // closed while data flows
	listener net.Listener
	conns    map[net.Conn]bool
	accepted int
	work     sync.WaitGroup
}

// NewStallingProxy starts a proxy to host:port. It ends with the test.
func NewStallingProxy(t testing.TB, target string) *StallingProxy {
	t.Helper()
	p := &StallingProxy{t: t, target: target, resumed: make(chan struct{}), conns: map[net.Conn]bool{}}
	close(p.resumed)
	onFreeAddr(t, p.listen) // which is free still when Accept wants it again
	t.Cleanup(p.close)
	return p
}

// URL gives rawURL with the proxy's address in place of the server's.
func (p *StallingProxy) URL(rawURL string) string { return withHost(p.t, rawURL, p.Addr) }

// Stall stops reading in both directions, Resume goes on.
func (p *StallingProxy) Stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.resumed:
		p.resumed = make(chan struct{})
	default:
	}
}

// Resume lets data flow again after Stall.
func (p *StallingProxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.resumed:
	default:
		close(p.resumed)
	}
}

// Refuse closes every connection and accepts no more; Accept does again.
func (p *StallingProxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.listener.Close()
	for c := range p.conns {
		_ = c.Close()
	}
}

// Accept accepts connections again after Refuse, on the same address.
func (p *StallingProxy) Accept() { p.t.Helper(); require.NoError(p.t, p.listen(p.Addr)) }

// Accepted is how many connections there were.
func (p *StallingProxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

func (p *StallingProxy) listen(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.listener, p.Addr = l, l.Addr().String()
	p.mu.Unlock()
	p.work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.serve(c)
		}
	})
	return nil
}

func (p *StallingProxy) serve(in net.Conn) {
	out, err := net.DialTimeout("tcp", p.target, 5*time.Second)
	if err != nil {
		_ = in.Close()
		return
	}
	for _, c := range []net.Conn{in, out} {
		// Small buffers, so that a stall is felt soon.
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetReadBuffer(16 << 10)
			_ = tcp.SetWriteBuffer(16 << 10)
		}
	}
	p.mu.Lock()
	p.accepted++
	p.conns[in], p.conns[out] = true, true
	p.mu.Unlock()
	p.work.Go(func() { p.pipe(in, out) })
	p.work.Go(func() { p.pipe(out, in) })
}

func (p *StallingProxy) pipe(from, to net.Conn) {
	defer func() {
		_ = from.Close()
		_ = to.Close()
		p.mu.Lock()
		delete(p.conns, from)
		p.mu.Unlock()
	}()
	buf := make([]byte, 16<<10)
	for {
		p.mu.Lock()
		resumed := p.resumed
		p.mu.Unlock()
		<-resumed
		n, err := from.Read(buf)
		if n > 0 {
			p.mu.Lock()
			resumed = p.resumed
			p.mu.Unlock()
			<-resumed
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *StallingProxy) close() {
	p.Resume()
	p.Refuse()
	p.work.Wait()
}

// HangingListener accepts connections and never says a word.
type HangingListener struct {
	// Addr is host:port to connect to.
	Addr string

	mu    sync.Mutex
	conns []net.Conn
}

// NewHangingListener starts one. It ends with the test.
func NewHangingListener(t testing.TB) *HangingListener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	h := &HangingListener{Addr: l.Addr().String()}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			h.mu.Lock()
			h.conns = append(h.conns, c)
			h.mu.Unlock()
			work.Go(func() { _, _ = io.Copy(io.Discard, c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		h.mu.Lock()
		for _, c := range h.conns {
			_ = c.Close()
		}
		h.mu.Unlock()
		work.Wait()
	})
	return h
}

// Accepted is how many connections there were.
func (h *HangingListener) Accepted() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.conns)
}

// URL gives an ingest URL of the listener.
func (h *HangingListener) URL(key string) string { return "rtmp://" + h.Addr + "/live/" + key }

func withHost(t testing.TB, rawURL, host string) string {
	t.Helper()
	u, err := url.Parse(rawURL)
	require.NoError(t, err)
	u.Host = host
	return u.String()
}

// TLSFront puts TLS with a certificate that nobody trusts in front of an ingest
// URL and gives the rtmps URL. It ends with the test.
func TLSFront(t testing.TB, rawURL string) string {
	t.Helper()
	u, err := url.Parse(rawURL)
	require.NoError(t, err)
	https := httptest.NewTLSServer(nil)
	config := https.TLS.Clone()
	https.Close()
	config.NextProtos = nil
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	require.NoError(t, err)
	target := u.Host
	var work sync.WaitGroup
	work.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.DialTimeout("tcp", target, 5*time.Second)
			if err != nil {
				_ = in.Close()
				continue
			}
			pass := func(to, from net.Conn) func() {
				return func() {
					_, _ = io.Copy(to, from)
					_ = to.Close()
					_ = from.Close()
				}
			}
			work.Go(pass(out, in))
			work.Go(pass(in, out))
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		work.Wait()
	})
	u.Scheme, u.Host = "rtmps", l.Addr().String()
	return u.String()
}
