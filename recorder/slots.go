package recorder

import (
	"context"
	"sync"
)

// slots are a worker's room for recordings. The claim loop waits for work with one
// of them, which still counts as free: a job that is placed takes it away.
type slots struct {
	mu     sync.Mutex
	total  int
	used   int                // by leases, and by jobs that are being placed
	claim  context.CancelFunc // ends the claim loop's wait; nil while it does not wait
	asked  *ask               // a placed job that wants the claim loop's slot; nil for none
	closed bool
	freed  chan struct{} // one value: a slot came free
}

func newSlots(total int) *slots {
	return &slots{total: max(total, 1), freed: make(chan struct{}, 1)}
}

// available waits until a slot is free; false when ctx is done before. For the
// claim loop alone.
func (s *slots) available(ctx context.Context) bool {
	for ctx.Err() == nil {
		s.mu.Lock()
		free := s.used < s.total
		s.mu.Unlock()
		if free {
			return true
		}
		select {
		case <-s.freed:
		case <-ctx.Done():
		}
	}
	return false
}

// reserve begins a claim with a free slot. The context it gives ends when a placed
// job needs that slot. False when none is free any more. What follows is settle.
func (s *slots) reserve(ctx context.Context) (context.Context, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used >= s.total {
		return nil, false
	}
	ctx, s.claim = context.WithCancel(ctx)
	return ctx, true
}

// callOff ends the claim loop's wait for work.
func (s *slots) callOff() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claim != nil {
		s.claim()
	}
}

// settle ends a claim: the lease it brought keeps the slot, else whoever asked for
// the slot has it.
func (s *slots) settle(leased bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.claim()
	s.claim = nil
	if leased {
		s.used++
	}
	if s.asked == nil {
		return
	}
	if !leased {
		s.used++
		s.asked.enter()
	}
	s.asked.got <- !leased
	s.asked = nil
}

// ask is a placed job that wants the claim loop's slot.
type ask struct {
	enter func()
	got   chan bool // one value
}

// take gets a slot for a placed job. enter runs when it is got, before a shutdown
// can go on without it. False when none is free, or none is given any more.
func (s *slots) take(ctx context.Context, enter func()) bool {
	a := s.try(&ask{enter, make(chan bool, 1)})
	select {
	case got := <-a.got:
		return got
	case <-ctx.Done():
	}
	s.mu.Lock()
	if s.asked == a {
		s.asked = nil
		a.got <- false
	}
	s.mu.Unlock()
	return <-a.got
}

// try answers at once, unless only the claim loop's slot is left. That one answers
// when it has given back what its wait may have brought.
func (s *slots) try(a *ask) *ask {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting := 0
	if s.claim != nil {
		waiting = 1
	}
	switch {
	case s.closed:
		a.got <- false
	case s.used+waiting < s.total:
		s.used++
		a.enter()
		a.got <- true
	case waiting == 0 || s.asked != nil:
		a.got <- false
	default:
		s.asked = a
		s.claim()
	}
	return a
}

// free gives a slot back.
func (s *slots) free() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used--
	select {
	case s.freed <- struct{}{}:
	default:
	}
}

// close gives no slot to a placed job any more.
func (s *slots) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

func (s *slots) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}
