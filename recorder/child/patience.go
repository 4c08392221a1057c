package child

import (
	"sync"
	"time"
)

// patience calls act when a time is over, unless it is given again before. It takes
// the time in steps: of a time in which we ourselves were stopped one step
// passes, and what came meanwhile can still be read.
type patience struct {
	act func()

	mu    sync.Mutex
	timer *time.Timer // nil while nothing is waited for
}

const patienceSteps = 8

func (p *patience) give(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop()
	step, left := d/patienceSteps, patienceSteps
	var timer *time.Timer
	timer = time.AfterFunc(step, func() {
		p.mu.Lock()
		if p.timer != timer {
			p.mu.Unlock()
			return
		}
		if left--; left > 0 {
			timer.Reset(step)
			p.mu.Unlock()
			return
		}
		p.timer = nil
		p.mu.Unlock()
		p.act()
	})
	p.timer = timer
}

func (p *patience) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop()
}

func (p *patience) drop() {
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
}
