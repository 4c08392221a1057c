// Package recordertest is what the tests of this project share: pages to record
// and the means to judge a recording, the real servers, fakes, and a count of
// what a process left behind.
package recordertest

import (
	"embed"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

//go:embed pages
var pages embed.FS

// Page is a web server of pages for a recorder to open, on a free loopback
// port. It keeps what it was asked.
//
//	/barcode?end=SECONDS&audio=0&since=MS&noise=1   frame counter (with since: milliseconds since then), flash and beep, noise; see ReadBarcodes, FlashOnsets, BeepOnsets
//	/markers?start=MS&end=MS&level=warn&note=WORD   logs the markers so long after its load, with the note beside END
//	/token                         shows and records its query, logs START_RECORDING
//	/never                         loads, but never starts
//	/status/CODE                   answers with this status
//	/redirect?to=URL               302
//	/div-error?after=MS&text=TEXT  shows div.error
//	/console                       log lines, a token among them, and an uncaught exception, but no marker
//	/iframe?cross=1&end=MS&note=WORD   markers from a frame, of another site with cross
//	/alert /confirm /beforeunload  dialogs, then START_RECORDING
//	/popup /download               tries to open a window or to download, then START_RECORDING
//	/permissions                   asks for camera, microphone, notifications; logs "camera: …" lines, then START_RECORDING
//	/file                          tries to show file: and chrome: in frames and by navigating, logs what came of it
//	/close?after=MS                starts, then window.close()
//	/leave?after=MS&to=URL         starts, then navigates to URL
//	/hang?after=MS                 starts, then loops for ever
//	/allocate                      starts, then takes memory until its renderer is gone
//	/slow?after=MS                 answers so much later, logs START_RECORDING
//	/silent-server                 never answers
//	/webgl                         logs "webgl: " and the version, then START_RECORDING
//	/size                          logs "size: WxH", then START_RECORDING
//	/fonts                         many scripts and emoji
type Page struct {
	// URL of the server, without a trailing slash.
	URL string

	server *httptest.Server
	done   chan struct{}

	mu       sync.Mutex
	requests []PageRequest
}

// PageRequest is one request the server saw.
type PageRequest struct {
	Path  string
	Query url.Values
}

// StartPage starts the server; it ends with the test.
func StartPage(t testing.TB) *Page {
	t.Helper()
	p := &Page{done: make(chan struct{})}
	p.server = httptest.NewServer(p.handler())
	p.URL = p.server.URL
	t.Cleanup(func() {
		close(p.done)
		p.server.CloseClientConnections()
		p.server.Close()
	})
	return p
}

// Requests gives what the server was asked, oldest first; of one path when
// given.
func (p *Page) Requests(path ...string) []PageRequest {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []PageRequest
	for _, r := range p.requests {
		if len(path) == 0 || r.Path == path[0] {
			found = append(found, r)
		}
	}
	return found
}

func (p *Page) handler() http.Handler {
	mux := http.NewServeMux()
	for path, body := range scripts() {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { writePage(w, path[1:], fill(body, r)) })
	}
	for _, name := range []string{"barcode", "fonts"} {
		mux.HandleFunc("/"+name, func(w http.ResponseWriter, r *http.Request) {
			http.ServeFileFS(w, r, pages, "pages/"+name+".html")
		})
	}
	mux.HandleFunc("/status/{code}", func(w http.ResponseWriter, r *http.Request) {
		code, err := strconv.Atoi(r.PathValue("code"))
		if err != nil || code < 200 || code > 599 {
			code = http.StatusBadRequest
		}
		w.WriteHeader(code)
		fmt.Fprintf(w, "<h1>status %d</h1>", code)
	})
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", r.URL.Query().Get("to"))
		w.WriteHeader(http.StatusFound)
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		text := html.EscapeString(strings.ReplaceAll(r.URL.RawQuery, "&", "\n"))
		writePage(w, "token", "document.body.append(document.createElement('pre')); console.log('START_RECORDING')", "<pre>"+text+"</pre>")
	})
	mux.HandleFunc("/attachment", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Disposition", "attachment; filename=big.bin")
		_, _ = w.Write(make([]byte, 1<<16))
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		after, _ := strconv.Atoi(r.URL.Query().Get("after"))
		select {
		case <-time.After(time.Duration(after) * time.Millisecond):
			writePage(w, "slow", "start()")
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/silent-server", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-p.done:
		}
	})
	return p.record(mux)
}

func (p *Page) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.requests = append(p.requests, PageRequest{Path: r.URL.Path, Query: r.URL.Query()})
		p.mu.Unlock()
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func writePage(w http.ResponseWriter, title, script string, body ...string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, "<!doctype html><meta charset=utf-8><title>%s</title>"+
		"<style>html{background:#246}body{color:#fff;font:32px sans-serif}</style><body>%s<h1>%s</h1>"+
		"<script>const query = new URLSearchParams(location.search), after = f => setTimeout(f, +query.get('after') || 0);"+
		"const start = () => console.log('START_RECORDING');\n%s</script>", title, strings.Join(body, ""), title, script)
}

// fill puts the server's own addresses into a script: the host as asked, and
// the same server under the name of another site.
func fill(script string, r *http.Request) string {
	_, port, _ := strings.Cut(r.Host, ":")
	return strings.NewReplacer("{self}", "http://"+r.Host, "{other}", "http://localhost:"+port).Replace(script)
}

func scripts() map[string]string {
	return map[string]string{
		"/never": "",
		"/markers": `const level = query.get('level') || 'log';
			const mark = (name, ...text) => query.has(name) && setTimeout(() => console[level]('marker', ...text), +query.get(name));
			mark('start', 'START_RECORDING'); mark('end', 'END_RECORDING', ...query.getAll('note'));
			console.log('not START_RECORDING itself')`,
		"/div-error": `after(() => { const d = document.createElement('div'); d.className = 'box error';
			d.textContent = query.get('text') || 'no such room'; document.body.append(d) })`,
		"/console": `console.log('plain', 1, {a: 1}); console.warn('careful'); console.error('bad');
			console.log('joined wss://livekit.example/rtc?access_token=sesame-open-12345');
			queueMicrotask(() => { throw new Error('boom in the page') })`,
		"/iframe": `const f = document.createElement('iframe');
			query.set('start', 50);
			f.src = (query.has('cross') ? '{other}' : '{self}') + '/markers?' + query; document.body.append(f)`,
		"/alert":        `setTimeout(() => { alert('stop here'); start() }, 0)`,
		"/confirm":      `setTimeout(() => { console.log('confirm: ' + confirm('sure?')); start() }, 0)`,
		"/beforeunload": `addEventListener('beforeunload', e => { e.preventDefault(); e.returnValue = 'stay' }); start()`,
		"/popup": `const w = open('{self}/never?popup=1', '_blank', 'width=400,height=300');
			console.log('popup: ' + (w ? 'opened' : 'blocked')); setTimeout(start, 300)`,
		"/download": `const a = document.createElement('a'); a.href = '{self}/attachment'; a.download = 'big.bin';
			document.body.append(a); a.click(); setTimeout(start, 500)`,
		"/permissions": `const ask = (name, p) => p.then(() => console.log(name + ': granted'), e => console.log(name + ': ' + e.name));
			console.log('notification: ' + Notification.permission);
			Promise.all([ask('camera', navigator.mediaDevices.getUserMedia({video: true})),
				ask('microphone', navigator.mediaDevices.getUserMedia({audio: true}))]).then(start)`,
		"/file": `const report = (name, ok) => console.log(name + ': ' + (ok ? 'readable' : 'blocked'));
			const f = document.createElement('iframe'); f.src = 'file:///etc/passwd'; document.body.append(f);
			fetch('file:///etc/passwd').then(() => report('fetch', true), () => report('fetch', false))
				.then(() => { try { location.href = 'file:///etc/passwd' } catch (e) { report('location', false) } })
				.then(() => { setTimeout(() => { try { report('frame', f.contentDocument.body.textContent.includes('root')) }
					catch (e) { report('frame', false) } console.log('still at ' + location.pathname); start() }, 300) })`,
		"/close":    `start(); after(() => window.close())`,
		"/leave":    `start(); after(() => { location.href = query.get('to') || 'http://127.0.0.1:1/' })`,
		"/hang":     `start(); after(() => { for (;;); })`,
		"/allocate": `start(); after(() => { const all = []; for (;;) all.push(new Array(1e6).fill(all.length)) })`,
		"/webgl": `const gl = document.createElement('canvas').getContext('webgl');
			console.log('webgl: ' + (gl ? gl.getParameter(gl.VERSION) : 'none')); start()`,
		"/size": `console.log('size: ' + innerWidth + 'x' + innerHeight); start()`,
	}
}
