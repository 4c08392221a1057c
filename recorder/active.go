package recorder

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// active follows a running recording until something ends it, and sets the end
// reason.
func (l *life) active(ctx context.Context) {
	pageCtx, stopPage := context.WithCancel(ctx)
	page, room := make(chan pageEnd, 1), make(chan EndReason, 1)
	var watching sync.WaitGroup
	watching.Go(func() { page <- l.followPage(pageCtx) })
	watching.Go(func() { room <- l.watchRoom(pageCtx) })
	defer func() {
		stopPage()
		watching.Wait()
	}()

	// One update at a time, beside everything else: a server that hangs must not keep
	// the recording from its limits and markers.
	updates, updated := l.updates, make(chan func(), 1)
	limit := l.limitTimer()
	defer limit.Stop()
	tick := time.NewTicker(l.interval())
	defer tick.Stop()
	for l.rec.EndReason == "" {
		select {
		case <-ctx.Done():
			l.stopped(ctx)
		case end := <-page:
			l.pageEnded(ctx, end)
		case l.rec.EndReason = <-room:
		case err := <-l.piped:
			l.piped <- err
			l.pipelineEnded(ctx, err)
		case u := <-updates:
			updates = nil
			l.learn(u)
			l.updating = true
			watching.Go(func() { updated <- l.update(pageCtx, u) })
		case account := <-updated:
			updates, l.updating = l.updates, false
			account()
			l.progress()
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
	if l.everyStreamFailed() {
		return
	}
	l.tell()
}

// everyStreamFailed ends a recording that nobody gets anything of any more. Streams
// that an update took away do not count: another one may bring the next.
func (l *life) everyStreamFailed() bool {
	if !l.job.streamsAlone() || l.updating {
		return false
	}
	var last *StreamResult
	for i, s := range l.rec.Streams {
		switch {
		case l.removed[s.ID]:
		case s.State != StreamFailed:
			return false
		case last == nil || s.EndedAt >= last.EndedAt:
			last = &l.rec.Streams[i]
		}
	}
	if last == nil {
		return false
	}
	l.rec.Fail(Errorf(CodeStream, "every stream failed, %s the last: %s", last.URL, last.Error), CodeStream, EndStreamsFailed)
	return true
}

func (l *life) stopped(ctx context.Context) {
	l.rec.EndReason = stopOf(ctx).Reason
}

// pageEnd is how a page ended: with END_RECORDING for a reason, or in an error.
type pageEnd struct {
	reason EndReason
	err    error
}

func (l *life) followPage(ctx context.Context) pageEnd {
	if err := l.watchPage(ctx); err != nil {
		return pageEnd{err: err}
	}
	return pageEnd{reason: l.endOf(ctx)}
}

func (l *life) pageEnded(ctx context.Context, end pageEnd) {
	if ctx.Err() != nil {
		l.stopped(ctx)
		return
	}
	err := end.err
	if err == nil {
		l.rec.EndReason = end.reason
		if l.rec.EndReason == EndConnectionLost {
			l.rec.Fail(Errorf(CodeConnectionLost, "the page lost the LiveKit server, and joining again failed: what was recorded until then is whole"),
				CodeConnectionLost, EndConnectionLost)
		}
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
	l.rec.Fail(l.scrub().Error(AsError(err, CodePageCrashed)), CodePageCrashed, reason)
}

func (l *life) pipelineEnded(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
		l.stopped(ctx)
	case err == nil:
		l.rec.Fail(AsError(errEndedByItself(), CodePipeline), CodePipeline, EndPipeline)
	default:
		l.rec.Fail(l.scrub().Error(AsError(err, CodePipeline)), CodePipeline, EndPipeline)
	}
}

// watchPage returns nil at END_RECORDING. A tab that crashed, or left for a page
// that does not load, is loaded again while the recording goes on with its last
// picture.
func (l *life) watchPage(ctx context.Context) error {
	for reloads := 0; ; {
		err := l.session.Wait(ctx, MarkerEnd)
		for (errors.Is(err, ErrPageCrashed) || CodeOf(err) == CodePageLoad) && reloads < l.job.Limits.Reloads() {
			if l.roomGone(ctx) {
				return nil // endOf says so; a page that is loaded again would make the room anew
			}
			reloads++
			l.hold(true)
			l.Log.Warn("the page is lost, loading it again", zap.Int("reload", reloads), zap.String("error", l.scrub().Text(err.Error())))
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
	url, err := l.pageURL()
	if err != nil {
		return err
	}
	shown := l.layout.Load()
	err = l.loadOnce(ctx, url)
	switch {
	case err == nil:
		l.repeatLayout(ctx, shown)
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

// learn makes the secrets of an update known before they can be logged, and what it
// removes before it is gone.
func (l *life) learn(u Update) {
	for _, name := range u.RemoveStreamURLs {
		l.removed[streamID(name)] = true
	}
	for _, url := range u.AddStreamURLs {
		delete(l.removed, StreamID(url))
	}
	l.added = append(l.added, u.AddStreamURLs...)
	scrub := l.scrub().With(l.job, l.added...)
	l.scrubber.Store(&scrub)
}

// update changes streams and layout, and gives what the recording's own goroutine
// is to note of it. A refusal is logged and seen in the recording's state; it
// never ends the recording.
func (l *life) update(ctx context.Context, u Update) (account func()) {
	account = func() {}
	if u.Layout != "" {
		if err := l.setLayout(ctx, u.Layout); err != nil {
			l.Log.Warn("the layout was not changed", zap.String("layout", u.Layout), zap.String("error", l.scrub().Text(err.Error())))
		} else {
			account = func() { l.rec.Layout = u.Layout }
		}
	}
	if u.Pause != nil {
		account = both(account, l.pause(*u.Pause))
	}
	for _, name := range u.RemoveStreamURLs {
		id := streamID(name)
		if err := l.removeStream(ctx, id); err != nil {
			l.Log.Warn("a stream was not removed", zap.String("stream", id), zap.String("error", l.scrub().Text(err.Error())))
		}
	}
	for _, url := range u.AddStreamURLs {
		if err := l.addStream(ctx, url); err != nil {
			l.Log.Warn("a stream was not added", zap.String("url", RedactStreamURL(url)), zap.String("error", l.scrub().Text(err.Error())))
		}
	}
	return account
}

func (l *life) addStream(ctx context.Context, url string) error {
	if err := ValidateUpdate(Update{AddStreamURLs: []string{url}}); err != nil {
		return err
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

// updateTimeout bounds one change of a stream or the layout.
const updateTimeout = 10 * time.Second

func (l *life) removeStream(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, updateTimeout)
	defer cancel()
	return l.pipeline.Remove(ctx, id)
}

// streamID gives the id of a stream that is named by its id or its URL.
func streamID(name string) string {
	if isStreamID(name) {
		return name
	}
	return StreamID(name)
}

func isStreamID(s string) bool {
	digits, ok := strings.CutPrefix(s, "st_")
	return ok && len(digits) == 8 && strings.Trim(digits, "0123456789abcdef") == ""
}
