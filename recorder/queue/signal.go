package queue

import (
	"context"
	"sync"
)

// signal wakes everybody who waits for it.
type signal struct {
	mu sync.Mutex
	c  chan struct{}
}

func newSignal() *signal { return &signal{c: make(chan struct{})} }

// next gives what the next wake closes.
func (s *signal) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.c
}

func (s *signal) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.c)
	s.c = make(chan struct{})
}

// until gives a context that ends with ctx, when c is closed, or at stop.
func until(ctx context.Context, c <-chan struct{}) (_ context.Context, stop func()) {
	ctx, stop = context.WithCancel(ctx)
	go func() {
		select {
		case <-c:
			stop()
		case <-ctx.Done():
		}
	}()
	return ctx, stop
}
