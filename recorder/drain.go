package recorder

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// drain waits for what runs. The order: recordings, then deliveries.
func (w *Worker) drain(hurry <-chan struct{}, stopDelivery func()) {
	recorded := after(&w.media)
	timeout := time.NewTimer(w.DrainTimeout)
	defer timeout.Stop()
	w.Log.Info("draining", zap.Int("recordings", w.count()), zap.Duration("drain_timeout", w.DrainTimeout))
	grace, hurried := w.DeliverGrace, false
	for open := true; open; {
		select {
		case <-recorded:
			open = false
		case <-timeout.C:
			w.Log.Info("drain timeout: finalising what runs")
			w.stopAll(Stop{Reason: EndDrained})
		case <-hurry:
			hurry, hurried = nil, true
			grace = min(grace, hurriedGrace)
			w.stopAll(Stop{Reason: EndDrained, Now: true})
		}
	}
	delivered, last := after(&w.jobs), time.After(grace)
	var sooner <-chan time.Time
	for {
		select {
		case <-delivered:
			return
		case <-hurry:
			hurry, hurried, sooner = nil, true, time.After(hurriedGrace)
			continue
		case <-last:
		case <-sooner:
		}
		w.Log.Warn("deliveries go on when the worker is back", zap.Bool("hurried", hurried))
		stopDelivery()
		<-delivered
		return
	}
}

// hurriedGrace is what a delivery gets after a second signal.
const hurriedGrace = 10 * time.Second

func after(wg *sync.WaitGroup) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	return done
}

// slot is one job that is recorded.
type slot struct {
	job    string
	room   string
	bytes  atomic.Int64  // of its largest file or series; 0 before there is one
	full   bool          // it ends for want of room on the disk; guarded by Worker.mu
	order  func(Command) // puts a command in line
	cancel context.CancelCauseFunc
}

// stop ends the recording even when it takes no commands. A context cannot say
// that a second stop is harder than the first: only that takes a command.
func (s *slot) stop(why Stop) {
	s.cancel(why)
	if why.Now {
		s.order(Command{Kind: CommandStop, Reason: why.Reason, Now: why.Now})
	}
}

func (w *Worker) stopAll(why Stop) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ending = &why
	for s := range w.running {
		s.stop(why)
	}
}

// enter notes a recording that begins. One that was claimed while a shutdown
// stopped the others is stopped as well.
func (w *Worker) enter(s *slot) (leave func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running[s] = struct{}{}
	if w.ending != nil {
		s.stop(*w.ending)
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.running, s)
	}
}
