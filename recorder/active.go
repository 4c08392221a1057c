package recorder

import (
	"context"
	"errors"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// active follows a running recording until something ends it, and sets the end
// reason.
func (l *life) active(ctx context.Context) {
	pageCtx, stopPage := context.WithCancel(ctx)
	page, room := make(chan pageEnd, 1), make(chan EndReason, 1)
	var watching sync.WaitGroup
	defer l.rememberAll()
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
		case i := <-l.met:
			l.remember(i)
		case err := <-l.piped:
			l.piped <- err
			l.pipelineEnded(ctx, err, page)
		case on := <-l.pauses:
			l.pause(on)
			l.progress()
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
// the first one; or from that of the first part.
func (l *life) limitTimer() *time.Timer {
	if d := l.job.Limits.MaxDuration.Std(); d > 0 {
		return time.NewTimer(d - l.rec.before(l.Now()))
	}
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// stallTimeout is how long a recording may stand still before it is ended: an
// encoder or a disk that hangs must not look like a running recording. Displays and
// sound servers that hang are known sooner, see Died.
const stallTimeout = 8 * time.Second

func (l *life) progress() {
	before := l.rec.Stats.Elapsed
	l.apply(l.pipeline.Snapshot())
	if l.standsStill(l.rec.Stats.Elapsed == before && !l.rec.Paused()) {
		l.rec.Fail(Errorf(CodePipeline, "nothing was captured for %s: an encoder or the disk stands still", stallTimeout),
			CodePipeline, EndPipeline)
		return
	}
	if most := l.job.Limits.MaxSize; most > 0 && l.rec.Stats.Bytes+l.rec.sizeBefore() >= most {
		l.rec.EndReason = EndMaxSize
		return
	}
	if l.everyStreamFailed() {
		return
	}
	l.tell()
}

// standsStill adds up the time without progress. After this process itself was
// stopped for a while, that while does not count: nobody could get on.
func (l *life) standsStill(still bool) bool {
	now := l.Now()
	since := min(now.Sub(l.lookedAt), 2*l.interval())
	l.lookedAt = now
	if still {
		l.stood += since
	} else {
		l.stood = 0
	}
	return l.stood >= stallTimeout
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
	if errors.Is(err, ErrPageClosed) {
		// Closing the tab is how many pages leave a meeting: an end, not a failure.
		l.rec.EndReason = EndPageClosed
		return
	}
	reason := lossOf(err)
	if reason == EndPageCrashed {
		l.diagnose(ctx)
	}
	l.rec.Fail(l.scrub().Error(AsError(err, CodePageCrashed)), CodePageCrashed, reason)
}

// deathSettles is how long after its pipeline a session's own death may be known:
// a display or a sound server takes both.
const deathSettles = 300 * time.Millisecond

func (l *life) pipelineEnded(ctx context.Context, err error, page <-chan pageEnd) {
	if ctx.Err() != nil {
		l.stopped(ctx)
		return
	}
	timer := time.NewTimer(deathSettles)
	defer timer.Stop()
	select {
	case end := <-page:
		if errors.Is(end.err, ErrSessionDied) {
			l.pageEnded(ctx, end)
			return
		}
	case <-timer.C:
	case <-ctx.Done():
	}
	if err == nil {
		err = errEndedByItself()
	}
	reason := EndPipeline
	if errors.Is(err, syscall.ENOSPC) {
		reason = EndDiskFull // a further part would find no room either
	}
	l.rec.Fail(l.scrub().Error(AsError(err, CodePipeline)), CodePipeline, reason)
}

// learn makes the secrets of an update known before they can be logged, and what it
// removes before it is gone.
func (l *life) learn(u Update) {
	for _, name := range u.RemoveStreamURLs {
		l.removed[StreamNamed(name)] = true
	}
	for _, url := range u.AddStreamURLs {
		delete(l.removed, StreamID(url))
	}
	l.added = append(l.added, u.AddStreamURLs...)
	scrub := l.scrub().With(l.job, l.added...)
	l.scrubber.Store(&scrub)
}

// update changes streams and layout (pauses have a way of their own), and gives what the recording's own goroutine
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
	for _, name := range u.RemoveStreamURLs {
		id := StreamNamed(name)
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

// StreamNamed gives the id of a stream that is named by its id or its URL.
func StreamNamed(name string) string {
	if isStreamID(name) {
		return name
	}
	return StreamID(name)
}

func isStreamID(s string) bool {
	digits, ok := strings.CutPrefix(s, "st_")
	return ok && len(digits) == 8 && strings.Trim(digits, "0123456789abcdef") == ""
}
