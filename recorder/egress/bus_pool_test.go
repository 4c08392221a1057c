package egress_test

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

// pool is what a pool's workers share, in memory: a recorder.Controller and a
// recorder.Outbox. What its jobs come to, the test says.
type pool struct {
	mu      sync.Mutex
	jobs    map[string]*poolJob
	log     []recorder.Event
	changed chan struct{} // closed at every change
	stops   []string      // of which jobs
	updates int
	asleep  bool // no command is obeyed
}

// poolJob is a job and its events that were not delivered.
type poolJob struct {
	job    recorder.Job
	rec    recorder.Recording
	events []recorder.Event
	told   []recorder.Event
	worker *poolWorker
	ended  func()

	held  bool
	due   time.Time
	since time.Time
	tries int
}

func newPool() *pool { return &pool{jobs: map[string]*poolJob{}, changed: make(chan struct{})} }

func (p *pool) signal() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// set changes a recording, and makes an event of it.
func (p *pool) set(id string, change func(rec *recorder.Recording)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.change(id, change)
}

func (p *pool) change(id string, change func(rec *recorder.Recording)) {
	j := p.jobs[id]
	from, rec := j.rec.Status, j.rec.Clone()
	change(&rec)
	rec.UpdatedAt = max(rec.UpdatedAt+1, time.Now().UnixNano())
	j.rec = rec
	e := recorder.Event{Type: recorder.EventFor(from, rec.Status), At: rec.UpdatedAt, Recording: rec.Clone()}
	j.events, p.log = append(j.events, e), append(p.log, e)
	p.signal()
}

// begin makes a job's recording active, end ends it.
func (p *pool) begin(id string) {
	p.set(id, func(rec *recorder.Recording) {
		rec.Status, rec.StartedAt = recorder.StatusActive, time.Now().UnixNano()
		for i := range rec.Streams {
			rec.Streams[i].State, rec.Streams[i].StartedAt = recorder.StreamActive, rec.StartedAt
		}
	})
}

func (p *pool) end(id string, status recorder.Status, change func(rec *recorder.Recording)) {
	p.set(id, func(rec *recorder.Recording) {
		rec.Status, rec.EndedAt = status, time.Now().UnixNano()
		if change != nil {
			change(rec)
		}
	})
	p.mu.Lock()
	ended := p.jobs[id].ended
	p.mu.Unlock()
	if ended != nil {
		ended()
	}
}

// Start implements recorder.Controller.
func (p *pool) Start(context.Context, recorder.Job) (recorder.Recording, error) {
	return recorder.Recording{}, recorder.Errorf(recorder.CodeInternal, "nothing is to be queued")
}

// Stop implements recorder.Controller.
func (p *pool) Stop(_ context.Context, id string, why recorder.EndReason) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := p.jobs[id]
	if j == nil {
		return recorder.ErrNotFound
	}
	p.stops = append(p.stops, id)
	switch {
	case p.asleep:
	case j.rec.Status == recorder.StatusActive:
		p.change(id, func(rec *recorder.Recording) { rec.Status, rec.EndReason = recorder.StatusEnding, why })
	default:
		p.change(id, func(rec *recorder.Recording) {
			rec.Status, rec.EndReason, rec.EndedAt = recorder.StatusAborted, why, time.Now().UnixNano()
		})
	}
	return nil
}

// Update implements recorder.Controller.
func (p *pool) Update(_ context.Context, id string, u recorder.Update) error {
	if err := recorder.ValidateUpdate(u); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.updates++
	if p.asleep {
		return nil
	}
	p.change(id, func(rec *recorder.Recording) {
		for i, s := range rec.Streams {
			for _, name := range u.RemoveStreamURLs {
				if name == s.ID || recorder.StreamID(name) == s.ID {
					rec.Streams[i].State, rec.Streams[i].EndedAt = recorder.StreamFinished, time.Now().UnixNano()
				}
			}
		}
		for _, url := range u.AddStreamURLs {
			id := recorder.StreamID(url)
			rec.Streams = slices.DeleteFunc(rec.Streams, func(s recorder.StreamResult) bool { return s.ID == id })
			rec.Streams = append(rec.Streams, recorder.StreamResult{
				ID: id, URL: recorder.RedactStreamURL(url), State: recorder.StreamActive,
			})
		}
		rec.Layout = cmp.Or(u.Layout, rec.Layout)
	})
	return nil
}

// List implements recorder.Controller, by id, or those that did not end.
func (p *pool) List(_ context.Context, f recorder.Filter) (found []recorder.Recording, _ error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, j := range p.jobs {
		if slices.Contains(f.IDs, id) || f.Active && !j.rec.Status.Ended() {
			found = append(found, j.rec.Clone())
		}
	}
	return found, nil
}

// Watch implements recorder.Controller, from now on.
func (p *pool) Watch(ctx context.Context, _ string, yield func(recorder.Event) bool) error {
	p.mu.Lock()
	seen := len(p.log)
	for {
		news, changed := p.log[seen:], p.changed
		p.mu.Unlock()
		seen += len(news)
		for _, e := range news {
			if !yield(e) {
				return nil
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		p.mu.Lock()
	}
}

func (p *pool) job(id string) recorder.Job {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.jobs[id].job
}

// workerOf tells who has a job.
func (p *pool) workerOf(id string) *poolWorker {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.jobs[id].worker
}

// stopped lists the stops that were asked for.
func (p *pool) stopped() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.stops)
}

// Next implements recorder.Outbox.
func (p *pool) Next(ctx context.Context) (recorder.Delivery, error) {
	for {
		p.mu.Lock()
		changed, next := p.changed, time.Now().Add(time.Hour)
		for _, j := range p.jobs {
			switch {
			case len(j.events) == 0 || j.held:
			case j.due.After(time.Now()):
				next = slices.MinFunc([]time.Time{next, j.due}, time.Time.Compare)
			default:
				if j.tries == 0 {
					j.since = time.Now()
				}
				j.tries, j.held = j.tries+1, true
				p.mu.Unlock()
				return &poolDelivery{p: p, j: j, event: j.events[0], tries: j.tries}, nil
			}
		}
		p.mu.Unlock()
		select {
		case <-changed:
		case <-time.After(time.Until(next)):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// updated counts the updates that were asked for.
func (p *pool) updated() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.updates
}

// sleep makes the workers obey no commands.
func (p *pool) sleep(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asleep = on
}

// ended gives what a job's worker does at its end.
func (p *pool) ended(id string) func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.jobs[id].ended
}

// awaitTold waits until everything of a job was delivered.
func (p *pool) awaitTold(t *testing.T, id string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		p.mu.Lock()
		left, changed := len(p.jobs[id].events), p.changed
		p.mu.Unlock()
		if left == 0 {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			require.FailNow(t, "the server was not told", "%d events left", left)
		}
	}
}

// awaitTried waits until an event was tried and put off.
func (p *pool) awaitTried(t *testing.T, id string, tries int) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		p.mu.Lock()
		had, changed := p.jobs[id].tries, p.changed
		p.mu.Unlock()
		if had >= tries {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			require.FailNow(t, "no try at telling the server")
		}
	}
}

type poolDelivery struct {
	p     *pool
	j     *poolJob
	event recorder.Event
	tries int
}

func (d *poolDelivery) Event() recorder.Event       { return d.event }
func (d *poolDelivery) Receiver() recorder.Receiver { return recorder.Receiver{Name: "livekit"} }
func (d *poolDelivery) Since() time.Time            { return d.j.since }
func (d *poolDelivery) Tries() int                  { return d.tries }

func (d *poolDelivery) Done(context.Context) error {
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	d.j.told, d.j.events = append(d.j.told, d.j.events[0]), d.j.events[1:]
	d.j.held, d.j.tries = false, 0
	d.p.signal()
	return nil
}

func (d *poolDelivery) Later(_ context.Context, pause time.Duration) error {
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	d.j.held, d.j.due = false, time.Now().Add(pause)
	d.p.signal()
	return nil
}

// poolWorker is an egress.Worker of a pool.
type poolWorker struct {
	p     *pool
	serve func(recorder.Job) func()

	mu      sync.Mutex
	load    recorder.Load
	refuses bool // every job, in spite of what load says
}

// Load implements egress.Worker.
func (w *poolWorker) Load() recorder.Load {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.load
}

func (w *poolWorker) set(load recorder.Load) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.load = load
}

// Place implements egress.Worker.
func (w *poolWorker) Place(_ context.Context, job recorder.Job) (recorder.Recording, error) {
	if err := job.Validate(); err != nil {
		return recorder.Recording{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuses {
		w.load.Running = w.load.Slots
		return recorder.Recording{}, recorder.Errorf(recorder.CodeUnavailable, "no slot")
	}
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	for _, j := range w.p.jobs {
		if j.job.ID == job.ID || j.job.RejectDuplicates && job.RejectDuplicates {
			return recorder.Recording{}, recorder.ErrConflict
		}
	}
	rec := recorder.NewRecording(job, time.Now())
	w.p.jobs[job.ID] = &poolJob{
		job: job, rec: rec, events: []recorder.Event{{Type: recorder.EventQueued, At: rec.CreatedAt, Recording: rec}},
	}
	w.p.change(job.ID, func(rec *recorder.Recording) { rec.Status = recorder.StatusStarting })
	w.begin(w.p.jobs[job.ID])
	return w.p.jobs[job.ID].rec.Clone(), nil
}

// takeOver has the worker go on with another one's job.
func (w *poolWorker) takeOver(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	w.begin(w.p.jobs[id])
}

// begin fills a slot.
func (w *poolWorker) begin(j *poolJob) {
	w.load.Running++
	w.load.Rooms = append(w.load.Rooms, j.job.RoomName)
	j.worker, j.ended = w, w.serve(j.job)
}
