package recordertest

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// S3Proxy stands before a real HTTP server and does what networks and busy
// servers do. It keeps what passed it.
type S3Proxy struct {
	// URL of the proxy, without a trailing slash.
	URL string

	done  chan struct{}
	mu    sync.Mutex
	fault func(n int, r *http.Request) S3Fault
	seen  []S3Request
	rate  int64     // of all bodies together
	free  time.Time // when the line is
}

// S3Fault is what happens to one request. The zero value lets it pass.
type S3Fault struct {
	// Status answers instead of the server, with S3's error XML of this Code.
	Status int
	Code   string
	// CutAfter drops the connection after so many bytes of the body (1 or more).
	CutAfter int64
	// FlipAt changes the byte at this offset of the body (1 or more).
	FlipAt int64
	// Rate slows the body to so many bytes a second.
	Rate int64
	// Stall reads no body and answers nothing for as long as the test runs.
	Stall bool
	// Drop removes headers of the request, Content-MD5 for one.
	Drop []string
	// LoseAnswer lets the request pass, and drops the connection instead of answering.
	LoseAnswer bool
	// Answer changes the server's response.
	Answer func(*http.Response)
}

// S3Request is a request that passed the proxy.
type S3Request struct {
	Method string
	Path   string
	Query  url.Values
	Status int // of the answer, 0 while there is none
	// Sent counts the bytes of its body that passed.
	Sent int64
}

// StartS3Proxy starts a proxy on a free loopback port; it ends with the test.
func StartS3Proxy(t testing.TB, target string) *S3Proxy {
	t.Helper()
	to, err := url.Parse(target)
	require.NoError(t, err)
	p := &S3Proxy{done: make(chan struct{})}
	rp := &httputil.ReverseProxy{
		// Signatures cover the host, so it stays the proxy's.
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = to.Scheme, to.Host, r.In.Host
		},
		ErrorLog:     log.New(io.Discard, "", 0),
		Transport:    &http.Transport{DisableCompression: true},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.serve(w, r, *rp) }))
	srv.Config.ConnState = func(c net.Conn, state http.ConnState) {
		if tcp, ok := c.(*net.TCPConn); ok && state == http.StateNew {
			_ = tcp.SetReadBuffer(64 << 10) // a slow reader must be felt by the sender
		}
	}
	srv.Start()
	t.Cleanup(func() {
		close(p.done)
		srv.CloseClientConnections()
		srv.Close()
	})
	p.URL = srv.URL
	return p
}

// Fault sets what happens from now on to the nth request (from 0); nil is nothing.
func (p *S3Proxy) Fault(f func(n int, r *http.Request) S3Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
}

// Limit makes the line carry so many bytes a second from now on, all requests
// together; 0 is no limit.
func (p *S3Proxy) Limit(rate int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rate, p.free = rate, time.Now()
}

// Requests gives what passed so far.
func (p *S3Proxy) Requests() []S3Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]S3Request(nil), p.seen...)
}

// Sent adds up the bodies of the requests that match, also of those that failed.
func (p *S3Proxy) Sent(match func(S3Request) bool) (bytes int64) {
	for _, r := range p.Requests() {
		if match(r) {
			bytes += r.Sent
		}
	}
	return bytes
}

// Count counts the requests that match and were answered with success.
func (p *S3Proxy) Count(match func(S3Request) bool) int {
	n := 0
	for _, r := range p.Requests() {
		if r.Status >= 200 && r.Status < 300 && match(r) {
			n++
		}
	}
	return n
}

func (p *S3Proxy) serve(w http.ResponseWriter, r *http.Request, rp httputil.ReverseProxy) {
	p.mu.Lock()
	n := len(p.seen)
	p.seen = append(p.seen, S3Request{Method: r.Method, Path: r.URL.Path, Query: r.URL.Query()})
	var f S3Fault
	if p.fault != nil {
		f = p.fault(n, r)
	}
	p.mu.Unlock()
	switch {
	case f.Stall:
		<-p.done
		panic(http.ErrAbortHandler)
	case f.Status != 0:
		p.answered(n, f.Status)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(f.Status)
		_, _ = io.WriteString(w, "<Error><Code>"+f.Code+"</Code><Message>as the test wants it</Message></Error>")
		return
	}
	for _, name := range f.Drop {
		r.Header.Del(name)
	}
	if r.Body != nil && r.ContentLength != 0 {
		r.Body = &faultyBody{ReadCloser: r.Body, fault: f, passed: func(bytes int64) { p.passed(n, bytes) }}
	}
	rp.ModifyResponse = func(resp *http.Response) error {
		p.answered(n, resp.StatusCode)
		if f.Answer != nil {
			f.Answer(resp)
		}
		if f.LoseAnswer {
			return http.ErrAbortHandler
		}
		return nil
	}
	rp.ServeHTTP(w, r)
}

func (p *S3Proxy) passed(n int, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen[n].Sent += bytes
	if p.rate == 0 {
		return
	}
	const late = 200 * time.Millisecond // that this process is woken is no fault of the line
	if now := time.Now(); p.free.Before(now.Add(-late)) {
		p.free = now.Add(-late)
	}
	p.free = p.free.Add(time.Duration(bytes) * time.Second / time.Duration(p.rate))
	wait := time.Until(p.free)
	p.mu.Unlock()
	time.Sleep(wait)
	p.mu.Lock()
}

func (p *S3Proxy) answered(n, status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen[n].Status = status
}

type faultyBody struct {
	io.ReadCloser
	fault  S3Fault
	read   int64
	passed func(bytes int64)
}

func (b *faultyBody) Read(buf []byte) (int, error) {
	if cut := b.fault.CutAfter; cut > 0 {
		if b.read >= cut {
			return 0, io.ErrUnexpectedEOF
		}
		buf = buf[:min(int64(len(buf)), cut-b.read)]
	}
	n, err := b.ReadCloser.Read(buf)
	if rate := b.fault.Rate; rate > 0 {
		time.Sleep(time.Duration(n) * time.Second / time.Duration(rate))
	}
	if at := b.fault.FlipAt - b.read; b.fault.FlipAt > 0 && at >= 0 && at < int64(n) {
		buf[at] ^= 0xff
	}
	b.read += int64(n)
	b.passed(int64(n))
	return n, err
}
