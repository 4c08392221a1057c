package egress

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"tapedeck/recorder"
)

// changer stops and updates recordings through a Controller, and answers when they
// show it: what every door does alike. Contexts bound how long that is awaited.
type changer struct {
	controller recorder.Controller
	// order sends a stop.
	order func(ctx context.Context, id string) error
	// each is the pause between two looks at a recording.
	each time.Duration
}

// What is done to an egress.
const (
	stopped = "stopped"
	updated = "updated"
)

// overError is what livekit-server says of an egress that nothing can be done with.
type overError struct {
	rec  recorder.Recording
	verb string
}

func (e *overError) Error() string {
	return fmt.Sprintf("egress with status %s cannot be %s", statusOf(e.rec), e.verb)
}

// errSlow is an update that the recording does not show yet: asked for again, it
// may be found done.
var errSlow = errors.New("the recording has not changed in time: the worker's log says why, if it cannot")

// find gives a recording; CodeNotFound in livekit-server's words.
func find(ctx context.Context, c recorder.Controller, id string) (recorder.Recording, error) {
	if id == "" {
		return recorder.Recording{}, recorder.Errorf(recorder.CodeInvalid, "egress_id: name the egress")
	}
	found, err := c.List(ctx, recorder.Filter{IDs: []string{id}, Limit: 1})
	switch {
	case err != nil:
		return recorder.Recording{}, err
	case len(found) == 0:
		return recorder.Recording{}, errUnknown()
	}
	return found[0], nil
}

func errUnknown() error { return recorder.Errorf(recorder.CodeNotFound, "egress does not exist") }

// stop ends a recording, and answers when it is ending or has ended. One that is
// ending already is left alone: a second stop would cut short its end.
func (c changer) stop(ctx context.Context, id string) (recorder.Recording, error) {
	rec, err := find(ctx, c.controller, id)
	switch {
	case err != nil:
		return rec, err
	case rec.Status.Ended():
		return rec, &overError{rec, stopped}
	case rec.Status == recorder.StatusEnding:
		return rec, nil
	}
	return c.end(ctx, rec)
}

func (c changer) end(ctx context.Context, rec recorder.Recording) (recorder.Recording, error) {
	if err := c.order(ctx, rec.ID); err != nil {
		return rec, c.overtaken(ctx, rec, stopped, err)
	}
	rec = c.await(ctx, rec, func(now recorder.Recording) bool {
		return now.Status == recorder.StatusEnding || now.Status.Ended()
	})
	if rec.Status == recorder.StatusActive { // the stop is stored, and nothing takes it back
		rec.Status = recorder.StatusEnding
	}
	return rec, nil
}

// update changes streams and layout, and answers when the recording shows it; one
// that has not begun is changed when it begins. What was done before is no error:
// the request may be a repetition. Removing the last output ends the egress, as it
// does in LiveKit.
func (c changer) update(ctx context.Context, id string, u recorder.Update) (recorder.Recording, error) {
	rec, err := find(ctx, c.controller, id)
	switch {
	case err != nil:
		return rec, err
	case rec.Status == recorder.StatusEnding || rec.Status.Ended():
		return rec, &overError{rec, updated}
	}
	if err := recorder.ValidateUpdate(u); err != nil {
		return rec, err
	}
	runs := rec.Status == recorder.StatusActive
	if runs {
		u.RemoveStreamURLs = notRemoved(rec, u.RemoveStreamURLs)
	}
	left, err := checkUpdate(rec, u)
	switch {
	case err != nil:
		return rec, err
	case runs && u.Layout == "" && shows(rec, rec, u): // a layout may be on its way to another
		return rec, nil
	case left == 0 && len(u.RemoveStreamURLs) > 0:
		return c.end(ctx, rec)
	}
	if err := c.controller.Update(ctx, id, u); err != nil {
		return rec, c.overtaken(ctx, rec, updated, err)
	}
	if !runs {
		return rec, nil
	}
	now := c.await(ctx, rec, func(now recorder.Recording) bool {
		return now.Status != recorder.StatusActive || shows(rec, now, u)
	})
	if now.Status == recorder.StatusActive && !shows(rec, now, u) {
		return now, errSlow
	}
	return now, nil
}

// overtaken says why a command was refused: the recording may have ended since.
func (c changer) overtaken(ctx context.Context, rec recorder.Recording, verb string, err error) error {
	switch {
	case errors.Is(err, recorder.ErrConflict):
		if now, again := find(ctx, c.controller, rec.ID); again == nil {
			rec = now
		}
		return &overError{rec, verb}
	case errors.Is(err, recorder.ErrNotFound):
		return errUnknown()
	}
	return err
}

// await gives the recording when it is as wanted, or as it was last seen when the
// time is over.
func (c changer) await(ctx context.Context, rec recorder.Recording, wanted func(recorder.Recording) bool) recorder.Recording {
	tick := time.NewTicker(c.each)
	defer tick.Stop()
	for {
		if now, err := find(ctx, c.controller, rec.ID); err == nil {
			rec = now
		}
		if wanted(rec) {
			return rec
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return rec
		}
	}
}

// plainURLs drops librtmp's word for what every stream here is.
func plainURLs(urls []string) []string {
	var plain []string
	for _, u := range urls {
		plain = append(plain, strings.TrimSuffix(u, " live=1"))
	}
	return plain
}
