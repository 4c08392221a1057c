package recordertest

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"tapedeck/recorder"
)

// FakeQueue is a recorder.Queue in memory. It is safe for concurrent use.
type FakeQueue struct {
	// OnAdopt, when set, says what Adopt answers; without it, jobs are unknown.
	OnAdopt func(id string) (recorder.Lease, error)
	// OnAmend may refuse an Amend.
	OnAmend func(id string) error
	// OnAmendOf is told of every Amend that was not refused.
	OnAmendOf func(late recorder.Recording)
	// OnPlace may refuse a Place.
	OnPlace func(job recorder.Job) error
	// ClaimErrs are answered by the first calls of Claim.
	ClaimErrs []error

	waiting chan *FakeLease
	strays  chan *FakeLease
	once    sync.Once
	claims  atomic.Int64

	mu     sync.Mutex
	amends map[string]recorder.Recording
	placed map[string]*FakeLease
}

func (q *FakeQueue) init() {
	q.once.Do(func() {
		q.waiting, q.strays, q.amends = make(chan *FakeLease, 1024), make(chan *FakeLease, 1024), map[string]recorder.Recording{}
		q.placed = map[string]*FakeLease{}
	})
}

// Put has a lease claimed by somebody.
func (q *FakeQueue) Put(l *FakeLease) *FakeLease {
	q.init()
	q.waiting <- l
	return l
}

// Stray has a lease reaped by somebody.
func (q *FakeQueue) Stray(l *FakeLease) *FakeLease {
	q.init()
	q.strays <- l
	return l
}

// Reap implements recorder.Reaper.
func (q *FakeQueue) Reap(ctx context.Context) (recorder.Lease, error) {
	q.init()
	select {
	case l := <-q.strays:
		return l, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Enqueue implements recorder.Queue.
func (q *FakeQueue) Enqueue(_ context.Context, job recorder.Job) error {
	q.Put(NewFakeLease(job, recorder.NewRecording(job, time.Now())))
	return nil
}

// Place implements recorder.Placer.
func (q *FakeQueue) Place(ctx context.Context, job recorder.Job) (recorder.Lease, error) {
	q.init()
	if q.OnPlace != nil {
		if err := q.OnPlace(job); err != nil {
			return nil, err
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := job.Validate(); err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if job.ID == "" {
		job.ID = "placed-" + strconv.Itoa(len(q.placed))
	}
	if q.placed[job.ID] != nil {
		return nil, recorder.Errorf(recorder.CodeConflict, "job %s exists already", job.ID)
	}
	for id, l := range q.placed {
		if job.RejectDuplicates && l.live() && alike(l.job, job) {
			return nil, recorder.Errorf(recorder.CodeConflict, "job %s: job %s does the same", job.ID, id)
		}
	}
	rec := recorder.NewRecording(job, time.Now())
	rec.Attempt = 1
	l := NewFakeLease(job, rec)
	q.placed[job.ID] = l
	return l, nil
}

// alike is as much of what makes a duplicate as tests need.
func alike(a, b recorder.Job) bool {
	return a.RoomName == b.RoomName && a.URL == b.URL && a.LayoutName() == b.LayoutName() && a.Options() == b.Options()
}

func (l *FakeLease) live() bool {
	select {
	case <-l.Ended:
		return false
	default:
		return true
	}
}

// Placed gives the lease of a job that was placed; nil for none.
func (q *FakeQueue) Placed(id string) *FakeLease {
	q.init()
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.placed[id]
}

// Claim implements recorder.Queue.
func (q *FakeQueue) Claim(ctx context.Context) (recorder.Lease, error) {
	q.init()
	n := q.claims.Add(1)
	if int(n) <= len(q.ClaimErrs) {
		return nil, q.ClaimErrs[n-1]
	}
	select {
	case l := <-q.waiting:
		return l, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Claims counts the calls of Claim, Waiting the jobs nobody claimed.
func (q *FakeQueue) Claims() int { return int(q.claims.Load()) }

// Waiting counts the jobs that nobody claimed.
func (q *FakeQueue) Waiting() int { q.init(); return len(q.waiting) }

// Adopt implements recorder.Queue.
func (q *FakeQueue) Adopt(_ context.Context, id string) (recorder.Lease, error) {
	if q.OnAdopt == nil {
		return nil, recorder.Errorf(recorder.CodeNotFound, "no job %s", id)
	}
	return q.OnAdopt(id)
}

// Amend implements recorder.Queue.
func (q *FakeQueue) Amend(_ context.Context, id string, late recorder.Recording) error {
	q.init()
	if q.OnAmend != nil {
		if err := q.OnAmend(id); err != nil {
			return err
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.amends[id] = late.Clone()
	if q.OnAmendOf != nil {
		q.OnAmendOf(late.Clone())
	}
	return nil
}

// Amended gives the files that were last amended.
func (q *FakeQueue) Amended(id string) []recorder.FileResult { return q.AmendedTo(id).Files }

// AmendedTo gives what was last amended.
func (q *FakeQueue) AmendedTo(id string) recorder.Recording {
	q.init()
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.amends[id]
}

// FakeLease is a recorder.Lease that remembers what became of it.
type FakeLease struct {
	// OnFinish may refuse a Finish.
	OnFinish func() error
	// OnNotes may refuse Notes.
	OnNotes func() error
	// Previous is who had the job before; see recorder.Heir.
	Previous string
	// Sent is what Commands gives.
	Sent chan recorder.Command
	// Ended is closed by Finish, Release and Abandon.
	Ended chan struct{}

	job   recorder.Job
	rec   recorder.Recording
	lost  chan struct{}
	once  sync.Once
	notes *fakeNotes

	mu        sync.Mutex
	reports   []recorder.Recording
	finished  []recorder.Recording
	released  bool
	kept      recorder.Recording
	cause     error
	counted   bool
	abandoned bool
}

// NewFakeLease makes a lease of job, claimed when it was in state rec.
func NewFakeLease(job recorder.Job, rec recorder.Recording) *FakeLease {
	return &FakeLease{
		job: job, rec: rec, lost: make(chan struct{}), notes: &fakeNotes{texts: map[string]string{}},
		Sent: make(chan recorder.Command, 64), Ended: make(chan struct{}),
	}
}

// Lose closes Lost. Once.
func (l *FakeLease) Lose() { close(l.lost) }

// Job implements recorder.Lease.
func (l *FakeLease) Job() recorder.Job { return l.job.Clone() }

// Recording implements recorder.Lease.
func (l *FakeLease) Recording() recorder.Recording { return l.rec.Clone() }

// Lost implements recorder.Lease.
func (l *FakeLease) Lost() <-chan struct{} { return l.lost }

// Commands implements recorder.Lease.
func (l *FakeLease) Commands() <-chan recorder.Command { return l.Sent }

// Report implements recorder.Lease.
func (l *FakeLease) Report(ctx context.Context, rec recorder.Recording) error {
	if l.isLost() {
		return recorder.ErrLeaseLost
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reports = append(l.reports, rec)
	return nil
}

// Finish implements recorder.Lease.
func (l *FakeLease) Finish(_ context.Context, rec recorder.Recording) error {
	if l.isLost() {
		return recorder.ErrLeaseLost
	}
	if l.OnFinish != nil {
		if err := l.OnFinish(); err != nil {
			return err
		}
	}
	l.mu.Lock()
	l.finished = append(l.finished, rec)
	l.mu.Unlock()
	l.end()
	return nil
}

// Release implements recorder.Lease.
func (l *FakeLease) Release(_ context.Context, cause error, counts bool) error {
	l.mu.Lock()
	l.released, l.cause, l.counted = true, cause, counts
	l.kept = l.rec
	if n := len(l.reports); n > 0 {
		l.kept = l.reports[n-1]
	}
	l.kept = l.kept.Clone()
	l.kept.Status, l.kept.UpdatedAt = recorder.StatusQueued, time.Now().UnixNano()
	l.mu.Unlock()
	l.end()
	return nil
}

// Abandon implements recorder.Lease.
func (l *FakeLease) Abandon() {
	l.mu.Lock()
	l.abandoned = true
	l.mu.Unlock()
	l.end()
}

func (l *FakeLease) end() { l.once.Do(func() { close(l.Ended) }) }

func (l *FakeLease) isLost() bool {
	select {
	case <-l.lost:
		return true
	default:
		return false
	}
}

// LeaseEnd is what became of a FakeLease.
type LeaseEnd struct {
	Reports   []recorder.Recording
	Finished  []recorder.Recording
	Released  bool
	Kept      recorder.Recording // what the release left of the job, for its next lease
	Cause     error              // of the release
	Counted   bool               // the release, as a try
	Abandoned bool
}

// End tells what became of the lease so far.
func (l *FakeLease) End() LeaseEnd {
	l.mu.Lock()
	defer l.mu.Unlock()
	return LeaseEnd{slices.Clone(l.reports), slices.Clone(l.finished), l.released, l.kept.Clone(), l.cause, l.counted, l.abandoned}
}
