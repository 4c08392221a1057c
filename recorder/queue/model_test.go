package queue

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// modelTTL is longer than the steps of the clock, as leases are than the looks of those who wait.
const modelTTL = 15 * time.Second

// model runs workers that claim, place, sleep, crash, come back, report, finish and
// give back in any order, on a clock of its own, and checks after every step
// that only the newest owner of a job is obeyed.
type model struct {
	t       *testing.T
	rnd     *rand.Rand
	redis   *miniredis.Miniredis
	client  *redis.Client
	clock   sync.Mutex
	now     time.Time     // read by what runs beside the model, too
	skew    time.Duration // of Redis's clock
	workers []*modelWorker
	jobs    []string
	fences  map[string]int64 // highest granted
	ended   map[string]bool  // as answers said
}

type modelWorker struct {
	id     string
	q      *Queue
	asleep bool
	leases []*lease
}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{
		t: t, rnd: rand.New(rand.NewPCG(seed, 1)), redis: miniredis.RunT(t),
		now: time.UnixMilli(1_700_000_000_000), fences: map[string]int64{}, ended: map[string]bool{},
	}
	m.redis.SetTime(m.now)
	m.client = redis.NewClient(&redis.Options{Addr: m.redis.Addr()})
	t.Cleanup(func() { _ = m.client.Close() })
	for i := range 3 {
		w := &modelWorker{id: fmt.Sprintf("w%d", i)}
		m.boot(w)
		m.workers = append(m.workers, w)
	}
	m.workers[0].q.makeGroup(t.Context())
	return m
}

func (m *model) boot(w *modelWorker) {
	q, err := New(m.t.Context(), m.client, Options{
		Worker: w.id, LeaseTTL: modelTTL, MaxAttempts: 4, AbandonAfter: time.Minute, Now: m.time,
	})
	require.NoError(m.t, err)
	q.beat = func(*lease) {} // renewAll is, by the model's clock
	m.t.Cleanup(func() { _ = q.Close() })
	w.q, w.leases, w.asleep = q, nil, false
}

func (m *model) time() time.Time {
	m.clock.Lock()
	defer m.clock.Unlock()
	return m.now
}

func (m *model) advance(d time.Duration) {
	m.clock.Lock()
	defer m.clock.Unlock()
	m.now = m.now.Add(d)
	m.redis.SetTime(m.now.Add(m.skew))
}

// claim is Claim without waiting.
func (m *model) claim(w *modelWorker) *lease {
	l, err := w.q.reclaim(m.t.Context())
	require.NoError(m.t, err)
	if l == nil {
		streams, err := m.client.XReadGroup(m.t.Context(), &redis.XReadGroupArgs{
			Group: group, Consumer: w.id, Streams: []string{w.q.keys.jobs(), ">"}, Count: 1, Block: -1,
		}).Result()
		if errors.Is(err, redis.Nil) {
			return nil
		}
		require.NoError(m.t, err)
		l, err = w.q.accept(m.t.Context(), streams[0].Messages[0])
		require.NoError(m.t, err)
	}
	m.granted(w, l)
	return l
}

func (m *model) granted(w *modelWorker, l *lease) {
	if l == nil {
		return
	}
	id, fence := l.before.ID, integer(l.fence)
	require.Greater(m.t, fence, m.fences[id], "%s: a fence was granted twice", id)
	require.False(m.t, m.ended[id], "%s was handed out after its end", id)
	m.fences[id] = fence
	w.leases = append(w.leases, l)
}

// obeyed checks what a lease's act may have done.
func (m *model) obeyed(l *lease, err error, what string) bool {
	if err != nil {
		return false
	}
	id := l.before.ID
	require.Equal(m.t, m.fences[id], integer(l.fence), "%s: %s of an old owner was obeyed", id, what)
	require.False(m.t, m.ended[id], "%s: %s after the end was obeyed", id, what)
	return true
}

func (m *model) step() {
	ctx := m.t.Context()
	w := m.workers[m.rnd.IntN(len(m.workers))]
	var l *lease
	if len(w.leases) > 0 {
		l = w.leases[m.rnd.IntN(len(w.leases))]
	}
	switch n := m.rnd.IntN(100); {
	case n < 5 && !w.asleep:
		id := fmt.Sprintf("j%d", len(m.jobs))
		placed, err := w.q.Place(ctx, recordertest.WebJob(id))
		require.NoError(m.t, err)
		m.jobs = append(m.jobs, id)
		l, _ = placed.(*lease)
		m.granted(w, l)
	case n < 15:
		id := fmt.Sprintf("j%d", len(m.jobs))
		require.NoError(m.t, w.q.Enqueue(ctx, recordertest.WebJob(id)))
		m.jobs = append(m.jobs, id)
	case n < 35 && !w.asleep:
		m.claim(w)
	case n < 60:
		m.advance(time.Duration(1+m.rnd.IntN(6)) * time.Second)
		m.renewAll()
	case n < 64:
		w.asleep = !w.asleep
	case n < 66:
		require.NoError(m.t, w.q.Close())
		m.boot(w)
	case n < 70 && len(m.jobs) > 0:
		id := m.jobs[m.rnd.IntN(len(m.jobs))]
		if a, err := w.q.Adopt(ctx, id); err == nil {
			adopted, _ := a.(*lease)
			m.granted(w, adopted)
		}
	case n < 73 && len(m.jobs) > 0:
		id := m.jobs[m.rnd.IntN(len(m.jobs))]
		if w.q.Stop(ctx, id, "") == nil {
			s, err := w.q.load(ctx, id)
			require.NoError(m.t, err)
			m.ended[id] = s.status.Ended()
		}
	case n < 80 && l != nil:
		m.report(l)
	case n < 85 && l != nil:
		m.note(l)
	case n < 92 && l != nil:
		rec := l.now.Clone()
		rec.Status = recorder.StatusComplete
		if m.obeyed(l, l.Finish(ctx, rec), "the end") {
			m.ended[rec.ID] = true
		}
	case l != nil:
		cause := []error{nil, errors.New("no display")}[m.rnd.IntN(2)]
		if m.obeyed(l, l.Release(ctx, cause, cause != nil), "a release") {
			s, err := w.q.load(ctx, l.before.ID)
			require.NoError(m.t, err)
			m.ended[l.before.ID] = s.status.Ended()
		}
	}
}

// report sends a state. What an old owner sends must leave the job as it is: Report's
// own answer may be that it goes on trying.
func (m *model) report(l *lease) {
	ctx := m.t.Context()
	id, rec := l.before.ID, l.now.Clone()
	rec.Status = []recorder.Status{recorder.StatusActive, recorder.StatusEnding}[m.rnd.IntN(2)]
	rev := func() string { return m.redis.DB(0).HGet(l.q.keys.job(id), "rev") }
	stale, before := m.fences[id] != integer(l.fence) || m.ended[id], rev()
	err := l.Report(ctx, rec)
	if stale {
		require.Equal(m.t, before, rev(), "%s: a report of an old owner was obeyed: %v", id, err)
	}
}

// note keeps a text. Nobody finds what an old owner noted after it was replaced.
func (m *model) note(l *lease) {
	id := l.before.ID
	noted := func() string { return m.redis.HGet(l.q.keys.notes(id), "fence") }
	stale, before := m.fences[id] != integer(l.fence) || m.ended[id], noted()
	gone := l.over() != nil
	text := l.fence + " " + nonce()
	l.Note("fence", text)
	require.NoError(m.t, l.flushNotes(m.t.Context()))
	l.notes.sending.Lock() // a batch that was under way
	defer l.notes.sending.Unlock()
	switch {
	case stale:
		require.Equal(m.t, before, noted(), "%s: a note of an old owner was kept", id)
	case !gone:
		require.Equal(m.t, text, noted(), "%s: a note of the owner was not kept", id)
	}
}

// renewAll is the heartbeat of every worker that is awake.
func (m *model) renewAll() {
	for _, w := range m.workers {
		for _, l := range w.leases {
			if w.asleep || l.over() != nil {
				continue
			}
			word, err := l.renew(m.t.Context())
			require.NoError(m.t, err)
			if word == "lost" {
				l.lose()
			} else {
				m.obeyed(l, nil, "a heartbeat")
			}
		}
	}
}

// settle lets one worker that never sleeps end whatever is left.
func (m *model) settle() {
	ctx := m.t.Context()
	last := &modelWorker{id: "last"}
	m.boot(last)
	m.workers = []*modelWorker{last}
	for range 400 {
		if left, err := last.q.List(ctx, recorder.Filter{Active: true}); err == nil && len(left) == 0 {
			break
		}
		if l := m.claim(last); l != nil {
			rec := l.Recording()
			rec.Status = recorder.StatusFailed
			require.NoError(m.t, l.Finish(ctx, rec))
			m.ended[rec.ID] = true
		}
		m.advance(5 * time.Second)
	}
	found, err := last.q.List(ctx, recorder.Filter{Limit: len(m.jobs) + 1})
	require.NoError(m.t, err)
	require.Len(m.t, found, len(m.jobs))
	for _, rec := range found {
		require.True(m.t, rec.Status.Ended(), "%s is %s for ever", rec.ID, rec.Status)
	}
	events, err := m.client.XRange(ctx, last.q.keys.events(), "-", "+").Result()
	require.NoError(m.t, err)
	ends := map[string]int{}
	for _, e := range events {
		if id, _ := e.Values["id"].(string); e.Values["type"] == string(recorder.EventEnded) {
			ends[id]++
		}
	}
	for _, id := range m.jobs {
		require.Equal(m.t, 1, ends[id], "%s ended so often", id)
	}
	kept, err := m.client.Keys(ctx, last.q.keys.notes("*")).Result()
	require.NoError(m.t, err)
	for _, key := range kept {
		require.Positive(m.t, m.client.TTL(ctx, key).Val(), "%s is kept for ever", key)
	}
	left, err := m.client.XLen(ctx, last.q.keys.jobs()).Result()
	require.NoError(m.t, err)
	require.Zero(m.t, left)
	commands, err := m.client.Keys(ctx, last.q.keys.commands("*")).Result()
	require.NoError(m.t, err)
	require.Empty(m.t, commands)
}

func TestModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			m := newModel(t, seed)
			for range 250 {
				m.step()
			}
			m.settle()
		})
	}
}

// An outage that lasted longer than a lease expires nobody's: the owners get
// time to renew, and only those that do not use it lose.
func TestOutageGrace(t *testing.T) {
	t.Parallel()
	m := newModel(t, 0)
	owner, thief := m.workers[0], m.workers[1]
	require.NoError(t, owner.q.Enqueue(t.Context(), recordertest.WebJob("kept")))
	l := m.claim(owner)
	require.NotNil(t, l)
	m.advance(10 * modelTTL) // nobody could speak to Redis
	require.Nil(t, m.claim(thief), "an expired lease was taken at the first chance")
	m.advance(modelTTL / 2)
	require.Nil(t, m.claim(thief), "the owner's time is not over")
	word, err := l.renew(t.Context())
	require.NoError(t, err)
	require.Equal(t, "ok", word)
	for range 3 {
		m.advance(modelTTL / 4)
		require.Nil(t, m.claim(thief), "the lease was renewed")
	}
	for range 3 {
		m.advance(modelTTL / 4)
		if taken := m.claim(thief); taken != nil {
			require.Equal(t, "kept", taken.before.ID)
			return
		}
	}
	t.Fatal("a lease that is not renewed never expires")
}
