package recorder

import (
	"context"
	"sync"
	"time"
)

// Courier takes what an Outbox gives and has it delivered, some at once.
type Courier struct {
	Outbox Outbox
	// AtOnce is how many deliveries are under way at most, from 1.
	AtOnce int
	// Linger is how long Run goes on with what is due after its context is done: the
	// last event of a worker that drains is just being told. Default 1 s.
	Linger time.Duration
	// Deliver makes one try and ends it with Done or Later. Its context outlasts
	// Run's: what is under way is seen through, so it must bound itself.
	Deliver func(context.Context, Delivery)
	// Away is told why the Outbox did not answer. It is asked again after a second.
	Away func(error)
}

const (
	outboxLinger = time.Second
	outboxPause  = time.Second
)

// Run delivers until ctx is done, and returns when nothing is under way.
func (c Courier) Run(ctx context.Context) {
	taking, stop := c.lingering(ctx)
	defer stop()
	slots := make(chan struct{}, c.AtOnce)
	var under sync.WaitGroup
	defer under.Wait()
	for {
		slots <- struct{}{}
		d, err := c.Outbox.Next(taking)
		if err != nil {
			<-slots
			if taking.Err() != nil {
				return
			}
			c.Away(err)
			pause(taking, outboxPause)
			continue
		}
		under.Go(func() {
			defer func() { <-slots }()
			c.Deliver(context.WithoutCancel(taking), d)
		})
	}
}

// lingering gives a context that outlasts ctx by Linger.
func (c Courier) lingering(ctx context.Context) (context.Context, func()) {
	linger := c.Linger
	if linger <= 0 {
		linger = outboxLinger
	}
	taking, cancel := context.WithCancel(context.WithoutCancel(ctx))
	unwatch := context.AfterFunc(ctx, func() {
		pause(taking, linger)
		cancel()
	})
	return taking, func() {
		cancel()
		unwatch()
	}
}
