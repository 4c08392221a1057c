package recorder

import (
	"cmp"
	"slices"
	"sync"
)

// orders are the commands of one lease on their way to the part that records.
type orders struct {
	more chan struct{} // one value: something waits

	mu      sync.Mutex
	updates []Update // all there were: a further part begins with them
	stop    *Command // the first one
	waiting []Command
}

func newOrders() *orders { return &orders{more: make(chan struct{}, 1)} }

// take puts a command in line.
func (o *orders) take(c Command) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case c.Kind == CommandUpdate:
		o.updates = append(o.updates, c.Update)
	case c.Kind == CommandStop && o.stop == nil:
		o.stop = &c
	}
	o.waiting = append(o.waiting, c)
	select {
	case o.more <- struct{}{}:
	default:
	}
}

// stopped says whether a client asked for the end, and why.
func (o *orders) stopped() (EndReason, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stop == nil {
		return "", false
	}
	return cmp.Or(o.stop.Reason, EndStopped), true
}

// turn gives every update there was, for a part that begins with them: none of them
// waits any more.
func (o *orders) turn() []Update {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waiting = slices.DeleteFunc(o.waiting, func(c Command) bool { return c.Kind == CommandUpdate })
	return slices.Clone(o.updates)
}

func (o *orders) first() (Command, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.waiting) == 0 {
		return Command{}, false
	}
	return o.waiting[0], true
}

func (o *orders) drop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waiting = o.waiting[1:]
}

// forward hands what waits to one part, until that is over. A part that is slow to take
// it hides nothing else.
func (o *orders) forward(to chan<- Command, over <-chan struct{}) {
	for {
		next, waits := o.first()
		out := to
		if !waits {
			out = nil
		}
		select {
		case <-over:
			return
		case <-o.more:
		case out <- next:
			o.drop()
		}
	}
}

// listen takes a lease's commands, and ends the recording with the lease's loss.
func (o *orders) listen(lease Lease, s *slot, over <-chan struct{}) {
	from := lease.Commands()
	for {
		select {
		case <-over:
			return
		case <-lease.Lost():
			s.stop(Stop{Reason: EndLeaseLost, Now: true})
			return
		case c, ok := <-from:
			if !ok {
				from = nil
				continue
			}
			o.take(c)
		}
	}
}

// withoutTakenBack takes from updates that wait what a later one takes back: nobody is to see or
// hear it for a moment. After a takeover all there were come again at once.
func withoutTakenBack(waiting []Update, later Update) []Update {
	for i := range waiting {
		u := &waiting[i]
		for _, name := range later.RemoveStreamURLs {
			u.AddStreamURLs = withoutStream(slices.Clone(u.AddStreamURLs), StreamNamed(name))
		}
	}
	return waiting
}
