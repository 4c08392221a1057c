package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

func assertString(v any) string { return fmt.Sprint(v) }

// outbox is a recorder.Outbox in memory. Its clock stands, but for what is put off:
// whenever nothing else is due, it goes on to when the next is.
type outbox struct {
	mu       sync.Mutex
	clock    time.Time
	lists    []*list
	pauses   []time.Duration
	failures int // of Next, before it works
	changed  chan struct{}
}

// list is a job's events for one receiver.
type list struct {
	to     recorder.Receiver
	events []recorder.Event
	held   bool
	due    time.Time
	since  time.Time
	tries  int
}

func newOutbox() *outbox {
	return &outbox{clock: time.Unix(1_700_000_000, 0), changed: make(chan struct{})}
}

func (o *outbox) add(to recorder.Receiver, events []recorder.Event) {
	o.lists = append(o.lists, &list{to: to, events: events, due: o.clock})
}

func (o *outbox) now() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.clock
}

func (o *outbox) paused() []time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.pauses
}

// Next gives what is due.
func (o *outbox) Next(ctx context.Context) (recorder.Delivery, error) {
	for {
		d, changed, err := o.take()
		if d != nil || err != nil {
			return d, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (o *outbox) take() (recorder.Delivery, <-chan struct{}, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failures > 0 {
		o.failures--
		return nil, nil, errors.New("it is away")
	}
	var first *list
	for _, l := range o.lists {
		if len(l.events) > 0 && !l.held && (first == nil || l.due.Before(first.due)) {
			first = l
		}
	}
	if first == nil {
		return nil, o.changed, nil
	}
	if first.due.After(o.clock) {
		o.clock = first.due
	}
	if first.tries == 0 {
		first.since = o.clock
	}
	first.tries++
	first.held = true
	return &delivery{o, first, first.tries}, nil, nil
}

func (o *outbox) awaitEmpty(t *testing.T) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		o.mu.Lock()
		left, changed := 0, o.changed
		for _, l := range o.lists {
			left += len(l.events)
		}
		o.mu.Unlock()
		if left == 0 {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			require.FailNow(t, "it is not empty", "%d left", left)
		}
	}
}

func (o *outbox) change() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// delivery is one try.
type delivery struct {
	box   *outbox
	list  *list
	tries int
}

func (d *delivery) Event() recorder.Event       { return d.list.events[0] }
func (d *delivery) Receiver() recorder.Receiver { return d.list.to }
func (d *delivery) Since() time.Time            { return d.list.since }
func (d *delivery) Tries() int                  { return d.tries }

func (d *delivery) Done(context.Context) error {
	d.box.mu.Lock()
	defer d.box.mu.Unlock()
	d.list.events, d.list.held, d.list.tries = d.list.events[1:], false, 0
	d.box.change()
	return nil
}

func (d *delivery) Later(_ context.Context, pause time.Duration) error {
	d.box.mu.Lock()
	defer d.box.mu.Unlock()
	d.list.due, d.list.held = d.box.clock.Add(pause), false
	d.box.pauses = append(d.box.pauses, pause)
	d.box.change()
	return nil
}
