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
		rec.Status, rec.StartedAt = s, 1
		require.NoError(t, l.Report(t.Context(), rec))
	}
	l.Abandon()
	m.advance(modelTTL)
	serve, err := New(t.Context(), m.client, Options{LeaseTTL: modelTTL, AbandonAfter: 10 * time.Minute, Now: func() time.Time { return m.now }})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, serve.Close()) })
	return m, l, &reaper{q: serve}
}

// ends looks every ten seconds and gives when the job ended; 0 for never within d.
func (m *model) ends(r *reaper, d time.Duration, each func(at time.Duration)) time.Duration {
	for at := time.Duration(0); at <= d; at += 10 * time.Second {
		if each != nil {
			each(at)
		}
		require.NoError(m.t, r.look(m.t.Context()))
		s, err := r.q.load(m.t.Context(), "tape")
		require.NoError(m.t, err)
		if s.status.Ended() {
			return at
		}
		m.advance(10 * time.Second)
	}
	return 0
}

func TestReap(t *testing.T) {
	t.Parallel()
	const active, ending = recorder.StatusActive, recorder.StatusEnding
	t.Run("nobody is there", func(t *testing.T) {
		t.Parallel()
		m, _, r := newWatch(t, active)
		assert.Equal(t, deserted, m.ends(r, time.Hour, nil))
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
	t.Run("a worker that shuts down", func(t *testing.T) {
		t.Parallel()
		m, _, r := newWatch(t, active)
		assert.Equal(t, deserted, m.ends(r, time.Hour, func(time.Duration) {
			require.NoError(t, r.q.Beat(t.Context(), WorkerInfo{ID: "w9", Draining: true}))
		}))
	})
	t.Run("all are busy", func(t *testing.T) {
		t.Parallel()
		m, _, r := newWatch(t, active)
		assert.Equal(t, r.q.opts.AbandonAfter, m.ends(r, time.Hour, func(time.Duration) {
			require.NoError(t, r.q.Beat(t.Context(), WorkerInfo{ID: "w9", Slots: 1}))
		}))
	})
	t.Run("the media waits in a spool", func(t *testing.T) {
		t.Parallel()
		m, _, r := newWatch(t, active, ending)
		assert.Equal(t, r.q.opts.AbandonAfter, m.ends(r, time.Hour, nil))
	})
	t.Run("the owner shows signs of life", func(t *testing.T) {
		t.Parallel()
		m, l, r := newWatch(t, active)
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
		m, _, r := newWatch(t, active)
		assert.Equal(t, time.Minute+deserted, m.ends(r, time.Hour, func(at time.Duration) {
			if at == time.Minute {
				m.redis.SetError("LOADING")
				require.Error(t, r.look(t.Context()))
				m.redis.SetError("")
			}
		}))
	})
	t.Run("the clock is put back", func(t *testing.T) {
		t.Parallel()
		m, _, r := newWatch(t, active)
		at := m.ends(r, time.Hour, func(at time.Duration) {
			if at == time.Minute {
				m.redis.SetTime(m.now.Add(-24 * time.Hour))
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
	t.Run("nobody ever claimed", func(t *testing.T) {
		t.Parallel()
		m := newModel(t, 0)
		require.NoError(t, m.client.XGroupDestroy(t.Context(), m.workers[0].q.keys.jobs(), group).Err())
		require.True(t, noGroup((&reaper{q: m.workers[0].q}).look(t.Context())))
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
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, l, r := newWatch(t, recorder.StatusActive)
			s, err := r.q.load(t.Context(), "tape")
			require.NoError(t, err)
			e, s, err := r.q.lapsed(t.Context(), s.entry)
			require.NoError(t, err)
			require.True(t, s.exists)
			back(m, l)
			require.NoError(t, r.q.conclude(t.Context(), e, s))
			s, err = r.q.load(t.Context(), "tape")
			require.NoError(t, err)
			assert.False(t, s.status.Ended(), "it was ended on its owner")
		})
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
