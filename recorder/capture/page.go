package capture

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/inspector"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"

	"tapedeck/recorder"
)

// life is what is known of a page since one Navigate.
type life struct {
	url     string
	began   time.Time
	pending bool                       // the old document may still be heard
	loading bool                       // Navigate is under way
	seen    map[recorder.Marker]string // with the note beside it
	loader  cdp.LoaderID               // of the document that is there
	answers map[cdp.LoaderID]int       // HTTP status of each document
	status  int                        // of the one that Navigate asked for
	netErr  string                     // net::ERR_…
	divErr  string                     // text of div.error
	over    *recorder.Error
}

func newLife() *life {
	return &life{seen: map[recorder.Marker]string{}, answers: map[cdp.LoaderID]int{}}
}

func (l *life) has(m recorder.Marker) bool {
	_, seen := l.seen[m]
	return seen
}

func (l *life) crashed() bool { return l.over != nil && l.over.Code == recorder.CodePageCrashed }

// tab is the one tab of a session and what its page says.
type tab struct {
	target target.ID

	mu      sync.Mutex
	session target.SessionID
	life    *life
	console console
	objects int           // console arguments that Chrome keeps for us
	changed chan struct{} // closed and replaced at every change
}

func newTab() *tab {
	return &tab{life: newLife(), changed: make(chan struct{})}
}

// id is the DevTools session of the tab.
func (t *tab) id() target.SessionID {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.session
}

// began is when the present life did; zero before the first Navigate.
func (t *tab) began() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.life.began
}

func (t *tab) crashed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.life.crashed()
}

// shows reports whether a life is the present one, and not over.
func (t *tab) shows(l *life) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.life == l && l.over == nil
}

// renew forgets a browser and its page, but not what was said.
func (t *tab) renew() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.target, t.session, t.life, t.objects = "", "", newLife(), 0
	close(t.changed)
	t.changed = make(chan struct{})
}

// update changes the state and wakes whoever waits for a change.
func (t *tab) update(change func(l *life)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(t.life)
	close(t.changed)
	t.changed = make(chan struct{})
}

// The isolated world keeps our script out of the page's sight and reach.
const (
	worldName   = "tapedeck"
	bindingName = "tapedeckError"
)

// errorWatch looks for a filled div.error. Looking five times a second costs
// less than to observe every change of a busy page.
const errorWatch = `if (window === top) {
	const watch = setInterval(() => {
		const text = document.querySelector('div.error')?.textContent.trim();
		if (text) { clearInterval(watch); ` + bindingName + `(text.slice(0, 8192)); }
	}, 200);
}`

// attach finds the tab Chrome started with and listens to it.
func (s *Session) attach(ctx context.Context) error {
	d := s.devtools()
	targets, err := call(ctx, d, "", target.GetTargets, target.GetTargetsParams{})
	if err != nil {
		return err
	}
	for _, info := range targets.TargetInfos {
		if info.Type == "page" {
			s.tab.target = info.TargetID
		}
	}
	if s.tab.target == "" {
		created, err := call(ctx, d, "", target.CreateTarget, target.CreateTargetParams{URL: "about:blank"})
		if err != nil {
			return err
		}
		s.tab.target = created.TargetID
	}
	yes := true
	attached, err := call(ctx, d, "", target.AttachToTarget, target.AttachToTargetParams{TargetID: s.tab.target, Flatten: &yes})
	if err != nil {
		return err
	}
	s.tab.mu.Lock()
	s.tab.session = attached.SessionID
	s.tab.mu.Unlock()
	if err := s.listen(ctx); err != nil {
		return err
	}
	_, err = call(ctx, d, "", target.SetDiscoverTargets, target.SetDiscoverTargetsParams{Discover: true})
	return err
}

// listen enables the few events a recorder needs. Network events are many, and
// enabled only while a navigation is under way, unless somebody observes.
func (s *Session) listen(ctx context.Context) error {
	d, id := s.devtools(), s.tab.id()
	do := func(errs *[]error, err error) { *errs = append(*errs, err) }
	var errs []error
	do(&errs, send(ctx, d, "", browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{Behavior: browser.SetDownloadBehaviorBehaviorDeny}))
	do(&errs, send(ctx, d, id, page.Enable, page.EnableParams{}))
	do(&errs, send(ctx, d, id, inspector.Enable, cdp.Empty{}))
	do(&errs, send(ctx, d, id, log.Enable, cdp.Empty{}))
	do(&errs, send(ctx, d, id, runtime.AddBinding, runtime.AddBindingParams{Name: bindingName, ExecutionContextName: worldName}))
	do(&errs, send(ctx, d, id, page.AddScriptToEvaluateOnNewDocument,
		page.AddScriptToEvaluateOnNewDocumentParams{Source: errorWatch, WorldName: worldName}))
	if s.opts.Observe != nil {
		do(&errs, send(ctx, d, id, runtime.AddBinding, runtime.AddBindingParams{Name: parameterBinding}))
		do(&errs, send(ctx, d, id, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: parameterWatch}))
	}
	do(&errs, send(ctx, d, id, target.SetAutoAttach, autoAttach()))
	// Without a window manager no window has the focus, and some players pause without.
	do(&errs, send(ctx, d, id, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}))
	_, err := call(ctx, d, id, runtime.Enable, cdp.Empty{})
	return errors.Join(append(errs, err)...)
}

// autoAttach asks for sessions of cross-site frames, which run in processes of
// their own: a marker may be logged there.
func autoAttach() target.SetAutoAttachParams {
	yes := true
	filter := target.Filter{{Type: "iframe"}, {Exclude: true}}
	return target.SetAutoAttachParams{AutoAttach: true, Flatten: &yes, Filter: filter}
}

// Wait returns when the page logged m since the last Navigate, or cannot any more.
func (s *Session) Wait(ctx context.Context, m recorder.Marker) error {
	for {
		s.tab.mu.Lock()
		l, changed := s.tab.life, s.tab.changed
		seen, over, divErr := l.has(m), l.over, l.divErr
		s.tab.mu.Unlock()
		switch {
		case seen:
			return nil
		case over != nil && over.Code == recorder.CodePageClosed:
			return over // Chrome ends with its last tab, which is no death
		case s.dead() != nil:
			return s.dead()
		case over != nil:
			return over
		case m == recorder.MarkerStart && divErr != "":
			return recorder.Errorf(recorder.CodePageError, "template error: %s", divErr)
		}
		select {
		case <-changed:
		case <-s.deaths.happened():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Note gives the word that the page logged beside the first m since the last
// Navigate: "room_closed" of console.log("END_RECORDING", "room_closed"). Empty
// when there was none, or something else than up to 64 of a-z and _.
func (s *Session) Note(m recorder.Marker) string {
	s.tab.mu.Lock()
	defer s.tab.mu.Unlock()
	return s.tab.life.seen[m]
}
