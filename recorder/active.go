package recorder

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.uber.org/zap"
)

// active follows a running recording until something ends it, and sets the end
// reason.
func (l *life) active(ctx context.Context) {
	pageCtx, stopPage := context.WithCancel(ctx)
	page, watched := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(watched)
		page <- l.watchPage(pageCtx)
	}()
	defer func() {
		stopPage()
		<-watched
	}()

	limit := l.limitTimer()
	defer limit.Stop()
	tick := time.NewTicker(l.interval())
	defer tick.Stop()
	for l.rec.EndReason == "" {
		select {
		case <-ctx.Done():
			l.stopped(ctx)
		case err := <-page:
			l.pageEnded(ctx, err)
		case err := <-l.piped:
			l.piped <- err
			l.pipelineEnded(ctx, err)
		case u := <-l.updates:
			l.update(ctx, u)
		case <-limit.C:
			l.rec.EndReason = EndMaxDuration
		case <-tick.C:
			l.progress()
		}
	}
}

func (l *life) interval() time.Duration {
	if l.Progress > 0 {
		return l.Progress
	}
	return time.Second
}

// limitTimer fires at max_duration. It runs from now, which is within a frame of
// the first one.
func (l *life) limitTimer() *time.Timer {
	if d := l.job.Limits.MaxDuration.Std(); d > 0 {
		return time.NewTimer(d)
	}
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// stallTimeout is how long a recording may stand still before it is ended: a
// frozen display or sound server must not look like a running recording.
const stallTimeout = 20 * time.Second

func (l *life) progress() {
	before := l.rec.Stats.Elapsed
	l.apply(l.pipeline.Snapshot())
	now := l.Now()
	if l.rec.Stats.Elapsed != before || l.movedAt.IsZero() {
		l.movedAt = now
	}
	if now.Sub(l.movedAt) >= stallTimeout {
		l.rec.Fail(Errorf(CodePipeline, "nothing was captured for %s: the display or the sound server stands still", stallTimeout),
			CodePipeline, EndPipeline)
		return
	}
	if most := l.job.Limits.MaxSize; most > 0 && l.rec.Stats.Bytes >= most {
		l.rec.EndReason = EndMaxSize
		return
	}
	l.tell()
}

func (l *life) stopped(ctx context.Context) {
	l.rec.EndReason = stopOf(ctx).Reason
}

func (l *life) pageEnded(ctx context.Context, err error) {
	if ctx.Err() != nil {
		l.stopped(ctx)
		return
	}
	if err == nil {
		l.rec.EndReason = EndSignal
		return
	}
	reason := EndPageCrashed
	switch {
	case errors.Is(err, ErrSessionDied):
		reason = EndSessionDied
	case errors.Is(err, ErrPageClosed):
		// Closing the tab is how many pages leave a meeting: an end, not a failure.
		l.rec.EndReason = EndPageClosed
		return
	}
	if reason == EndPageCrashed {
		l.diagnose(ctx)
	}
	l.rec.Fail(l.scrub.Error(AsError(err, CodePageCrashed)), CodePageCrashed, reason)
}

func (l *life) pipelineEnded(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
		l.stopped(ctx)
	case err == nil:
		l.rec.Fail(AsError(errEndedByItself(), CodePipeline), CodePipeline, EndPipeline)
	default:
		l.rec.Fail(l.scrub.Error(AsError(err, CodePipeline)), CodePipeline, EndPipeline)
	}
}

// watchPage returns nil at END_RECORDING. A tab that crashed, or left for a page
// that does not load, is loaded again while the recording goes on with its last
// picture.
func (l *life) watchPage(ctx context.Context) error {
	for reloads := 0; ; {
		err := l.session.Wait(ctx, MarkerEnd)
		for (errors.Is(err, ErrPageCrashed) || CodeOf(err) == CodePageLoad) && reloads < l.job.Limits.Reloads() {
			reloads++
			l.hold(true)
			l.Log.Warn("the page is lost, loading it again", zap.Int("reload", reloads), zap.String("error", l.scrub.Text(err.Error())))
			err = l.reload(ctx)
		}
		if !errors.Is(err, errReloaded) {
			return err
		}
		l.hold(false)
	}
}

var errReloaded = errors.New("reloaded")

// reload answers errReloaded when the page runs again, ErrPageCrashed when
// another try may help.
func (l *life) reload(ctx context.Context) error {
	url, err := PageURL(l.job, l.LiveKitURL)
	if err != nil {
		return err
	}
	err = l.loadOnce(ctx, url)
	switch {
	case err == nil:
		return errReloaded
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, ErrSessionDied), errors.Is(err, ErrPageClosed):
		return err
	default:
		return Errorf(CodePageCrashed, "the page was lost, and loading it again failed: %w", err)
	}
}

func (l *life) hold(on bool) {
	if h, ok := l.pipeline.(Holder); ok {
		h.Hold(on)
	}
}

// update adds and removes streams. A refusal is logged and seen in the stream's
// state; it never ends the recording.
func (l *life) update(ctx context.Context, u Update) {
	for _, name := range u.RemoveStreamURLs {
		id := name
		if !isStreamID(name) {
			id = StreamID(name)
		}
		if err := l.removeStream(ctx, id); err != nil {
			l.Log.Warn("a stream was not removed", zap.String("stream", id), zap.String("error", l.scrub.Text(err.Error())))
		}
	}
	for _, url := range u.AddStreamURLs {
		l.added = append(l.added, url)
		l.scrub = l.scrub.With(l.job, l.added...)
		if err := l.addStream(ctx, url); err != nil {
			l.Log.Warn("a stream was not added", zap.String("url", RedactStreamURL(url)), zap.String("error", l.scrub.Text(err.Error())))
		}
	}
	l.progress()
}

func (l *life) addStream(ctx context.Context, url string) error {
	if err := ValidateUpdate(Update{AddStreamURLs: []string{url}}); err != nil {
		return err
	}
	if l.job.AudioOnly {
		return Errorf(CodeInvalid, "an ingest server needs a picture, and the job is audio_only")
	}
	live := 0
	for _, s := range l.pipeline.Snapshot().Streams {
		switch {
		case s.ID == StreamID(url) && s.State != StreamFinished && s.State != StreamFailed:
			return nil // the same command again, after a takeover
		case s.State != StreamFinished && s.State != StreamFailed:
			live++
		}
	}
	if live >= MaxStreamURLs {
		return Errorf(CodeInvalid, "the job has %d streams already: remove one first", live)
	}
	ctx, cancel := context.WithTimeout(ctx, updateTimeout)
	defer cancel()
	return l.pipeline.Add(ctx, l.stream(url))
}

// updateTimeout bounds one change of the streams: a server that hangs must not
// keep the recording from its limits and markers.
const updateTimeout = 10 * time.Second

func (l *life) removeStream(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, updateTimeout)
	defer cancel()
	return l.pipeline.Remove(ctx, id)
}

func isStreamID(s string) bool {
	digits, ok := strings.CutPrefix(s, "st_")
	return ok && len(digits) == 8 && strings.Trim(digits, "0123456789abcdef") == ""
}
