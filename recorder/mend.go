package recorder

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"
)

// forgiven is how long a page must have run for what was tried before not to count.
const forgiven = time.Minute

// reviveTimeout bounds the start of another browser: every second of it stands still
// in the recording.
const reviveTimeout = 20 * time.Second

// errOver says that the room is no more; endOf says why.
var errOver = errors.New("the room is over")

// watchPage returns nil at END_RECORDING. A page that is lost is brought back, as
// often as the job allows.
func (l *life) watchPage(ctx context.Context) error {
	tries := 0
	for {
		since := l.Now()
		err := l.session.Wait(ctx, MarkerEnd)
		if err == nil || !l.mendable(err) {
			return err
		}
		if l.Now().Sub(since) >= forgiven {
			tries = 0
		}
		switch err := l.mend(ctx, err, &tries); {
		case errors.Is(err, errOver):
			return nil
		case err != nil:
			return err
		}
	}
}

// mendable reports whether there is something to try: a tab that crashed, or left for
// a page that does not load, is loaded again, and a browser that died is replaced.
func (l *life) mendable(err error) bool {
	switch {
	case errors.Is(err, ErrSessionDied):
		_, revives := l.session.(Reviver)
		return revives && lossOf(err) == EndBrowserDied
	default:
		return errors.Is(err, ErrPageCrashed) || CodeOf(err) == CodePageLoad
	}
}

// lossOf says what an error takes the page away for.
func lossOf(err error) EndReason {
	var ended endedFor
	var died Died
	switch {
	case errors.As(err, &ended):
		return ended.reason
	case errors.As(err, &died):
		return EndReason(died)
	case errors.Is(err, ErrSessionDied):
		return EndSessionDied
	default:
		return EndPageCrashed
	}
}

// mend brings a lost page back, while the recording goes on with its last picture.
// A room that is over is not entered again: that would make it anew.
func (l *life) mend(ctx context.Context, lost error, tries *int) error {
	loss := Incident{Reason: lossOf(lost), At: l.Now().UnixNano()}
	began, err := l.Now(), lost
	for first := true; ; first = false {
		switch {
		case !l.mendable(err), *tries >= l.job.Limits.Reloads():
			return loss.endsWith(err)
		case l.roomGone(ctx):
			return errOver
		}
		if first {
			l.learnLayout(ctx)
		}
		*tries++
		l.hold(true)
		l.Log.Warn("the page is lost, bringing it back", zap.Int("try", *tries), zap.String("error", l.scrub().Text(err.Error())))
		// What loading it again did not mend, another browser may.
		if err = l.bringBack(ctx, !first || lossOf(err) == EndBrowserDied); err == nil {
			break
		}
		if lossOf(err) == EndBrowserDied {
			loss.Reason = EndBrowserDied
		}
	}
	l.hold(false)
	loss.Lost = int64(l.Now().Sub(began))
	loss.Text = l.scrub().Text(lost.Error())
	l.meet(ctx, loss)
	return nil
}

// endsWith makes err an end for the incident's reason, unless it has a worse one.
func (i Incident) endsWith(err error) error {
	if i.Reason == EndBrowserDied && lossOf(err) == EndPageCrashed {
		return endedFor{reason: EndBrowserDied, err: err}
	}
	return err
}

// bringBack loads the page, in another browser when fresh.
func (l *life) bringBack(ctx context.Context, fresh bool) error {
	if fresh {
		if err := l.revive(ctx); err != nil {
			return err
		}
	}
	return l.reload(ctx)
}

// revive starts another browser, where the session can.
func (l *life) revive(ctx context.Context) error {
	session, ok := l.session.(Reviver)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, reviveTimeout, &Error{
		Code: CodeSessionDied, Message: "another browser did not start within " + reviveTimeout.String(), Err: Died(EndBrowserDied),
	})
	defer cancel()
	return causeOf(ctx, session.Revive(ctx))
}

// reload gives ErrPageCrashed when another try may help.
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
		return nil
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

// meet hands an incident to the recording's own goroutine.
func (l *life) meet(ctx context.Context, i Incident) {
	select {
	case l.met <- i:
	case <-ctx.Done():
	}
}

func (l *life) remember(i Incident) {
	l.rec.Meet(i)
	l.tell()
}

// rememberAll notes what was met while the recording came to its end.
func (l *life) rememberAll() {
	for {
		select {
		case i := <-l.met:
			l.rec.Meet(i)
		default:
			return
		}
	}
}
