package capture

import (
	"strings"
	"time"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/inspector"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"

	"tapedeck/recorder"
)

// handle takes every event of the browser. It runs in the reading goroutine.
func (s *Session) handle(msg *cdproto.Message) {
	if strings.HasPrefix(string(msg.Method), "Target.") {
		s.targetEvent(msg)
		return
	}
	if msg.SessionID == s.tab.id() {
		s.pageEvent(msg)
		return
	}
	s.frameEvent(msg)
}

// targetEvent watches tabs come and go.
func (s *Session) targetEvent(msg *cdproto.Message) {
	t := s.tab
	switch string(msg.Method) {
	case target.TargetCreated.Method:
		// A recorder has one tab. Another would cover it. A user may open what he likes.
		if e, ok := decode(msg, target.TargetCreated); ok && s.desktop == nil && e.TargetInfo.Type == "page" && e.TargetInfo.TargetID != t.target {
			_ = send(s.ctx, s.devtools(), "", target.CloseTarget, target.CloseTargetParams{TargetID: e.TargetInfo.TargetID})
		}
	case target.TargetDestroyed.Method:
		if e, ok := decode(msg, target.TargetDestroyed); ok && e.TargetID == t.target {
			s.veil()
			c := s.chrome()
			c.tabGone.Store(true)
			s.goes(c.judge)
		}
	case target.AttachedToTarget.Method:
		if e, ok := decode(msg, target.AttachedToTarget); ok && e.TargetInfo.Type == "iframe" {
			_ = send(s.ctx, s.devtools(), e.SessionID, runtime.Enable, cdp.Empty{})
			_ = send(s.ctx, s.devtools(), e.SessionID, target.SetAutoAttach, autoAttach())
			if s.opts.Observe != nil {
				_ = send(s.ctx, s.devtools(), e.SessionID, log.Enable, cdp.Empty{})
			}
		}
	}
}

// How long Chrome's word that a signal ends it may come after its tab is gone.
// (Measured: it comes 10 ms before.)
const signalLag = 50 * time.Millisecond

// tabClosed tells a page that closed its tab from a browser that ends.
func (s *Session) tabClosed(c *chrome) {
	timer := time.NewTimer(signalLag)
	defer timer.Stop()
	select {
	case <-c.signed:
		return // its end is told when it comes
	case <-timer.C:
	}
	s.over(recorder.Errorf(recorder.CodePageClosed, "the page closed its tab"))
	if !s.isClosing() {
		s.observe(recorder.Observation{Kind: recorder.ObservedClosed, Text: "the tab was closed"})
	}
}

// pageEvent takes the events of the tab itself.
func (s *Session) pageEvent(msg *cdproto.Message) {
	switch string(msg.Method) {
	case runtime.ExecutionContextsCleared.Method:
		// What follows is of the new document. The renderer says so in the order of its console.
		s.tab.update(func(l *life) { l.pending = false })
	case page.LoadEventFired.Method:
		s.mark(signal{marker: recorder.MarkerLoaded})
	case page.FrameNavigated.Method:
		if e, ok := decode(msg, page.FrameNavigated); ok {
			s.frameNavigated(e.Frame)
		}
	case network.ResponseReceived.Method:
		if e, ok := decode(msg, network.ResponseReceived); ok {
			s.responded(e)
		}
	case runtime.BindingCalled.Method:
		if e, ok := decode(msg, runtime.BindingCalled); ok {
			s.told(e)
		}
	case page.JavascriptDialogOpening.Method:
		if e, ok := decode(msg, page.JavascriptDialogOpening); ok {
			s.answerDialog(e)
		}
	case inspector.TargetCrashed.Method:
		// Target.targetCrashed says the same a little later, when the page may be in its next life already.
		s.veil()
		s.tab.update(func(l *life) { l.over = recorder.Errorf(recorder.CodePageCrashed, "the tab crashed") })
		s.observe(recorder.Observation{Kind: recorder.ObservedCrash, Text: "the tab crashed"})
	default:
		s.frameEvent(msg)
	}
}

// frameEvent takes what the tab and cross-site frames in it have in common:
// they talk.
func (s *Session) frameEvent(msg *cdproto.Message) {
	switch string(msg.Method) {
	case runtime.ConsoleAPICalled.Method:
		if e, ok := decode(msg, runtime.ConsoleAPICalled); ok {
			s.hear(recorder.ObservedConsole, consoleCall(e))
			if said := signalOf(e.Args); said.marker != "" {
				s.mark(said)
			}
			s.releaseObjects(msg.SessionID, len(e.Args))
		}
	case runtime.ExceptionThrown.Method:
		if e, ok := decode(msg, runtime.ExceptionThrown); ok {
			s.hear(recorder.ObservedException, exceptionLine(e.ExceptionDetails))
		}
	case log.EntryAdded.Method:
		if e, ok := decode(msg, log.EntryAdded); ok {
			kind := recorder.ObservedConsole
			if e.Entry.Source == log.EntrySourceNetwork {
				kind = recorder.ObservedResource
			}
			s.hear(kind, logLine(e.Entry))
		}
	}
}

// told takes what our own scripts in the page tell.
func (s *Session) told(e runtime.EventBindingCalled) {
	switch e.Name {
	case bindingName:
		text := saying(e.Payload)
		s.tab.update(func(l *life) { l.divErr = text })
		s.observe(recorder.Observation{Kind: recorder.ObservedPageError, Text: text})
	case parameterBinding:
		s.parameter(e.Payload)
	}
}

// mark remembers a marker of the present life, as it was said first.
func (s *Session) mark(said signal) {
	var fresh *life
	heard := false
	s.tab.update(func(l *life) {
		if l.pending {
			return
		}
		heard = true
		if !l.has(said.marker) {
			l.seen[said.marker] = said.note
		}
		if l.over == nil {
			fresh = l
		}
	})
	if fresh != nil && s.frozen() {
		s.goes(func() { s.unveil(fresh) })
	}
	if heard {
		s.observe(recorder.Observation{Kind: recorder.ObservedMarker, Text: string(said.marker), Note: said.note})
	}
}

// over ends the page's life; the first reason stays.
func (s *Session) over(why *recorder.Error) {
	s.tab.update(func(l *life) {
		if l.over == nil {
			l.over = why
		}
	})
}

// Chrome keeps every object that was logged alive for a debugger to look at.
// Now and then they are let go, or a page that logs a lot would grow.
const objectsKept = 200

func (s *Session) releaseObjects(session target.SessionID, logged int) {
	s.tab.mu.Lock()
	s.tab.objects += logged
	full := s.tab.objects >= objectsKept
	if full {
		s.tab.objects = 0
	}
	s.tab.mu.Unlock()
	if full {
		_ = send(s.ctx, s.devtools(), session, runtime.ReleaseObjectGroup, runtime.ReleaseObjectGroupParams{ObjectGroup: "console"})
	}
}

// frameNavigated notices that a page left for nowhere.
func (s *Session) frameNavigated(frame *cdp.Frame) {
	if frame.ParentID != "" {
		return
	}
	status := 0
	s.tab.update(func(l *life) {
		l.loader, l.pending = frame.LoaderID, false
		status = l.answers[frame.LoaderID]
	})
	if frame.UnreachableURL != "" || strings.HasPrefix(frame.URL, "chrome-error:") {
		s.veil()
		s.tab.update(func(l *life) {
			// While Navigate is under way it is the one to say why.
			if !l.loading && l.over == nil {
				l.over = recorder.Errorf(recorder.CodePageLoad, "the page left for one that does not load")
			}
		})
	}
	s.observe(recorder.Observation{Kind: recorder.ObservedDocument, Text: recorder.RedactURL(frame.URL), Status: status})
}

// responded keeps the status of the document; redirects are not reported here.
func (s *Session) responded(e network.EventResponseReceived) {
	if e.Type != network.ResourceTypeDocument || e.FrameID != cdp.FrameID(s.tab.target) || e.Response == nil {
		return
	}
	s.tab.update(func(l *life) {
		l.answers[e.LoaderID] = int(e.Response.Status)
		if l.loading {
			l.status = int(e.Response.Status)
		}
	})
}

// answerDialog takes a dialog away before it stops the page: leaving is always
// allowed, a question is answered with no.
func (s *Session) answerDialog(e page.EventJavascriptDialogOpening) {
	s.hear(recorder.ObservedConsole, entry("dialog", string(e.Type)+": "+e.Message, "", 0))
	accept := e.Type == page.DialogTypeAlert || e.Type == page.DialogTypeBeforeunload
	_ = send(s.ctx, s.devtools(), s.tab.id(), page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: accept})
}
