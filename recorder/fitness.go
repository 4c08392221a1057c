package recorder

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
)

// fitness is what a worker knows of its own ability to record. One whose disk is
// full or whose Chrome is missing fails at once and is free again at once: unless it
// holds back it wins every claim and uses up the tries of the whole queue.
type fitness struct {
	now func() time.Time
	log *zap.Logger

	mu      sync.Mutex
	proven  bool   // something was recorded here, ever
	streak  int    // failures since
	job     string // of the streak's first failure
	several bool   // the streak met another job as well
	until   time.Time
}

const (
	firstRest   = 500 * time.Millisecond // shorter than a given back job's pause: another job tells whose fault it is
	longestRest = time.Minute
)

// failed notes that this worker could not even begin job. It reports whether
// that counts as a try of the job: it does where the job may be at fault. That is
// so at first on a worker that was fit a moment ago, and, so that a job which no
// machine can show ends one day, at a slow rate while no other job fails here.
func (f *fitness) failed(job string, cause error) (counts bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.streak++
	if f.streak == 1 {
		f.job, f.several = job, false
		f.log.Error("this worker cannot record: it claims less and less often until that works again", zap.Error(cause))
	}
	f.several = f.several || job != f.job
	rest := longestRest
	if f.streak < 16 {
		rest = min(firstRest<<(f.streak-1), longestRest)
	}
	f.until = f.now().Add(rest)
	if f.several {
		return false
	}
	return f.streak == 1 && f.proven || rest == longestRest
}

// worked notes that a job got as far as a page.
func (f *fitness) worked() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.streak > 0 {
		f.log.Info("this worker can record again", zap.Int("failures", f.streak))
	}
	f.proven, f.streak, f.until = true, 0, time.Time{}
}

// resting reports whether this worker holds back.
func (f *fitness) resting() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.until.After(f.now())
}

// rest waits until this worker may claim again, or ctx is done.
func (f *fitness) rest(ctx context.Context) {
	for {
		f.mu.Lock()
		left := f.until.Sub(f.now())
		f.mu.Unlock()
		if left <= 0 || ctx.Err() != nil {
			return
		}
		pause(ctx, min(left, time.Second)) // a recording that works ends the rest
	}
}
