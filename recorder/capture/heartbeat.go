package capture

import (
	"context"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"

	"tapedeck/recorder"
)

// How often Chrome is asked for a sign of life, and how long it has to give one.
const (
	heartbeatEvery = 5 * time.Second
	heartbeatLimit = 10 * time.Second
)

// heartbeat ends the session when Chrome is there but does not answer: it would
// record its last picture for ever.
func (s *Session) heartbeat() {
	ticker := time.NewTicker(heartbeatEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-s.ctx.Done():
			return
		case <-s.died:
			return
		}
		if !s.chromeAnswers() {
			s.die(recorder.Errorf(recorder.CodeSessionDied, "Chrome does not answer any more"))
			return
		}
	}
}

func (s *Session) chromeAnswers() bool {
	ctx, cancel := context.WithTimeout(s.ctx, heartbeatLimit)
	defer cancel()
	if _, err := call(ctx, s.chrome.devtools, "", browser.GetVersion, cdp.Empty{}); err == nil {
		return true
	}
	// A closed pipe is an answer of its own: the process ends too, and its end tells more.
	select {
	case <-s.died:
	case <-ctx.Done():
	}
	return s.ctx.Err() != nil
}
