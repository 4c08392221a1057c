package queue_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/queue"
	"tapedeck/recorder/recordertest"
)

const notesKey = "{tapedeck}:notes:"

func journal(t *testing.T, l recorder.Lease) recorder.Journal {
	t.Helper()
	j, ok := l.(recorder.Journal)
	require.True(t, ok, "a lease is a journal")
	return j
}

// noted waits until Redis has these notes of a job, and no others.
func noted(t *testing.T, q *queue.Queue, id string, want map[string]string) {
	t.Helper()
	var got map[string]string
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		var err error
		if got, err = q.Notes(t.Context(), id); err == nil && maps.Equal(want, got) {
			return
		}
	}
	require.Equal(t, want, got) // which is slow to tell a difference between thousands
}

func TestNotesOutliveTheirLease(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	q1, q2 := open(t, r.URL(), testOptions(t, "w1")), open(t, r.URL(), testOptions(t, "w2"))
	require.NoError(t, q1.Enqueue(t.Context(), recordertest.WebJob("tape")))
	l := claim(t, q1)
	j := journal(t, l)
	j.Note("upload", "one")
	j.Note("gone", "soon")
	noted(t, q1, "tape", map[string]string{"upload": "one", "gone": "soon"})
	j.Note("gone", "")
	j.Note("upload", "two")
	j.Note("part", strings.Repeat("x", 4096))
	noted(t, q1, "tape", map[string]string{"upload": "two", "part": strings.Repeat("x", 4096)})
	j.Note("part", "1")
	require.NoError(t, l.Report(t.Context(), as(l.Recording(), recorder.StatusActive)))
	noted(t, q1, "tape", map[string]string{"upload": "two", "part": "1"})
	l.Abandon()
	j.Note("part", "of a lease that ended")

	l2 := claim(t, q2)
	got, err := journal(t, l2).Notes(t.Context())
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"upload": "two", "part": "1"}, got)
	journal(t, l2).Note("upload", "")
	require.NoError(t, l2.Finish(t.Context(), as(l2.Recording(), recorder.StatusComplete)))
	got, err = j.Notes(t.Context())
	require.NoError(t, err, "a worker that comes back may ask")
	assert.Equal(t, map[string]string{"part": "1"}, got, "the last note went before the end")
	c := client(t, r.URL())
	state, err := c.TTL(t.Context(), "{tapedeck}:job:tape").Result()
	require.NoError(t, err)
	notes, err := c.TTL(t.Context(), notesKey+"tape").Result()
	require.NoError(t, err)
	assert.Equal(t, state, notes, "notes go with the state")
	assert.Positive(t, notes)
}

// What an old owner noted, before it knows that it is one, must not reach the job.
func TestNotesOfAnOldOwner(t *testing.T) {
	t.Parallel()
	g, awake, old := sleeper(t)
	journal(t, old).Note("upload", "old")
	noted(t, awake, "fenced", map[string]string{"upload": "old"})
	g.shut()
	journal(t, old).Note("upload", "older")
	l := claim(t, awake)
	journal(t, l).Note("upload", "new")
	noted(t, awake, "fenced", map[string]string{"upload": "new"})
	g.open()
	<-old.Lost()
	noted(t, awake, "fenced", map[string]string{"upload": "new"})
}

func TestNotesWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	for _, how := range []struct {
		name       string
		options    []recordertest.RedisOption
		away, back func(*recordertest.Redis)
	}{
		{"restarts", []recordertest.RedisOption{recordertest.WithAppendOnly()}, (*recordertest.Redis).Kill, (*recordertest.Redis).Start},
		{"loses its memory", nil, (*recordertest.Redis).Kill, (*recordertest.Redis).Start},
		{"hangs", nil, (*recordertest.Redis).Pause, (*recordertest.Redis).Resume},
	} {
		t.Run(how.name, func(t *testing.T) {
			t.Parallel()
			r := recordertest.StartRedis(t, how.options...)
			q := open(t, r.URL(), testOptions(t, "w1"))
			require.NoError(t, q.Enqueue(t.Context(), recordertest.WebJob("tape")))
			l := claim(t, q)
			j := journal(t, l)
			j.Note("before", "1")
			noted(t, q, "tape", map[string]string{"before": "1"})
			how.away(r)
			at := time.Now()
			want := map[string]string{"before": "1"}
			for i := range 2000 {
				name := fmt.Sprintf("part %d", i%1000)
				want[name] = fmt.Sprintf("%d", i)
				j.Note(name, want[name])
			}
			j.Note("part 7", "")
			delete(want, "part 7")
			assert.Less(t, time.Since(at), 5*time.Second, "a note waits for nothing: 2,001 would wait far longer")
			how.back(r)
			noted(t, q, "tape", want)
			require.False(t, lost(l))
			require.NoError(t, l.Finish(t.Context(), as(l.Recording(), recorder.StatusComplete)))
		})
	}
}

// A replica that missed the last writes knows the lease all the same. What is
// missing comes with the next note, or the next heartbeat.
func TestNotesThatAReplicaMissed(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	q, c := open(t, r.URL(), testOptions(t, "w1")), client(t, r.URL())
	require.NoError(t, q.Enqueue(t.Context(), recordertest.WebJob("tape")))
	j := journal(t, claim(t, q))
	fallBack := func() {
		_, err := c.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
			p.HDel(t.Context(), notesKey+"tape", "b")
			p.HSet(t.Context(), "{tapedeck}:job:tape", "noted", "1")
			return nil
		})
		require.NoError(t, err)
	}
	j.Note("a", "1")
	noted(t, q, "tape", map[string]string{"a": "1"})
	j.Note("b", "2")
	noted(t, q, "tape", map[string]string{"a": "1", "b": "2"})
	fallBack()
	j.Note("c", "3")
	noted(t, q, "tape", map[string]string{"a": "1", "b": "2", "c": "3"})
	fallBack()
	noted(t, q, "tape", map[string]string{"a": "1", "b": "2", "c": "3"})
}

// A recording of a day notes 10,000 parts; more memory than that no lease takes.
func TestNotesAreBounded(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	q := open(t, r.URL(), testOptions(t, "w1"))
	require.NoError(t, q.Enqueue(t.Context(), recordertest.WebJob("day")))
	l := claim(t, q)
	j := journal(t, l)
	r.Pause()
	want := map[string]string{}
	for i := range 10000 {
		name := fmt.Sprintf("file/0/part/%d", i)
		want[name] = strings.Repeat("e", 150)
		j.Note(name, want[name])
	}
	j.Note("long", strings.Repeat("x", 1<<20))
	for i := range 40 << 20 / (8 << 10) {
		j.Note(fmt.Sprintf("junk %d", i), strings.Repeat("x", 7<<10))
	}
	for i := range 40 << 20 / (8 << 10) {
		j.Note(fmt.Sprintf("junk %d", i), "")
	}
	j.Note("last", "there is room again")
	want["last"] = "there is room again"
	r.Resume()
	noted(t, q, "day", want)
	require.NoError(t, l.Finish(t.Context(), as(l.Recording(), recorder.StatusComplete)))
}
