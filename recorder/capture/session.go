// Package capture opens a web page where it can be recorded: a session is one X
// display, one PulseAudio server and one Chrome, all of its own, so that
// nobody hears or sees a neighbour.
//
//	Open      janitor -> Xvfb -> Chrome  (PulseAudio beside)
//	Navigate, Wait, Diagnose             over Chrome's DevTools pipe
//	Revive    Chrome again, when it died: the display shows its last picture
//	Close     Chrome, PulseAudio, Xvfb, then the janitor removes the rest
//
// As root, the three run under an unprivileged user, so that Chrome's sandbox
// stays on. Each leads its own process group, dies with us, and is waited for.
// What a SIGKILL of ours would leave behind, the janitor removes.
package capture

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"tapedeck/recorder"
)

// Session is one display, sound server and browser. It implements
// recorder.Session.
type Session struct {
	spec       recorder.SessionSpec
	opts       Options
	log        *zap.Logger
	account    account
	chromePath string
	dir        string   // everything of the session, removed in the end
	lock       *os.File // on dir, while we live

	janitor   *janitor
	launcher  *launcher
	processes []*process // in the order they were started
	starting  sync.Mutex // guards processes
	x         *xServer
	pulse     *pulseServer // nil when silent
	screen    *screen
	desktop   *desktop               // in place of x, pulse and screen when visible
	browser   atomic.Pointer[chrome] // replaced by Revive
	tab       *tab

	// ctx ends with Close. What the session does by itself runs in it.
	ctx    context.Context
	end    context.CancelFunc
	jobs   sync.WaitGroup
	deaths *deaths

	veiling    sync.Mutex
	veiled     bool // the screen is frozen
	navigating sync.Mutex
	reviving   sync.Mutex    // Revive against Close
	observing  sync.Mutex    // one observation at a time
	closing    chan struct{} // closed when Close began
	closeOnce  sync.Once
	closeErr   error

	shots     int // screenshots taken
	diagnoses sync.Mutex
}

// How long Close gives each process before it is killed.
const (
	chromeGrace = 2 * time.Second
	serverGrace = time.Second
)

// Open starts a session. ctx bounds the start only; the session lives until
// Close.
func Open(ctx context.Context, spec recorder.SessionSpec, opts Options) (*Session, error) {
	account, err := opts.account()
	if err != nil {
		return nil, err
	}
	chromePath, err := opts.chrome()
	if err != nil {
		return nil, err
	}
	base, err := opts.runtimeBase(account)
	if err != nil {
		return nil, err
	}
	s := &Session{
		spec: spec, opts: opts, log: opts.log(), account: account, chromePath: chromePath,
		tab: newTab(), deaths: newDeaths(), closing: make(chan struct{}),
	}
	s.ctx, s.end = context.WithCancel(context.WithoutCancel(ctx))
	if opts.NoSandbox {
		s.log.Warn("Chrome runs without its sandbox; a page that breaks out of it is a user of this machine")
	}
	began := time.Now()
	if err := s.prepare(base); err != nil {
		s.end()
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.log.Info("session opened", zap.String("display", s.Inputs().Display), zap.Duration("took", time.Since(began)))
	return s, nil
}

// prepare makes the session's directory, with somebody there to remove it.
func (s *Session) prepare(base string) error {
	var err error
	if s.janitor, err = startJanitor(); err != nil {
		return err
	}
	s.launcher = startLauncher()
	fail := func(err error) error {
		s.launcher.stop()
		return errors.Join(recorder.Errorf(recorder.CodeUnavailable, "making the session's directory: %w", err), s.janitor.finish())
	}
	sweepDirs(base)
	if s.dir, s.lock, err = makeDir(base); err != nil {
		return fail(err)
	}
	if err := s.janitor.path(s.dir); err != nil {
		return fail(errors.Join(err, os.Remove(s.dir), s.lock.Close()))
	}
	temp := filepath.Join(s.dir, "tmp")
	if err := errors.Join(os.Mkdir(temp, 0o700), s.account.give(temp), s.account.give(s.dir)); err != nil {
		return fail(err)
	}
	return nil
}

// start brings up what the session needs.
func (s *Session) start(ctx context.Context) error {
	if s.opts.Visible {
		return s.startVisible(ctx)
	}
	return s.startHidden(ctx)
}

// startHidden brings the three up: sound beside display and browser.
func (s *Session) startHidden(ctx context.Context) error {
	group, starting := errgroup.WithContext(ctx)
	if !s.spec.Silent {
		group.Go(func() (err error) {
			if s.pulse, err = s.startPulse(starting); err != nil {
				return err
			}
			return s.attendPulse(starting)
		})
	}
	group.Go(func() (err error) {
		if s.x, err = s.startX(starting); err != nil {
			return err
		}
		if s.screen, err = s.x.connect(starting, s.spec.Width, s.spec.Height); err != nil {
			return err
		}
		if err := s.attendX(starting); err != nil {
			return err
		}
		if err := s.startBrowser(starting); err != nil {
			return err
		}
		return s.fillScreen(starting)
	})
	return group.Wait()
}

// startVisible opens the browser where the user is.
func (s *Session) startVisible(ctx context.Context) (err error) {
	if s.desktop, err = s.findDesktop(); err != nil {
		return err
	}
	if err := s.startBrowser(ctx); err != nil {
		return err
	}
	return s.fitWindow(ctx)
}

func (s *Session) startBrowser(ctx context.Context) error {
	c, err := s.startChrome(ctx, s.handle)
	if err != nil {
		return err
	}
	s.browser.Store(c)
	if err := s.attach(ctx); err != nil {
		return s.failure(ctx, err)
	}
	s.attendChrome(c) //nolint:contextcheck // the session outlives its start
	return nil
}

// chrome is the present browser; nil before the first.
func (s *Session) chrome() *chrome { return s.browser.Load() }

func (s *Session) devtools() *devtools { return s.chrome().devtools }

// spawn starts a process; ended is called at its end, whoever asked for it.
func (s *Session) spawn(c command, ended func(*process)) (*process, error) {
	c.as = s.account
	p, err := startProcess(s.launcher, s.janitor, c)
	if err != nil {
		return nil, err
	}
	s.starting.Lock()
	s.processes = append(s.processes, p)
	s.starting.Unlock()
	s.goes(func() {
		<-p.died
		ended(p)
	})
	return p, nil
}

// forgetProcess strikes off one that is gone.
func (s *Session) forgetProcess(p *process) {
	s.starting.Lock()
	defer s.starting.Unlock()
	s.processes = slices.DeleteFunc(s.processes, func(other *process) bool { return other == p })
}

// environment is what a process of the session gets to see: nothing of ours
// that may be a secret, and the session's directory, so that an operator can
// tell whose process it is.
func (s *Session) environment(more ...string) []string {
	env := []string{
		sessionMark(s.dir), "HOME=" + s.dir, "TMPDIR=" + filepath.Join(s.dir, "tmp"), "XDG_RUNTIME_DIR=" + s.dir,
		"PATH=/usr/local/bin:/usr/bin:/bin", "DBUS_SESSION_BUS_ADDRESS=unix:path=/dev/null",
	}
	for _, name := range []string{
		"LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "FONTCONFIG_FILE", "FONTCONFIG_PATH",
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR",
	} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return append(env, more...)
}

// goes runs one of the session's own jobs; Close waits for it.
func (s *Session) goes(job func()) {
	s.jobs.Add(1)
	go func() {
		defer s.jobs.Done()
		job()
	}()
}

func (s *Session) isClosing() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

// Inputs says where picture and sound can be had; the sound of a visible browser
// is the user's own, and nothing to record.
func (s *Session) Inputs() recorder.Inputs {
	if s.desktop != nil {
		return recorder.Inputs{Display: s.desktop.display, XAuthority: s.desktop.authority}
	}
	in := recorder.Inputs{Display: s.x.display, XAuthority: s.x.authority}
	if s.pulse != nil {
		in.PulseServer, in.PulseSource = s.pulse.address(), pulseSource
	}
	return in
}

// Close ends everything the session started, Chrome first, and returns when it
// is gone. Calling it again gives the same answer.
func (s *Session) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

func (s *Session) close() error {
	close(s.closing)
	s.reviving.Lock() // it sees that we close, and lets go
	defer s.reviving.Unlock()
	var err error
	if c := s.chrome(); c != nil {
		err = c.quit(s.ctx)
	}
	if s.screen != nil {
		err = errors.Join(err, s.screen.close())
	}
	s.starting.Lock()
	for _, p := range slices.Backward(s.processes) {
		p.stop(serverGrace, p.terminate)
	}
	s.starting.Unlock()
	endStrays(s.dir)
	s.end()
	s.jobs.Wait()
	s.launcher.stop()
	return errors.Join(err, s.janitor.finish(), s.lock.Close())
}
