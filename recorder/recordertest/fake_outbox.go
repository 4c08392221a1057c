package recordertest

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"tapedeck/recorder"
)

// FakeOutbox is a recorder.Outbox in memory. It is safe for concurrent use.
type FakeOutbox struct {
	// Receivers are who every event goes to.
	Receivers []string
	// Hold is how long an event is left to whoever got it; for ever when 0.
	Hold time.Duration

	mu      sync.Mutex
	events  int
	lists   []*fakeList
	changed chan struct{} // closed and made anew with every change
}

// fakeList is what one receiver is still to be told of one job.
type fakeList struct {
	job      string
	receiver recorder.Receiver
	events   []recorder.Event
	due      time.Time
	since    time.Time
	tries    int
}

// Emit adds an event, for the receivers and for webhooks. An event without an id
// gets one.
func (o *FakeOutbox) Emit(e recorder.Event, webhooks ...recorder.Webhook) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events++
	if e.ID == "" {
		e.ID = strconv.Itoa(o.events) + "-0"
	}
	var all []recorder.Receiver
	for _, name := range o.Receivers {
		all = append(all, recorder.Receiver{Name: name})
	}
	for _, h := range webhooks {
		if r := (recorder.Receiver{Webhook: h}); !slices.Contains(all, r) {
			all = append(all, r)
		}
	}
	for _, r := range all {
		l := o.list(e.Recording.ID, r)
		l.events = append(l.events, e)
	}
	o.wake()
}

// Left counts the events that were not done yet.
func (o *FakeOutbox) Left() (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, l := range o.lists {
		n += len(l.events)
	}
	return n
}

func (o *FakeOutbox) list(job string, r recorder.Receiver) *fakeList {
	for _, l := range o.lists {
		if l.job == job && l.receiver == r {
			return l
		}
	}
	l := &fakeList{job: job, receiver: r, due: time.Now()}
	o.lists = append(o.lists, l)
	return l
}

func (o *FakeOutbox) wake() {
	if o.changed != nil {
		close(o.changed)
	}
	o.changed = make(chan struct{})
}

// Next implements recorder.Outbox.
func (o *FakeOutbox) Next(ctx context.Context) (recorder.Delivery, error) {
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		d, wait, changed := o.claim()
		if d != nil {
			return d, nil
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-changed:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

func (o *FakeOutbox) claim() (*fakeDelivery, time.Duration, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.changed == nil {
		o.changed = make(chan struct{})
	}
	now, wait := time.Now(), time.Hour
	var first *fakeList
	for _, l := range o.lists {
		switch {
		case len(l.events) == 0:
		case l.due.After(now):
			wait = min(wait, l.due.Sub(now))
		case first == nil || l.due.Before(first.due):
			first = l
		}
	}
	if first == nil {
		return nil, wait, o.changed
	}
	if first.tries++; first.tries == 1 {
		first.since = now
	}
	first.due = now.Add(max(o.Hold, 0))
	if o.Hold == 0 {
		first.due = now.Add(1000 * time.Hour)
	}
	return &fakeDelivery{o, first, first.events[0], first.tries, first.since}, 0, nil
}

type fakeDelivery struct {
	o     *FakeOutbox
	list  *fakeList
	event recorder.Event
	tries int
	since time.Time
}

func (d *fakeDelivery) Event() recorder.Event       { return d.event }
func (d *fakeDelivery) Receiver() recorder.Receiver { return d.list.receiver }
func (d *fakeDelivery) Since() time.Time            { return d.since }
func (d *fakeDelivery) Tries() int                  { return d.tries }

func (d *fakeDelivery) Done(ctx context.Context) error {
	return d.settle(ctx, func(l *fakeList) {
		l.events, l.due, l.tries = l.events[1:], time.Now(), 0
	})
}

func (d *fakeDelivery) Later(ctx context.Context, pause time.Duration) error {
	return d.settle(ctx, func(l *fakeList) {
		if l.tries == d.tries {
			l.due = time.Now().Add(pause)
		}
	})
}

func (d *fakeDelivery) settle(ctx context.Context, how func(*fakeList)) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	d.o.mu.Lock()
	defer d.o.mu.Unlock()
	if len(d.list.events) > 0 && d.list.events[0].ID == d.event.ID {
		how(d.list)
		d.o.wake()
	}
	return nil
}
