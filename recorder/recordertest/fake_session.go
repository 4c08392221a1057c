package recordertest

import (
	"context"
	"slices"
	"sync"

	"tapedeck/recorder"
)

// FakeSession is a recorder.Session that shows a page of the test's making. It
// is safe for concurrent use.
type FakeSession struct {
	// OnNavigate is the page's load; nil loads. It may wait for ctx.
	OnNavigate func(ctx context.Context, try int, url string) error
	// Diagnosis is what Diagnose answers.
	Diagnosis recorder.Diagnosis
	// CloseErr is what Close answers.
	CloseErr error
	// OnClose is called by Close.
	OnClose func()
	// OnRevive is another browser's start; nil starts. It may wait for ctx.
	OnRevive func(ctx context.Context, try int) error

	mu     sync.Mutex
	page   chan struct{} // closed when marks or gone change
	marks  map[recorder.Marker]error
	gone   error
	urls   []string
	note   string
	closed int

	revived int
}

// Log makes the page log m: every Wait for it returns nil.
func (s *FakeSession) Log(m recorder.Marker) { s.Refuse(m, nil) }

// LogNoted makes the page log m with a note beside it.
func (s *FakeSession) LogNoted(m recorder.Marker, note string) {
	s.change(func() { s.marks[m], s.note = nil, note })
}

// Note implements recorder.Noter.
func (s *FakeSession) Note(recorder.Marker) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.note
}

// Refuse makes every Wait for m on the page of the last Navigate return err.
func (s *FakeSession) Refuse(m recorder.Marker, err error) {
	s.change(func() { s.marks[m] = err })
}

// Crash makes the tab crash: waits return err until the next Navigate.
func (s *FakeSession) Crash(err error) {
	s.change(func() {
		for _, m := range []recorder.Marker{recorder.MarkerLoaded, recorder.MarkerStart, recorder.MarkerEnd} {
			s.marks[m] = err
		}
	})
}

// Die makes every call return err from now on, until a Revive.
func (s *FakeSession) Die(err error) { s.change(func() { s.gone = err }) }

func (s *FakeSession) change(what func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.init()
	what()
	close(s.page)
	s.page = make(chan struct{})
}

func (s *FakeSession) init() {
	if s.page == nil {
		s.page, s.marks = make(chan struct{}), map[recorder.Marker]error{}
	}
}

// Navigate implements recorder.Session. A page is blank until the test says
// otherwise; what the one before logged is forgotten.
func (s *FakeSession) Navigate(ctx context.Context, url string) error {
	var try int
	var gone error
	s.change(func() {
		s.urls = append(s.urls, url)
		try, gone = len(s.urls), s.gone
		clear(s.marks)
	})
	if gone != nil {
		return gone
	}
	if s.OnNavigate != nil {
		return s.OnNavigate(ctx, try, url)
	}
	return nil
}

// Wait implements recorder.Session.
func (s *FakeSession) Wait(ctx context.Context, m recorder.Marker) error {
	for {
		s.mu.Lock()
		s.init()
		page, gone := s.page, s.gone
		err, marked := s.marks[m]
		s.mu.Unlock()
		switch {
		case gone != nil:
			return gone
		case marked:
			return err
		}
		select {
		case <-page:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Inputs implements recorder.Session.
func (s *FakeSession) Inputs() recorder.Inputs {
	return recorder.Inputs{Display: ":99", PulseServer: "unix:/fake", PulseSource: "fake.monitor"}
}

// Diagnose implements recorder.Session.
func (s *FakeSession) Diagnose(context.Context) recorder.Diagnosis { return s.Diagnosis }

// Close implements recorder.Session.
func (s *FakeSession) Close() error {
	s.mu.Lock()
	s.closed++
	s.mu.Unlock()
	if s.OnClose != nil {
		s.OnClose()
	}
	return s.CloseErr
}

// Revive implements recorder.Reviver: what was logged is forgotten, and so is a death
// that OnRevive does not repeat.
func (s *FakeSession) Revive(ctx context.Context) error {
	var try int
	s.change(func() {
		s.revived++
		try = s.revived
	})
	if s.OnRevive != nil {
		if err := s.OnRevive(ctx, try); err != nil {
			s.Die(err)
			return err
		}
	}
	s.change(func() {
		s.gone = nil
		clear(s.marks)
	})
	return nil
}

// Revived tells how often Revive was called.
func (s *FakeSession) Revived() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revived
}

// Closed tells how often Close was called.
func (s *FakeSession) Closed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// URLs lists what was navigated to.
func (s *FakeSession) URLs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.urls)
}
