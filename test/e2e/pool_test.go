package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// pool is a Redis with its workers.
type pool struct {
	*home
	redis  *recordertest.Redis
	client *redis.Client
}

func startPool(t testing.TB, opts ...recordertest.RedisOption) *pool {
	t.Helper()
	p := &pool{redis: recordertest.StartRedis(t, opts...)}
	p.client = redis.NewClient(&redis.Options{Addr: p.redis.Addr()})
	t.Cleanup(func() { _ = p.client.Close() })
	p.home = newHome(t)
	return p
}

const (
	eventsKey = "{tapedeck}:events"
	jobsKey   = "{tapedeck}:jobs"
	deadKey   = "{tapedeck}:dead"
)

// leaseTTL is short, so that a takeover is seen soon.
const leaseTTL = 4 * time.Second

func (p *pool) redisEnv() []string {
	return []string{"TAPEDECK_REDIS_URL=" + p.redis.URL(), "TAPEDECK_REDIS_LEASE_TTL=" + leaseTTL.String()}
}

// worker is one worker process; its id, spool and storage outlive it.
type worker struct {
	*command
	id string
}

// spool is where a worker of this id keeps what it records.
func (p *pool) spool(id string) string { return p.path("spool-" + id) }

// stored is a file that a worker without other storage delivered.
func (p *pool) stored(name string) string { return p.path("stored", name) }

// startWorker starts a worker and waits until it is up. The environment comes
// on top of the usual one.
func (p *pool) startWorker(id string, env ...string) *worker {
	p.t.Helper()
	env = append(append(p.redisEnv(), "TAPEDECK_WORKER_ID="+id, "TAPEDECK_SPOOL="+p.spool(id),
		"TAPEDECK_WORKER_MAX_JOBS=1", "TAPEDECK_LOG_LEVEL=debug"), env...)
	if !strings.Contains(strings.Join(env, "\n"), "TAPEDECK_STORAGE_") {
		env = append(env, "TAPEDECK_STORAGE_DIRECTORY="+p.path("stored"))
	}
	w := &worker{p.start(env, "worker"), id}
	w.await(w.stderr, `"worker is up"`, 20*time.Second)
	return w
}

// verb runs a verb against this pool's Redis.
func (p *pool) verb(args ...string) result {
	p.t.Helper()
	return p.runWith("", p.redisEnv(), args...)
}

// enqueue starts a job the way a user does, and gives its id.
func (p *pool) enqueue(job recorder.Job) string {
	p.t.Helper()
	text, err := json.Marshal(job)
	require.NoError(p.t, err)
	r := p.runWith(string(text), p.redisEnv(), "enqueue", "-")
	require.Zero(p.t, r.code, r.stderr)
	return strings.TrimSpace(r.stdout)
}

// pageJob records a page into one file without a manifest.
func pageJob(url, file string, limit time.Duration) recorder.Job {
	return recorder.Job{
		Source: recorder.Source{URL: url, AwaitStartSignal: true},
		Files:  []recorder.FileOutput{{Filepath: file, DisableManifest: true}},
		Limits: recorder.Limits{MaxDuration: recorder.Duration(limit)},
	}
}

// state is what Redis holds of a job; zero when there is nothing or no Redis.
func (p *pool) state(id string) recorder.Recording {
	var rec recorder.Recording
	h, err := p.client.HGetAll(p.t.Context(), "{tapedeck}:job:"+id).Result()
	if err == nil && h["recording"] != "" {
		require.NoError(p.t, json.Unmarshal([]byte(h["recording"]), &rec))
		rec.ID, rec.Status = id, recorder.Status(h["status"])
	}
	return rec
}

// await waits until the job's state is as wanted. It looks at every event, and
// five times a second at the figures, which are no events.
func (p *pool) await(id, what string, limit time.Duration, wanted func(recorder.Recording) bool) recorder.Recording {
	p.t.Helper()
	last := "$"
	for deadline := time.Now().Add(limit); ; {
		rec := p.state(id)
		if wanted(rec) {
			return rec
		}
		if time.Now().After(deadline) {
			text, _ := json.MarshalIndent(rec, "", " ")
			require.FailNow(p.t, "it does not come", "%s of job %s within %s\n%s", what, id, limit, text)
		}
		answer, err := p.client.XRead(p.t.Context(), &redis.XReadArgs{Streams: []string{eventsKey, last}, Block: 200 * time.Millisecond}).Result()
		if err == nil {
			messages := answer[0].Messages
			last = messages[len(messages)-1].ID
		}
	}
}

func (p *pool) awaitStatus(id string, status recorder.Status, limit time.Duration) recorder.Recording {
	p.t.Helper()
	rec := p.await(id, string(status), limit, func(rec recorder.Recording) bool {
		return rec.Status == status || rec.Status.Ended()
	})
	require.Equal(p.t, status, rec.Status, "%s %+v %+v", rec.EndReason, rec.Error, rec.Files)
	return rec
}

func (p *pool) awaitActive(id string) recorder.Recording {
	p.t.Helper()
	rec := p.awaitStatus(id, recorder.StatusActive, recordStart)
	p.look()
	return rec
}

// awaitElapsed waits until so much is recorded.
func (p *pool) awaitElapsed(id string, d time.Duration) recorder.Recording {
	p.t.Helper()
	return p.await(id, fmt.Sprintf("second %v", d.Seconds()), d+recordStart, func(rec recorder.Recording) bool {
		require.False(p.t, rec.Status.Ended(), "%s %v", rec.EndReason, rec.Error)
		return rec.Stats.Elapsed.Std() >= d
	})
}

func (p *pool) awaitEnd(id string, limit time.Duration) recorder.Recording {
	p.t.Helper()
	return p.await(id, "the end", limit, func(rec recorder.Recording) bool { return rec.Status.Ended() })
}

// list gives a job as `tapedeck list --json` shows it.
func (p *pool) list(id string) recorder.Recording {
	p.t.Helper()
	r := p.verb("list", "--json", id)
	require.Zero(p.t, r.code, r.stderr)
	var rec recorder.Recording
	require.NoError(p.t, json.Unmarshal([]byte(r.stdout), &rec), r.stdout)
	return rec
}

// events gives everything that was told of a job, oldest first.
func (p *pool) events(id string) []recorder.Event {
	p.t.Helper()
	messages, err := p.client.XRange(p.t.Context(), eventsKey, "-", "+").Result()
	require.NoError(p.t, err)
	var events []recorder.Event
	for _, m := range messages {
		if m.Values["id"] != id {
			continue
		}
		text, _ := m.Values["recording"].(string)
		kind, _ := m.Values["type"].(string)
		e := recorder.Event{ID: m.ID, Type: recorder.EventType(kind)}
		require.NoError(p.t, json.Unmarshal([]byte(text), &e.Recording))
		events = append(events, e)
	}
	return events
}

// count says how many events of a type a job had.
func (p *pool) count(id string, kind recorder.EventType) int {
	p.t.Helper()
	n := 0
	for _, e := range p.events(id) {
		if e.Type == kind {
			n++
		}
	}
	return n
}

// requireSpoolFree checks that a worker's spool holds no media and no job.
func (p *pool) requireSpoolFree(id string) {
	p.t.Helper()
	for _, name := range []string{"media-*", "task.json"} {
		left, err := filepath.Glob(filepath.Join(p.spool(id), "*", name))
		require.NoError(p.t, err)
		require.Empty(p.t, left, "the spool is free")
	}
}

// awaitSpoolFree waits for it: the spool is freed after the job's end is told.
func (p *pool) awaitSpoolFree(id string) {
	p.t.Helper()
	recordertest.AwaitNone(p.t, 10*time.Second, func() []string {
		left, _ := filepath.Glob(filepath.Join(p.spool(id), "*", "task.json"))
		return left
	})
	p.requireSpoolFree(id)
}

// awaitDead waits for so many dead letters, and gives their reasons.
func (p *pool) awaitDead(n int) []string {
	p.t.Helper()
	last := "0"
	var reasons []string
	for deadline := time.Now().Add(20 * time.Second); len(reasons) < n; {
		require.True(p.t, time.Now().Before(deadline), "%d dead letters: %q", n, reasons)
		answer, err := p.client.XRead(p.t.Context(), &redis.XReadArgs{Streams: []string{deadKey, last}, Block: time.Second}).Result()
		if err != nil {
			continue
		}
		for _, m := range answer[0].Messages {
			reason, _ := m.Values["reason"].(string)
			reasons, last = append(reasons, reason), m.ID
		}
	}
	return reasons
}
