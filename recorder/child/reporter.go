package child

import (
	"encoding/json"
	"io"
	"sync"
)

// mostWaiting bounds the reports that wait for a worker which does not read.
const mostWaiting = 16

// reporter writes a child's reports from a goroutine of its own: a worker that is
// frozen, or slow, must not hold up the recording. When too many wait, the oldest
// go, for a newer state says all of an older one.
type reporter struct {
	mu      sync.Mutex // one tell at a time
	waiting chan answer
	done    chan struct{}
	err     error // of the last write, valid after done
}

func newReporter(out io.Writer) *reporter {
	r := &reporter{waiting: make(chan answer, mostWaiting), done: make(chan struct{})}
	go r.write(json.NewEncoder(out))
	return r
}

func (r *reporter) write(to *json.Encoder) {
	defer close(r.done)
	for a := range r.waiting {
		r.err = to.Encode(a) // a report that nobody reads is no reason to end a recording
	}
}

// tell does not wait.
func (r *reporter) tell(a answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		select {
		case r.waiting <- a:
			return
		default:
		}
		select {
		case <-r.waiting:
		default:
		}
	}
}

// finish tells the last answer and waits until the worker has taken it, or is gone.
func (r *reporter) finish(a answer) error {
	r.tell(a)
	close(r.waiting)
	<-r.done
	return r.err
}
