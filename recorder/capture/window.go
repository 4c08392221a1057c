package capture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
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
	_, err := call(ctx, s.devtools(), s.tab.id(), runtime.Evaluate, runtime.EvaluateParams{
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

// How long a desktop may take to give a window its size.
const fitLimit = time.Second

// fitWindow gives a visible page the size it would be recorded at. Where the
// desktop is too small for that, the page gets it none the less, and is shown
// smaller.
func (s *Session) fitWindow(ctx context.Context) error {
	d, width, height := s.devtools(), s.spec.Width, s.spec.Height
	window, err := call(ctx, d, "", browser.GetWindowForTarget, browser.GetWindowForTargetParams{TargetID: s.tab.target})
	if err != nil {
		return s.failure(ctx, err)
	}
	var room [2]int
	if err := s.ask(ctx, `[screen.availWidth - outerWidth + innerWidth, screen.availHeight - outerHeight + innerHeight]`, &room); err != nil {
		return s.failure(ctx, err)
	}
	scale := scaleTo(room, width, height)
	corner := int64(0)
	if scale < 1 {
		_, _ = call(ctx, d, "", browser.SetWindowBounds, browser.SetWindowBoundsParams{
			WindowID: window.WindowID, Bounds: &browser.Bounds{Left: &corner, Top: &corner},
		})
	}
	want := [2]int{int(math.Round(scale * float64(width))), int(math.Round(scale * float64(height)))}
	// A Chrome that does not know the command leaves the rest to the scale.
	_, _ = call(ctx, d, "", browser.SetContentsSize, browser.SetContentsSizeParams{
		WindowID: window.WindowID, Width: int64(want[0]), Height: int64(want[1]),
	})
	var has [2]int
	if err := s.ask(ctx, fmt.Sprintf(`new Promise(done => {
		const tell = () => done([innerWidth, innerHeight]);
		const look = () => { if (innerWidth === %d && innerHeight === %d) tell() };
		addEventListener('resize', look); setTimeout(tell, %d); look() })`, want[0], want[1], fitLimit.Milliseconds()), &has); err != nil {
		return s.failure(ctx, err)
	}
	if has == [2]int{width, height} {
		return nil
	}
	scale = scaleTo(has, width, height)
	s.log.Info("the desktop is too small; the page is shown smaller", zap.Float64("scale", scale))
	_, err = call(ctx, d, s.tab.id(), emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: int64(width), Height: int64(height), DeviceScaleFactor: 1, Scale: scale,
	})
	return err
}

// scaleTo is by how much a picture must shrink to fit into the room there is.
func scaleTo(room [2]int, width, height int) float64 {
	return min(float64(room[0])/float64(width), float64(room[1])/float64(height), 1)
}

// ask evaluates an expression, or what it promises, in the page.
func (s *Session) ask(ctx context.Context, expression string, answer any) error {
	yes := true
	result, err := call(ctx, s.devtools(), s.tab.id(), runtime.Evaluate, runtime.EvaluateParams{
		AwaitPromise: &yes, ReturnByValue: &yes, Expression: expression,
	})
	if err != nil {
		return err
	}
	return json.Unmarshal(result.Result.Value, answer)
}

// veil freezes the picture before Chrome paints its sad tab or an error page
// (measured: 40 ms after the renderer ended we know, 85 ms after it Chrome paints).
func (s *Session) veil() {
	if s.screen == nil {
		return // who looks may see what happens
	}
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
func (s *Session) unveil(shown *life) {
	ctx, cancel := context.WithTimeout(s.ctx, paintLimit)
	defer cancel()
	yes := true
	_, err := call(ctx, s.devtools(), s.tab.id(), runtime.Evaluate, runtime.EvaluateParams{
		AwaitPromise: &yes,
		Expression:   `new Promise(done => { let left = 4; const tick = () => left-- ? requestAnimationFrame(tick) : done(); tick() })`,
	})
	s.veiling.Lock()
	defer s.veiling.Unlock()
	// It may have crashed again by now, or its browser died, and the veil is for that then.
	if !s.veiled || s.ctx.Err() != nil || s.dead() != nil || !s.tab.shows(shown) {
		return
	}
	if err := errors.Join(err, s.screen.veil(false)); err != nil {
		s.log.Warn("showing the page after a crash", zap.Error(err))
	}
	s.veiled = false
}
