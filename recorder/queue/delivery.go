package queue

import (
	"context"
	"time"

	"tapedeck/recorder"
)

// delivery is one claim of the first event in one list.
type delivery struct {
	o        *Outbox
	list     string // <job>:<receiver>
	mark     string // of the claim
	event    recorder.Event
	receiver recorder.Receiver
	tries    int
	since    time.Time
}

var (
	_ recorder.Outbox   = (*Outbox)(nil)
	_ recorder.Delivery = (*delivery)(nil)
)

// Event gives the event; its ID is that of the event stream, in every try.
func (d *delivery) Event() recorder.Event {
	e := d.event
	e.Recording = e.Recording.Clone()
	return e
}

func (d *delivery) Receiver() recorder.Receiver { return d.receiver }

// Since is by Redis's clock, exact to the ms.
func (d *delivery) Since() time.Time { return d.since }

func (d *delivery) Tries() int { return d.tries }

// Done ends it, also when the claim ran out in the meantime.
func (d *delivery) Done(ctx context.Context) error {
	return d.settle(ctx, -1)
}

// Later puts it off by pause. Nothing happens when the claim ran out: whoever has
// it now decides.
func (d *delivery) Later(ctx context.Context, pause time.Duration) error {
	return d.settle(ctx, max(pause.Milliseconds(), 0))
}

func (d *delivery) settle(ctx context.Context, after int64) error {
	q, name := d.o.q, d.o.opts.Name
	answer, err := q.run(ctx, q.scripts.settle,
		[]string{d.o.hash() + ":" + d.list, q.keys.outboxDue(name), q.keys.outboxTries(name)},
		d.list, d.event.ID, d.mark, after)
	if err != nil {
		return unavailable("noting a delivery of job "+d.event.Recording.ID, err)
	}
	if integer(answer) == 2 {
		d.o.more.wake() // or it would wait with those who wait for new events
	}
	return nil
}
