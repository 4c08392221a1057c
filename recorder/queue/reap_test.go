package queue

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// newWatch is a model whose first worker recorded a job and is gone, and a process
// that only looks.
func newWatch(t *testing.T, statuses ...recorder.Status) (*model, *lease, *reaper) {
	t.Helper()
	m := newModel(t, 0)
	owner := m.workers[0]
	require.NoError(t, owner.q.Enqueue(t.Context(), recordertest.WebJob("tape")))
	l := m.claim(owner)
	require.NotNil(t, l)
	for _, s := range statuses {
		rec := l.now.Clone()
		if rec.Status = s; s != recorder.StatusStarting {
			rec.StartedAt = 1
		}
		require.NoError(t, l.Report(t.Context(), rec))
	}
	l.Abandon()
	m.advance(modelTTL)
	serve, err := New(t.Context(), m.client, Options{LeaseTTL: modelTTL, AbandonAfter: 10 * time.Minute, RescueWithin: 40 * time.Minute, Now: m.time})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, serve.Close()) })
	return m, l, &reaper{q: serve}
}

// ends looks every ten seconds and gives when the job ended, or was taken to be ended; 0 for
// never within d.
func (m *model) ends(r *reaper, d time.Duration, each func(at time.Duration)) time.Duration {
	for at := time.Duration(0); at <= d; at += 10 * time.Second {
		if each != nil {
			each(at)
		}
		l, err := r.look(m.t.Context())
		require.NoError(m.t, err)
		if l != nil {
			m.t.Cleanup(l.Abandon)
			return at
		}
		s, err := r.q.load(m.t.Context(), "tape")
		require.NoError(m.t, err)
		if s.status.Ended() {
			return at
		}
		for range 2 {
			m.advance(5 * time.Second)
			_, err := m.workers[0].q.run(m.t.Context(), r.q.scripts.expired, // the heartbeat of another job
				[]string{r.q.keys.jobs(), r.q.keys.pulse()}, group, modelTTL.Milliseconds(), "-", 1)
			require.NoError(m.t, err)
		}
	}
	return 0
}

func TestReap(t *testing.T) {
	t.Parallel()
	const starting, active, ending = recorder.StatusStarting, recorder.StatusActive, recorder.StatusEnding
	t.Run("nobody is there", func(t *testing.T) {
		t.Parallel()
		m, _, r := newWatch(t, active)
		told := time.Duration(0)
		assert.Equal(t, r.q.opts.RescueWithin, m.ends(r, time.Hour, func(at time.Duration) {
			s, err := r.q.load(t.Context(), "tape")
			require.NoError(t, err)
			if s.status == ending && told == 0 {
				told = at
				assert.Equal(t, recorder.EndWorkerLost, s.rec.EndReason, "it is not active for ever")
			}
		}))
		assert.Equal(t, r.q.opts.AbandonAfter+10*time.Second, told)
		s, err := r.q.load(t.Context(), "tape")
		require.NoError(t, err)
		assert.Equal(t, recorder.StatusFailed, s.status)
		assert.Equal(t, recorder.EndWorkerLost, s.rec.EndReason)
		assert.Equal(t, recorder.FilePending, s.rec.Files[0].State, "its spool may come back")
		for name, want := range map[string]int64{r.q.keys.jobs(): 0, r.q.keys.dead(): 0} {
			n, err := m.client.XLen(t.Context(), name).Result()
			require.NoError(t, err)
			assert.Equal(t, want, n, name)
		}
		late := s.rec.Clone()
		late.Files[0].State = recorder.FileDelivered
		require.NoError(t, r.q.Amend(t.Context(), "tape", late))
	})
	t.Run("nobody is there, and nothing was recorded", func(t *testing.T) {
		t.Parallel()
		m, _, r := newWatch(t, starting)
		assert.Equal(t, deserted, m.ends(r, time.Hour, nil))
	})
	t.Run("a worker that shuts down", func(t *testing.T) {
		t.Parallel()
		m, _, r := newWatch(t, starting)
		assert.Equal(t, deserted, m.ends(r, time.Hour, func(time.Duration) {
			require.NoError(t, r.q.Beat(t.Context(), WorkerInfo{ID: "w9", Draining: true}))
		}))
	})
	t.Run("all are busy, and nothing was recorded", func(t *testing.T) {
		t.Parallel()
		m, _, r := newWatch(t, starting)
		assert.Equal(t, r.q.opts.AbandonAfter, m.ends(r, time.Hour, func(time.Duration) {
			require.NoError(t, r.q.Beat(t.Context(), WorkerInfo{ID: "w9", Slots: 1}))
		}))
	})
	for _, statuses := range [][]recorder.Status{{active}, {active, ending}} {
		last := statuses[len(statuses)-1]
		t.Run("one that is busy rescues what is "+string(last), func(t *testing.T) {
			t.Parallel()
			m, lost, _ := newWatch(t, statuses...)
			r := &m.workers[1].q.reaper
			require.NoError(t, m.workers[1].q.Beat(t.Context(), WorkerInfo{ID: "w1", Slots: 1}))
			assert.GreaterOrEqual(t, m.ends(r, time.Hour, nil), m.workers[1].q.opts.AbandonAfter)
			s, err := r.q.load(t.Context(), "tape")
			require.NoError(t, err)
			assert.Equal(t, ending, s.status, "it is taken, and not ended yet")
			assert.Equal(t, "w1", s.worker)
			assert.NotEqual(t, lost.fence, s.fence)
			if last == active {
				assert.Equal(t, recorder.EndWorkerLost, s.rec.EndReason)
			} else {
				assert.Empty(t, s.rec.EndReason, "it ends as it would have")
			}
			require.ErrorIs(t, lost.Report(t.Context(), lost.now), recorder.ErrLeaseLost)
		})
	}
	t.Run("a worker comes to what was stranded", func(t *testing.T) {
		t.Parallel()
		m, lost, r := newWatch(t, active)
		require.Zero(t, m.ends(r, 20*time.Minute, nil))
		var l *lease
		for range 6 {
			if l = m.claim(m.workers[1]); l != nil {
				break
			}
			m.advance(modelTTL / 3)
		}
		require.NotNil(t, l)
		rec := l.Recording()
		assert.Equal(t, ending, rec.Status)
		assert.Equal(t, recorder.EndWorkerLost, rec.EndReason)
		assert.NotEqual(t, lost.fence, l.fence)
	})
	t.Run("the owner comes back to what was stranded", func(t *testing.T) {
		t.Parallel()
		m, lost, r := newWatch(t, active)
		require.Zero(t, m.ends(r, 20*time.Minute, nil))
		word, err := lost.renew(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "ok", word, "nobody had it meanwhile")
	})
	t.Run("the owner shows signs of life", func(t *testing.T) {
		t.Parallel()
		m, l, r := newWatch(t, starting)
		assert.Equal(t, time.Minute+20*time.Second+deserted, m.ends(r, time.Hour, func(at time.Duration) { // its lease lapses again after 15 s
			if at == time.Minute {
				word, err := l.renew(t.Context())
				require.NoError(t, err)
				require.Equal(t, "ok", word)
			}
		}))
	})
	t.Run("redis was away", func(t *testing.T) {
		t.Parallel()
		m, _, r := newWatch(t, starting)
		assert.Equal(t, time.Minute+deserted, m.ends(r, time.Hour, func(at time.Duration) {
			if at == time.Minute {
				m.redis.SetError("LOADING")
				_, err := r.look(t.Context())
				require.Error(t, err)
				m.redis.SetError("")
			}
		}))
	})
	t.Run("the clock is put back", func(t *testing.T) {
		t.Parallel()
		m, _, r := newWatch(t, starting)
		at := m.ends(r, time.Hour, func(at time.Duration) {
			if at == time.Minute {
				m.redis.SetTime(m.time().Add(-24 * time.Hour))
				m.skew = -24 * time.Hour
			}
		})
		assert.LessOrEqual(t, at, time.Minute+deserted+2*modelTTL)
		assert.NotZero(t, at)
	})
	t.Run("a job that was given back waits", func(t *testing.T) {
		t.Parallel()
		m := newModel(t, 0)
		require.NoError(t, m.workers[0].q.Enqueue(t.Context(), recordertest.WebJob("tape")))
		l := m.claim(m.workers[0])
		require.NoError(t, l.Release(t.Context(), nil, false))
		assert.Zero(t, m.ends(&reaper{q: m.workers[1].q}, 20*time.Minute, nil))
	})
	t.Run("a job that was given back with media", func(t *testing.T) {
		t.Parallel()
		for name, why := range map[string]recorder.EndReason{"nobody stops it": recorder.EndWorkerLost, "somebody does": recorder.EndMaxSize} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				m, _, r := newWatch(t, active)
				b := m.soonest(0)
				require.NotNil(t, b)
				rec := b.Recording()
				rec.Status, rec.StartedAt, rec.Part = starting, 0, 2
				rec.Earlier = []recorder.Part{{Part: 1, StartedAt: 1, Files: []recorder.FileResult{{Filename: "a", State: recorder.FilePending}}}}
				require.NoError(t, b.Report(t.Context(), rec))
				require.NoError(t, b.Release(t.Context(), nil, false))
				if why != recorder.EndWorkerLost {
					require.NoError(t, r.q.Stop(t.Context(), "tape", why))
				}
				told := time.Duration(0)
				assert.Equal(t, r.q.opts.RescueWithin, m.ends(r, time.Hour, func(at time.Duration) {
					s, err := r.q.load(t.Context(), "tape")
					require.NoError(t, err)
					if s.status == ending && told == 0 {
						told = at
					}
				}))
				assert.Equal(t, r.q.opts.AbandonAfter+10*time.Second, told)
				s, err := r.q.load(t.Context(), "tape")
				require.NoError(t, err)
				assert.Equal(t, []any{recorder.StatusFailed, why, recorder.CodeWorkerLost}, []any{s.status, s.rec.EndReason, s.rec.Error.Code})
				assert.Equal(t, []any{1, recorder.FilePending}, []any{s.rec.Part, s.rec.Files[0].State})
			})
		}
	})
	t.Run("nobody ever claimed", func(t *testing.T) {
		t.Parallel()
		m := newModel(t, 0)
		require.NoError(t, m.client.XGroupDestroy(t.Context(), m.workers[0].q.keys.jobs(), group).Err())
		l, err := (&reaper{q: m.workers[0].q}).look(t.Context())
		require.NoError(t, err)
		require.Nil(t, l)
	})
}

// A worker that comes back between the look and the end has its job.
func TestReapRaces(t *testing.T) {
	t.Parallel()
	for name, back := range map[string]func(*model, *lease){
		"its heartbeat": func(m *model, l *lease) {
			word, err := l.renew(m.t.Context())
			require.NoError(m.t, err)
			require.Equal(m.t, "ok", word)
		},
		"its next life": func(m *model, _ *lease) {
			m.boot(m.workers[0])
			_, err := m.workers[0].q.Adopt(m.t.Context(), "tape")
			require.NoError(m.t, err)
		},
		"another worker": func(m *model, _ *lease) {
			_, err := m.workers[1].q.reclaim(m.t.Context()) // begins the wait for owners
			require.NoError(m.t, err)
			for range 3 {
				m.advance(modelTTL / 3)
				if m.claim(m.workers[1]) != nil {
					return
				}
			}
			m.t.Fatal("nobody took it")
		},
	} {
		for what, status := range map[string]recorder.Status{"ended": recorder.StatusStarting, "stranded": recorder.StatusActive, "taken": recorder.StatusActive} {
			t.Run(name+", "+what, func(t *testing.T) {
				t.Parallel()
				m, l, r := newWatch(t, status)
				s, err := r.q.load(t.Context(), "tape")
				require.NoError(t, err)
				e, s, err := r.q.lapsed(t.Context(), s.entry)
				require.NoError(t, err)
				require.True(t, s.exists)
				back(m, l)
				before, err := r.q.load(t.Context(), "tape")
				require.NoError(t, err)
				q := r.q
				if what == "taken" {
					q = m.workers[2].q
				}
				taken, err := q.reap(t.Context(), stray{e, s})
				require.NoError(t, err)
				assert.Nil(t, taken)
				after, err := r.q.load(t.Context(), "tape")
				require.NoError(t, err)
				assert.Equal(t, before, after, "it was ended, or taken, from its owner")
			})
		}
	}
}

// Nodes that are lost one a day do not end a recording of days; a job that kills
// whoever takes it does not go on for ever.
func TestTriesAreForgiven(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		records time.Duration
		most    int // lives
	}{
		"records for a minute":        {forgivenAfter, 12},
		"dies within the minute":      {forgivenAfter - time.Second, 4},
		"dies before the first frame": {0, 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newModel(t, 0) // which tries four times
			w := m.workers[0]
			require.NoError(t, w.q.Enqueue(t.Context(), recordertest.WebJob("tape")))
			lives := 0
			for ; lives < 12; lives++ {
				var l *lease
				for range 8 {
					if l = m.claim(m.workers[lives%2]); l != nil {
						break
					}
					m.advance(modelTTL / 3)
				}
				if l == nil {
					break
				}
				if c.records > 0 {
					rec := l.now.Clone()
					rec.Status = recorder.StatusActive
					require.NoError(t, l.Report(t.Context(), rec))
				}
				for range 6 {
					m.advance(c.records / 6)
					word, err := l.renew(t.Context())
					require.NoError(t, err)
					require.Equal(t, "ok", word)
				}
				l.Abandon()
			}
			assert.Equal(t, c.most, lives)
			s, err := w.q.load(t.Context(), "tape")
			require.NoError(t, err)
			assert.Equal(t, lives < 12, s.status.Ended())
		})
	}
}
