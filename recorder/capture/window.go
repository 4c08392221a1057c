package capture

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"go.uber.org/zap"

	"tapedeck/recorder"
)

// fillScreen gives the page the whole screen and waits until it has it. Chrome
// makes a window of the screen's size one pixel smaller each way, lest a window
// manager take it for full screen; there is none here.
func (s *Session) fillScreen(ctx context.Context) error {
	if err := s.screen.cover(s.spec.Width, s.spec.Height); err != nil {
		return recorder.Errorf(recorder.CodeUnavailable, "sizing Chrome's window: %w", err)
	}
	yes := true
	_, err := call(ctx, s.chrome.devtools, s.tab.id(), runtime.Evaluate, runtime.EvaluateParams{
		AwaitPromise: &yes,
		Expression: fmt.Sprintf(`new Promise(done => {
			const look = () => { if (innerWidth === %d && innerHeight === %d) { removeEventListener('resize', look); done() } };
			addEventListener('resize', look); look() })`, s.spec.Width, s.spec.Height),
	})
	if err != nil {
		return recorder.Errorf(recorder.CodeUnavailable, "Chrome's window does not take the size of the screen: %w", err)
	}
	return nil
}

// veil freezes the picture before Chrome paints its sad tab or an error page
// (measured: 40 ms after the renderer ended we know, 85 ms after it Chrome paints).
func (s *Session) veil() {
	s.veiling.Lock()
	defer s.veiling.Unlock()
	if err := s.screen.veil(true); err != nil {
		s.log.Warn("the screen could not be frozen", zap.Error(err))
	}
	s.veiled = true
}

func (s *Session) frozen() bool {
	s.veiling.Lock()
	defer s.veiling.Unlock()
	return s.veiled
}

// How long a page that says it is there may take to be drawn.
const paintLimit = 2 * time.Second

// unveil shows the page that came after the crashed one as soon as it is drawn,
// which is some frames after it says that it is loaded or starts.
func (s *Session) unveil() {
	ctx, cancel := context.WithTimeout(s.ctx, paintLimit)
	defer cancel()
	yes := true
	_, err := call(ctx, s.chrome.devtools, s.tab.id(), runtime.Evaluate, runtime.EvaluateParams{
		AwaitPromise: &yes,
		Expression:   `new Promise(done => { let left = 4; const tick = () => left-- ? requestAnimationFrame(tick) : done(); tick() })`,
	})
	s.veiling.Lock()
	defer s.veiling.Unlock()
	// It may have crashed again by now, and the veil is for that crash then.
	if !s.veiled || s.ctx.Err() != nil || s.tab.ended() {
		return
	}
	if err := errors.Join(err, s.screen.veil(false)); err != nil {
		s.log.Warn("showing the page after a crash", zap.Error(err))
	}
	s.veiled = false
}
