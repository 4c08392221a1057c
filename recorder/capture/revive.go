package capture

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.uber.org/zap"

	"tapedeck/recorder"
)

// Revive ends what is left of a browser that died or hangs and starts another one on
// the same display and sound server. The display shows its last picture until the
// page of the next Navigate is drawn.
func (s *Session) Revive(ctx context.Context) error {
	s.navigating.Lock()
	defer s.navigating.Unlock()
	s.reviving.Lock()
	defer s.reviving.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer s.closeCancels(cancel)()

	began := time.Now()
	if err := s.deaths.final(); err != nil {
		return err
	}
	s.veil()
	s.buryBrowser()
	if err := s.deaths.forget(); err != nil {
		return err
	}
	err := s.restartBrowser(ctx)
	if err != nil {
		err = s.failure(ctx, err)
		s.deaths.die(recorder.EndBrowserDied, recorder.AsError(err, recorder.CodeUnavailable).Message)
		return err
	}
	s.log.Info("the browser was started again", zap.Duration("took", time.Since(began)))
	return nil
}

// closeCancels calls cancel when Close begins, until it is called off.
func (s *Session) closeCancels(cancel context.CancelFunc) (off func()) {
	done := make(chan struct{})
	go func() {
		select {
		case <-s.closing:
			cancel()
		case <-done:
		}
	}()
	return func() { close(done) }
}

// buryBrowser returns when nothing of the browser is there any more, and nobody
// speaks of it.
func (s *Session) buryBrowser() {
	c := s.chrome()
	c.signal(syscall.SIGKILL)
	<-c.mourned
	endStrays(s.dir, s.servers()...)
	<-c.done
	_ = c.devtools.close()
	<-c.devtools.lost
	s.forgetProcess(c.process)
}

// servers are the processes that outlive a browser.
func (s *Session) servers() []*process {
	var all []*process
	if s.x != nil {
		all = append(all, s.x.process)
	}
	if s.pulse != nil {
		all = append(all, s.pulse.process)
	}
	return all
}

func (s *Session) restartBrowser(ctx context.Context) error {
	s.tab.renew()
	s.observe(recorder.Observation{Kind: recorder.ObservedCrash, Text: "the browser died"})
	if err := s.freshHome(); err != nil {
		return recorder.Errorf(recorder.CodeUnavailable, "making room for another browser: %w", err)
	}
	if s.desktop != nil {
		if err := s.startBrowser(ctx); err != nil {
			return err
		}
		return s.fitWindow(ctx)
	}
	usher, err := s.x.usher(ctx, s.screen)
	if err != nil {
		return recorder.Errorf(recorder.CodeUnavailable, "keeping a new window behind the veil: %w", err)
	}
	defer usher.leave()
	if err := s.startBrowser(ctx); err != nil {
		return err
	}
	return s.fillScreen(ctx)
}

// freshHome removes what a browser left in the session's directory: its profile
// says that it crashed, and knows the page.
func (s *Session) freshHome() error {
	err := os.RemoveAll(filepath.Join(s.dir, "profile"))
	left, globErr := filepath.Glob(filepath.Join(s.dir, "tmp", "*"))
	for _, path := range left {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return errors.Join(err, globErr)
}
