package capture

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"syscall"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/systeminfo"
	"golang.org/x/sys/unix"

	"tapedeck/recorder"
)

// How long a page may be deaf before it is taken for hung.
const hungAfter = 3 * time.Second

// Navigate loads a page, for the first time or again; a tab that crashed or
// hangs comes back to life. It returns when the document is there, before its
// load event.
func (s *Session) Navigate(ctx context.Context, rawURL string) error {
	if err := checkURL(rawURL); err != nil {
		return err
	}
	s.navigating.Lock()
	defer s.navigating.Unlock()
	if err := s.dead(); err != nil {
		return err
	}
	if !s.tab.crashed() && !s.responds(ctx) {
		if err := s.endRenderer(ctx); err != nil {
			return s.failure(ctx, err)
		}
	}
	result, err := s.load(ctx, rawURL)
	// A page may have begun to hang in between, and does not let the next one in.
	if err == nil && !s.committed(ctx, result.LoaderID) {
		if err := s.endRenderer(ctx); err != nil {
			return s.failure(ctx, err)
		}
		result, err = s.load(ctx, rawURL)
	}
	if err != nil {
		_ = send(context.WithoutCancel(ctx), s.devtools(), s.tab.id(), page.StopLoading, cdp.Empty{})
		return s.failure(ctx, err)
	}
	return nil
}

// load begins a new life and makes the tab load the page.
func (s *Session) load(ctx context.Context, rawURL string) (page.NavigateResult, error) {
	fresh := newLife()
	fresh.url, fresh.began, fresh.pending, fresh.loading = rawURL, time.Now(), true, true
	s.tab.mu.Lock()
	s.tab.life = fresh
	s.tab.mu.Unlock()
	s.observe(recorder.Observation{Kind: recorder.ObservedNavigate, Text: recorder.RedactURL(rawURL)})

	d, id := s.devtools(), s.tab.id()
	if err := send(ctx, d, id, network.Enable, network.EnableParams{}); err != nil {
		return page.NavigateResult{}, err
	}
	result, err := call(ctx, d, id, page.Navigate, page.NavigateParams{URL: rawURL})
	if s.opts.Observe == nil {
		_ = send(context.WithoutCancel(ctx), d, id, network.Disable, cdp.Empty{})
	}
	if err != nil {
		return result, err
	}
	if fault := s.arrived(result); fault != nil {
		return result, fault
	}
	return result, nil
}

// responds reports whether the page's main thread does anything.
func (s *Session) responds(ctx context.Context) bool {
	asking, cancel := context.WithTimeout(ctx, hungAfter)
	defer cancel()
	_, err := call(asking, s.devtools(), s.tab.id(), runtime.Evaluate, runtime.EvaluateParams{Expression: "0"})
	return err == nil || asking.Err() == nil || ctx.Err() != nil
}

// committed waits until the new document has replaced the old one; Chrome says
// that a navigation is done a little before.
func (s *Session) committed(ctx context.Context, loader cdp.LoaderID) bool {
	if loader == "" {
		return true
	}
	timer := time.NewTimer(hungAfter)
	defer timer.Stop()
	for {
		s.tab.mu.Lock()
		there, changed := s.tab.life.loader == loader || s.tab.life.over != nil, s.tab.changed
		s.tab.mu.Unlock()
		if there {
			return true
		}
		select {
		case <-changed:
		case <-timer.C:
			return false
		case <-s.deaths.happened():
			return true
		case <-ctx.Done():
			return true
		}
	}
}

// endRenderer kills the process of a page that hangs and waits until the tab
// knows. Page.crash would not do: while a navigation waits for the renderer,
// Chrome keeps commands for it back.
func (s *Session) endRenderer(ctx context.Context) error {
	s.log.Warn("the page hangs; ending its renderer")
	known, err := call(ctx, s.devtools(), "", systeminfo.GetProcessInfo, cdp.Empty{})
	if err != nil {
		return err
	}
	for _, p := range known.ProcessInfo {
		if pid := int(p.ID); p.Type == "renderer" && s.chrome().has(pid) {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
	for {
		s.tab.mu.Lock()
		crashed, changed := s.tab.life.crashed(), s.tab.changed
		s.tab.mu.Unlock()
		if crashed {
			return nil
		}
		select {
		case <-changed:
		case <-s.deaths.happened():
			return s.dead()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// failure explains why a command could not be carried out.
func (s *Session) failure(ctx context.Context, err error) error {
	if errors.Is(err, errPipeClosed) || errors.Is(err, syscall.EPIPE) {
		// The process that closed the pipe is about to be waited for.
		select {
		case <-s.deaths.happened():
		case <-ctx.Done():
		}
	}
	var told *recorder.Error
	switch {
	case s.dead() != nil:
		return s.dead()
	case errors.As(err, &told):
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	default:
		return recorder.Errorf(recorder.CodePageLoad, "page load error: %w", err)
	}
}

// arrived judges the outcome of a navigation.
func (s *Session) arrived(result page.NavigateResult) *recorder.Error {
	var fault *recorder.Error
	status := 0
	s.tab.update(func(l *life) {
		l.loading, status = false, l.status
		l.netErr = result.ErrorText
		switch {
		case l.status >= http.StatusBadRequest:
			fault = recorder.Errorf(recorder.CodePageLoad, "page load error: HTTP status %d %s", l.status, http.StatusText(l.status))
		case result.ErrorText != "":
			fault = recorder.Errorf(recorder.CodePageLoad, "page load error: %s", result.ErrorText)
		}
		if fault != nil && l.over == nil {
			l.over = fault
		}
	})
	if fault != nil {
		s.observe(recorder.Observation{Kind: recorder.ObservedDocument, Level: "error", Text: fault.Message, Status: status})
	}
	return fault
}

// checkURL refuses what no job should have been accepted with.
func checkURL(rawURL string) error {
	u, err := url.Parse(rawURL)
	if err == nil && (rawURL == "about:blank" || (u.Scheme == "http" || u.Scheme == "https") && u.Host != "") {
		return nil
	}
	return recorder.Errorf(recorder.CodeInvalid, "cannot open %q: only http and https pages are opened", recorder.RedactURL(rawURL))
}
