package capture

import (
	"sync"
	"syscall"
	"time"

	"tapedeck/recorder"
)

// deaths knows what of a session is gone. A browser's death is forgotten when
// there is another browser; a display's or a sound server's is for good.
type deaths struct {
	mu   sync.Mutex
	why  *recorder.Error // nil while everything lives
	last bool            // not the browser alone
	told chan struct{}   // closed with why
}

func newDeaths() *deaths { return &deaths{told: make(chan struct{})} }

// die notes a death. The first reason stays, unless a browser only died of what
// is told now.
func (d *deaths) die(reason recorder.EndReason, message string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	last := reason != recorder.EndBrowserDied
	if d.why != nil && (d.last || !last) {
		return
	}
	if d.why == nil {
		close(d.told)
	}
	d.why = &recorder.Error{Code: recorder.CodeSessionDied, Message: message, Err: recorder.Died(reason)}
	d.last = last
}

// forget makes room for another browser, or says why there can be none.
func (d *deaths) forget() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.last:
		return d.why
	case d.why != nil:
		d.why, d.told = nil, make(chan struct{})
	}
	return nil
}

// final gives the death that nothing can be revived after, or nil.
func (d *deaths) final() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last {
		return d.why
	}
	return nil
}

// happened is closed when anything of the session is gone.
func (d *deaths) happened() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.told
}

// reason tells what is gone, or nil.
func (d *deaths) reason() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.why == nil {
		return nil
	}
	return d.why
}

// dead gives the reason why the session ended, or nil.
func (s *Session) dead() error { return s.deaths.reason() }

// mourn turns the end of a server into the end of the session.
func (s *Session) mourn(reason recorder.EndReason) func(*process) {
	return func(p *process) {
		if !s.isClosing() {
			s.deaths.die(reason, p.obituary().Message)
		}
	}
}

// How long a display that took the browser with it may take to be known as gone.
const settleLimit = time.Second

// mournBrowser tells a browser's own death from that of its display, which takes
// the browser with it: a display that lives answers.
func (s *Session) mournBrowser(p *process) {
	if s.isClosing() {
		return
	}
	if s.screen == nil || s.screen.answers() == nil {
		s.deaths.die(recorder.EndBrowserDied, p.obituary().Message)
		return
	}
	timer := time.NewTimer(settleLimit)
	defer timer.Stop()
	select {
	case <-s.x.died: // whoever watches it tells
	case <-timer.C:
		s.hangs(s.x.process, recorder.EndDisplayDied)
	}
}

// signalled tells of a browser that a signal ends. It takes its time, in which it paints
// what nobody should see: so it counts as dead from its first word.
func (s *Session) signalled() {
	if s.isClosing() {
		return
	}
	s.veil()
	s.deaths.die(recorder.EndBrowserDied, "Chrome ended: a signal told it to")
}

// hangs takes a server that does not answer for dead, and ends it: what waits for
// it would wait for ever.
func (s *Session) hangs(p *process, reason recorder.EndReason) {
	s.deaths.die(reason, p.name+" does not answer any more")
	p.signal(syscall.SIGKILL)
}
