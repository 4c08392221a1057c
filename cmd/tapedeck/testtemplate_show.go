package main

import (
	"context"
	"image"
	"image/png"
	"os"
	"sync"

	"go.uber.org/zap"

	"tapedeck/recorder"
	"tapedeck/recorder/capture"
	"tapedeck/recorder/upload"
)

// show opens the page and returns when it is over, or ctx is done.
func (t *trial) show(ctx context.Context) {
	if t.record != "" {
		t.showErr = t.showRecorded(ctx)
	} else {
		t.showVisible(ctx)
	}
}

// open opens the page's browser, observed.
func (t *trial) open(ctx context.Context, spec recorder.SessionSpec, visible bool) (*capture.Session, error) {
	opts := t.app.captureOptions(t.log)
	opts.Observe, opts.Visible = t.journal.write, visible
	s, err := capture.Open(ctx, spec, opts)
	if err == nil {
		t.screen.set(s)
	}
	return s, err
}

// showVisible opens a window, and leaves it open until the page ends.
func (t *trial) showVisible(ctx context.Context) {
	defer t.screen.set(nil)
	template := ""
	if t.task.Job.UsesBuiltIn() {
		served, stop, err := serveTemplate()
		if err != nil {
			t.showErr = err
			return
		}
		defer stop()
		template = served
	}
	address, err := recorder.PageURL(t.task.Job, t.task.Pass, template)
	if err != nil {
		t.showErr = err
		return
	}
	dir, err := os.MkdirTemp("", "tapedeck-test-template-")
	if err != nil {
		t.showErr = err
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	size := t.task.Job.Options()
	s, err := t.open(ctx, recorder.SessionSpec{Width: size.Width, Height: size.Height, Dir: dir}, true)
	if err != nil {
		t.showErr = err
		return
	}
	defer s.Close()
	loading, cancel := context.WithTimeout(ctx, t.task.Job.Limits.Start())
	err = s.Navigate(loading, address)
	cancel()
	if err == nil {
		// What comes of it was observed.
		_ = s.Wait(ctx, recorder.MarkerEnd)
	}
}

// showRecorded records the page as `tapedeck record` does.
func (t *trial) showRecorded(ctx context.Context) error {
	defer t.screen.set(nil)
	spool, err := upload.NewSpool(t.app.config.Spool, upload.Options{Overwrite: true, Log: t.log, KeepLogs: keptLogs})
	if err != nil {
		return err
	}
	entry, err := spool.Create(t.task)
	if err != nil {
		return err
	}
	task := entry.Task()
	task.Pass = t.task.Pass
	runner := t.app.newRecorder(t.log) //nolint:contextcheck // the MPEG-TS muxer's context, which it never looks at
	runner.OpenSession = func(ctx context.Context, spec recorder.SessionSpec) (recorder.Session, error) {
		s, err := t.open(ctx, spec, false)
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	rec := runner.Run(ctx, task, nil, saving(entry, func(recorder.Recording) {}, t.log))
	t.screen.set(nil)
	live := newLiveLine(t.app.err)
	rec = t.app.deliverNow(context.WithoutCancel(ctx), entry, rec, make(chan struct{}), live)
	t.recording = &rec
	return nil
}

// screen is the page's session while it is there, opened in one goroutine and
// looked at from another.
type screen struct {
	mu      sync.Mutex
	session *capture.Session
}

func (s *screen) set(session *capture.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session = session
}

// picture takes what the page shows; nil when it cannot.
func (s *screen) picture(ctx context.Context, log *zap.Logger) image.Image {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session == nil {
		return nil
	}
	file, err := os.Open(s.session.Diagnose(ctx).Screenshot)
	if err != nil {
		log.Info("no picture of the page", zap.Error(err))
		return nil
	}
	defer file.Close()
	picture, err := png.Decode(file)
	if err != nil {
		log.Info("no picture of the page", zap.Error(err))
		return nil
	}
	return picture
}
