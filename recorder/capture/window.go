package capture

import (
	"context"
	"fmt"

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
	if err := s.screen.veil(true); err != nil {
		s.log.Warn("the screen could not be frozen", zap.Error(err))
	}
	s.veiled = true
}

// unveil shows the page again, once it is loaded or says that it starts.
func (s *Session) unveil() {
	if !s.veiled {
		return
	}
	if err := s.screen.veil(false); err != nil {
		s.log.Warn("the screen could not be thawed", zap.Error(err))
	}
	s.veiled = false
}
