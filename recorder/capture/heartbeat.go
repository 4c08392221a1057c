package capture

import (
	"context"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"

	"tapedeck/recorder"
)

// heart is a process that is asked for signs of life: one that is there but does
// not answer would be recorded, or hold everything up, for ever.
type heart struct {
	p   *process
	ask func(ctx context.Context) error // waits for the answer
	// patience is how many beats an answer may take. Beats and not time: after we
	// ourselves were stopped, or the machine was, the answer is there but not yet read.
	patience int
}

// How often a heart is asked and looked at: a server that hangs is known within 5 s;
// Chrome has more to do.
const (
	beat           = 500 * time.Millisecond
	serverPatience = 8
	chromePatience = 12
)

// attend returns when the process ended, the session closed, or, with true, when
// it hangs.
func (s *Session) attend(h heart) (hangs bool) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	answered := make(chan error, 1)
	asking, missed := false, 0
	for {
		select {
		case <-ticker.C:
		case err := <-answered:
			asking = false
			if err == nil {
				missed = 0
			}
			continue
		case <-h.p.died:
			return false
		case <-s.closing:
			return false
		}
		if missed++; missed > h.patience {
			return true
		}
		if !asking {
			asking = true
			s.goes(func() { answered <- h.ask(ctx) })
		}
	}
}

func (s *Session) attendChrome(c *chrome) {
	ask := func(ctx context.Context) error {
		_, err := call(ctx, c.devtools, "", browser.GetVersion, cdp.Empty{})
		return err
	}
	s.goes(func() {
		if s.attend(heart{p: c.process, ask: ask, patience: chromePatience}) {
			s.deaths.die(recorder.EndBrowserDied, "Chrome does not answer any more")
		}
	})
}

// attendX asks over a connection of its own: whoever waits for an answer on the
// other one is not to be mistaken for the server.
func (s *Session) attendX(ctx context.Context) error {
	ear, err := s.x.dial(ctx)
	if err != nil {
		return err
	}
	ask := func(context.Context) error { return ear.answers() }
	s.goes(func() { //nolint:contextcheck // the session outlives its start
		defer func() { _ = ear.close() }()
		if s.attend(heart{p: s.x.process, ask: ask, patience: serverPatience}) {
			s.hangs(s.x.process, recorder.EndDisplayDied)
		}
	})
	return nil
}

func (s *Session) attendPulse(ctx context.Context) error {
	ear, err := dialPulse(ctx, s.pulse.socket)
	if err != nil {
		return recorder.Errorf(recorder.CodeUnavailable, "PulseAudio does not take connections: %w", err)
	}
	s.goes(func() { //nolint:contextcheck // the session outlives its start
		defer ear.close()
		if s.attend(heart{p: s.pulse.process, ask: ear.answers, patience: serverPatience}) {
			s.hangs(s.pulse.process, recorder.EndSoundDied)
		}
	})
	return nil
}
