package recordertest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

// QueueUnderTest is what the contract is about.
type QueueUnderTest interface {
	recorder.Queue
	recorder.Controller
}

// QueueFixture is one implementation, empty for every part of the contract.
type QueueFixture struct {
	// Open gives worker's view of the same queue. Each call is another life of
	// that worker. It ends with the test.
	Open func(worker string) QueueUnderTest
	// LeaseTTL is how the queues were configured; MaxAttempts likewise.
	LeaseTTL    time.Duration
	MaxAttempts int
	// Add adds an entry to the jobs stream by hand and gives its id.
	Add func(fields map[string]string) string
	// Dead gives the reasons of the dead letters.
	Dead func() []string
}

// patience is how long a contract waits for what must come.
const patience = 20 * time.Second

// QueueContract is what every recorder.Queue and recorder.Controller does.
func QueueContract(t *testing.T, open func(t *testing.T) QueueFixture) {
	parts := []struct {
		name string
		test func(t *testing.T, f QueueFixture)
	}{
		{"life of a job", queueLife},
		{"raw entry", queueRaw},
		{"an id is taken once", queueConflicts},
		{"stop before a claim", queueStopQueued},
		{"commands survive a takeover", queueCommands},
		{"takeover and fence", queueTakeover},
		{"release and too many tries", queueRelease},
		{"release without a cause", queueReleaseFree},
		{"adopt", queueAdopt},
		{"amend", queueAmend},
		{"illegal reports", queueIllegal},
		{"bad entries", queuePoison},
		{"list", queueList},
		{"watch", queueWatch},
		{"claim is called off", queueCancelled},
	}
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			p.test(t, open(t))
		})
	}
}

// WebJob is a small valid job.
func WebJob(id string) recorder.Job {
	return recorder.Job{
		ID: id, Source: recorder.Source{URL: "https://example.com/page"},
		Files: []recorder.FileOutput{{Filepath: "talks/{id}"}},
	}
}

func queueCtx(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	t.Cleanup(cancel)
	return ctx
}

func claim(t *testing.T, q recorder.Queue) recorder.Lease {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l, err := q.Claim(ctx)
	require.NoError(t, err)
	t.Cleanup(l.Abandon)
	return l
}

// noClaim checks that nothing comes within d.
func noClaim(t *testing.T, q recorder.Queue, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	l, err := q.Claim(ctx)
	if err == nil {
		t.Fatalf("claimed %s", l.Job().ID)
	}
}

func with(rec recorder.Recording, s recorder.Status) recorder.Recording {
	rec.Status, rec.UpdatedAt = s, rec.UpdatedAt+1
	return rec
}

func one(t *testing.T, q QueueUnderTest, id string) recorder.Recording {
	t.Helper()
	found, err := q.List(queueCtx(t), recorder.Filter{IDs: []string{id}})
	require.NoError(t, err)
	require.Len(t, found, 1)
	return found[0]
}

func requireEnd(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatal(what + " did not happen")
	}
}

func requireCommand(t *testing.T, l recorder.Lease) recorder.Command {
	t.Helper()
	select {
	case c, ok := <-l.Commands():
		require.True(t, ok, "the commands were closed")
		return c
	case <-time.After(patience):
		t.Fatal("no command came")
		return recorder.Command{}
	}
}

func queueLife(t *testing.T, f QueueFixture) {
	ctx, q := queueCtx(t), f.Open("w1")
	started, err := q.Start(ctx, WebJob("life"))
	require.NoError(t, err)
	assert.Equal(t, recorder.StatusQueued, started.Status)
	assert.Equal(t, "talks/life.mp4", started.Files[0].Filename)
	assert.Equal(t, recorder.StatusQueued, one(t, q, "life").Status)

	l := claim(t, q)
	assert.Equal(t, "life", l.Job().ID)
	assert.Equal(t, "talks/life.mp4", l.Job().Files[0].Filepath)
	rec := l.Recording()
	assert.Equal(t, recorder.StatusQueued, rec.Status)
	assert.Equal(t, "w1", rec.Worker)
	assert.Equal(t, 1, rec.Attempt)
	assert.Equal(t, started.CreatedAt, rec.CreatedAt)
	assert.Equal(t, recorder.StatusStarting, one(t, q, "life").Status)

	for _, s := range []recorder.Status{recorder.StatusStarting, recorder.StatusActive, recorder.StatusEnding} {
		rec = with(rec, s)
		require.NoError(t, l.Report(ctx, rec))
		assert.Equal(t, s, one(t, q, "life").Status)
	}
	rec = with(rec, recorder.StatusComplete)
	require.NoError(t, l.Finish(ctx, rec))
	assert.Equal(t, recorder.StatusComplete, one(t, q, "life").Status)
	require.ErrorIs(t, l.Finish(ctx, rec), recorder.ErrLeaseLost)
	require.ErrorIs(t, l.Report(ctx, rec), recorder.ErrLeaseLost)
	_, open := <-l.Commands()
	assert.False(t, open)
	select {
	case <-l.Lost():
		t.Error("a finished lease counts as lost")
	default:
	}
	noClaim(t, q, 2*f.LeaseTTL)
}

func queueRaw(t *testing.T, f QueueFixture) {
	ctx, q := queueCtx(t), f.Open("w1")
	entry := f.Add(map[string]string{"job": `{"url":"https://example.com","file_outputs":[{"filepath":"{id}"}]}`})
	id := "EG_" + entry
	assert.Equal(t, recorder.StatusQueued, one(t, q, id).Status)
	l := claim(t, q)
	assert.Equal(t, id, l.Job().ID)
	assert.Equal(t, id+".mp4", l.Job().Files[0].Filepath)
	assert.Equal(t, id+".mp4", l.Recording().Files[0].Filename)
	require.NoError(t, l.Finish(ctx, with(l.Recording(), recorder.StatusFailed)))

	f.Add(map[string]string{"id": "by-field", "job": `{"url":"https://example.com","file_outputs":[{}]}`})
	assert.Equal(t, "by-field", claim(t, q).Job().ID)
	f.Add(map[string]string{"job": `{"id":"by-job","url":"https://example.com","file_outputs":[{}]}`})
	assert.Equal(t, "by-job", claim(t, q).Job().ID)
}

func queueConflicts(t *testing.T, f QueueFixture) {
	ctx, q := queueCtx(t), f.Open("w1")
	require.NoError(t, q.Enqueue(ctx, WebJob("same")))
	require.ErrorIs(t, q.Enqueue(ctx, WebJob("same")), recorder.ErrConflict)
	var faults recorder.Faults
	require.ErrorAs(t, q.Enqueue(ctx, recorder.Job{}), &faults)
	l := claim(t, q)
	f.Add(map[string]string{"id": "same", "job": `{"url":"https://example.com","file_outputs":[{}]}`})
	noClaim(t, q, f.LeaseTTL)
	require.Len(t, f.Dead(), 1)
	assert.Contains(t, f.Dead()[0], "duplicate id")
	require.NoError(t, l.Finish(ctx, with(l.Recording(), recorder.StatusComplete)))
	require.ErrorIs(t, q.Enqueue(ctx, WebJob("same")), recorder.ErrConflict)
}

func queueStopQueued(t *testing.T, f QueueFixture) {
	ctx, q := queueCtx(t), f.Open("w1")
	require.NoError(t, q.Enqueue(ctx, WebJob("early")))
	require.NoError(t, q.Stop(ctx, "early", recorder.EndStopped))
	rec := one(t, q, "early")
	assert.Equal(t, recorder.StatusAborted, rec.Status)
	assert.Equal(t, recorder.CodeAborted, rec.Error.Code)
	assert.Equal(t, "Stop called before pipeline could start", rec.Error.Message)
	require.ErrorIs(t, q.Stop(ctx, "early", ""), recorder.ErrConflict)
	require.ErrorIs(t, q.Stop(ctx, "nobody", ""), recorder.ErrNotFound)
	require.ErrorIs(t, q.Update(ctx, "early", recorder.Update{RemoveStreamURLs: []string{"st_12345678"}}), recorder.ErrConflict)

	raw := "EG_" + f.Add(map[string]string{"job": `{"url":"https://example.com","file_outputs":[{}]}`})
	require.NoError(t, q.Stop(ctx, raw, ""))
	assert.Equal(t, recorder.StatusAborted, one(t, q, raw).Status)
	f.Add(map[string]string{"id": "named", "job": `{"url":"https://example.com","file_outputs":[{}]}`})
	require.NoError(t, q.Stop(ctx, "named", ""))
	noClaim(t, q, f.LeaseTTL)
}

func queueCommands(t *testing.T, f QueueFixture) {
	ctx, q := queueCtx(t), f.Open("w1")
	require.NoError(t, q.Enqueue(ctx, WebJob("told")))
	update := recorder.Update{AddStreamURLs: []string{"rtmp://example.com/app/secret-key-1"}}
	require.NoError(t, q.Update(ctx, "told", update))
	l := claim(t, q)
	assert.Equal(t, recorder.Command{Kind: recorder.CommandUpdate, Update: update}, requireCommand(t, l))
	require.NoError(t, q.Stop(ctx, "told", recorder.EndStopped))
	stop := recorder.Command{Kind: recorder.CommandStop, Reason: recorder.EndStopped}
	assert.Equal(t, stop, requireCommand(t, l))
	l.Abandon()

	next := claim(t, f.Open("w2"))
	assert.Equal(t, recorder.CommandUpdate, requireCommand(t, next).Kind)
	assert.Equal(t, stop, requireCommand(t, next))
	var faults recorder.Faults
	require.ErrorAs(t, q.Update(ctx, "told", recorder.Update{AddStreamURLs: []string{"file:///etc/passwd"}}), &faults)
}

func queueTakeover(t *testing.T, f QueueFixture) {
	ctx, q1, q2 := queueCtx(t), f.Open("w1"), f.Open("w2")
	require.NoError(t, q1.Enqueue(ctx, WebJob("moves")))
	old := claim(t, q1)
	require.NoError(t, old.Report(ctx, with(old.Recording(), recorder.StatusStarting)))
	rec := with(old.Recording(), recorder.StatusActive)
	rec.StartedAt = 42
	require.NoError(t, old.Report(ctx, rec))
	noClaim(t, q2, 3*f.LeaseTTL) // it is renewed
	old.Abandon()
	at := time.Now()
	l := claim(t, q2)
	assert.Less(t, time.Since(at), 4*f.LeaseTTL, "the takeover took too long")
	assert.Equal(t, "moves", l.Job().ID)
	assert.Equal(t, 2, l.Recording().Attempt)
	assert.Equal(t, "w2", l.Recording().Worker)
	assert.Equal(t, recorder.StatusActive, l.Recording().Status)
	assert.Equal(t, int64(42), l.Recording().StartedAt)
	require.ErrorIs(t, old.Report(ctx, rec), recorder.ErrLeaseLost)
	require.ErrorIs(t, old.Finish(ctx, with(rec, recorder.StatusComplete)), recorder.ErrLeaseLost)
	assert.Equal(t, "w2", one(t, q1, "moves").Worker)
	require.NoError(t, l.Finish(ctx, with(l.Recording(), recorder.StatusFailed)))
}

func queueRelease(t *testing.T, f QueueFixture) {
	ctx, q := queueCtx(t), f.Open("w1")
	job := WebJob("again")
	job.Token = "token-that-is-secret"
	require.NoError(t, q.Enqueue(ctx, job))
	for try := 1; try <= f.MaxAttempts; try++ {
		l := claim(t, q)
		assert.Equal(t, try, l.Recording().Attempt)
		cause := recorder.Errorf(recorder.CodeSessionDied, "chrome died of token-that-is-secret")
		require.NoError(t, l.Release(ctx, cause))
		require.ErrorIs(t, l.Finish(ctx, with(l.Recording(), recorder.StatusComplete)), recorder.ErrLeaseLost)
	}
	rec := one(t, q, "again")
	assert.Equal(t, recorder.StatusFailed, rec.Status)
	assert.Equal(t, recorder.EndTooManyTries, rec.EndReason)
	assert.Equal(t, recorder.CodeSessionDied, rec.Error.Code)
	assert.NotContains(t, rec.Error.Message, "token-that-is-secret")
	require.Len(t, f.Dead(), 1)
	assert.NotContains(t, f.Dead()[0], "token-that-is-secret")
	noClaim(t, q, f.LeaseTTL)
}

func queueReleaseFree(t *testing.T, f QueueFixture) {
	ctx, q := queueCtx(t), f.Open("w1")
	require.NoError(t, q.Enqueue(ctx, WebJob("drained")))
	require.NoError(t, q.Enqueue(ctx, WebJob("second")))
	for range f.MaxAttempts + 2 {
		l := claim(t, q)
		assert.Equal(t, "drained", l.Job().ID, "what was given back comes before new work")
		require.NoError(t, l.Release(ctx, nil))
		assert.Equal(t, recorder.StatusQueued, one(t, q, "drained").Status)
	}
	require.NoError(t, q.Stop(ctx, "drained", ""))
	assert.Equal(t, "second", claim(t, q).Job().ID)
}

func queueAdopt(t *testing.T, f QueueFixture) {
	ctx, q := queueCtx(t), f.Open("w1")
	require.NoError(t, q.Enqueue(ctx, WebJob("kept")))
	old := claim(t, q)
	require.NoError(t, old.Report(ctx, with(old.Recording(), recorder.StatusStarting)))
	require.NoError(t, old.Report(ctx, with(old.Recording(), recorder.StatusActive)))
	require.NoError(t, old.Report(ctx, with(old.Recording(), recorder.StatusEnding)))
	_, err := f.Open("w2").Adopt(ctx, "kept")
	require.ErrorIs(t, err, recorder.ErrConflict)
	_, err = q.Adopt(ctx, "unknown")
	require.ErrorIs(t, err, recorder.ErrNotFound)
	old.Abandon()

	noClaim(t, f.Open("w2"), 3*f.LeaseTTL) // its media is in w1's spool
	l, err := f.Open("w1").Adopt(ctx, "kept")
	require.NoError(t, err)
	t.Cleanup(l.Abandon)
	assert.Equal(t, recorder.StatusEnding, l.Recording().Status)
	assert.Equal(t, 1, l.Recording().Attempt)
	require.ErrorIs(t, old.Finish(ctx, with(old.Recording(), recorder.StatusComplete)), recorder.ErrLeaseLost)
	require.NoError(t, l.Report(ctx, with(l.Recording(), recorder.StatusEnding)))
	require.NoError(t, l.Finish(ctx, with(l.Recording(), recorder.StatusComplete)))
	_, err = q.Adopt(ctx, "kept")
	require.ErrorIs(t, err, recorder.ErrConflict)
}

func queueAmend(t *testing.T, f QueueFixture) {
	ctx, q := queueCtx(t), f.Open("w1")
	require.NoError(t, q.Enqueue(ctx, WebJob("late")))
	l := claim(t, q)
	file := recorder.FileResult{Filename: "talks/late.mp4", State: recorder.FileDelivered, Size: 7}
	require.ErrorIs(t, q.Amend(ctx, "late", []recorder.FileResult{file}), recorder.ErrConflict)
	require.ErrorIs(t, q.Amend(ctx, "unknown", nil), recorder.ErrNotFound)
	require.NoError(t, l.Finish(ctx, with(l.Recording(), recorder.StatusFailed)))
	more := recorder.FileResult{Filename: "talks/late.part2.mp4", State: recorder.FileDelivered}
	require.NoError(t, q.Amend(ctx, "late", []recorder.FileResult{file, more}))
	assert.Equal(t, []recorder.FileResult{file, more}, one(t, q, "late").Files)
	assert.Equal(t, recorder.StatusFailed, one(t, q, "late").Status)
}

func queueIllegal(t *testing.T, f QueueFixture) {
	ctx, q := queueCtx(t), f.Open("w1")
	require.NoError(t, q.Enqueue(ctx, WebJob("strict")))
	l := claim(t, q)
	rec := l.Recording()
	require.NoError(t, l.Report(ctx, with(rec, recorder.StatusActive)))
	for _, s := range []recorder.Status{recorder.StatusQueued, recorder.StatusComplete, "nonsense"} {
		require.ErrorIs(t, l.Report(ctx, with(rec, s)), recorder.ErrConflict, s)
	}
	require.Error(t, l.Finish(ctx, with(rec, recorder.StatusActive)))
	assert.Equal(t, recorder.StatusActive, one(t, q, "strict").Status)
}

func queuePoison(t *testing.T, f QueueFixture) {
	ctx, q := queueCtx(t), f.Open("w1")
	big := make([]byte, 1<<20)
	for i := range big {
		big[i] = byte(i * 7)
	}
	poison := []map[string]string{
		{"nothing": "here"},
		{"job": "{"},
		{"job": "null"},
		{"job": `[1,2]`},
		{"job": `{"url":"https://example.com","file_outputs":[{}],"sekret":"hunter2hunter2"}`},
		{"job": `{"url":"https://example.com","token":"hunter2hunter2","stream_outputs":[{"urls":["rtmp://h/app/hunter2hunter2","bad"]}]}`},
		{"job": string(big)},
		{"job": string(big[:300])},
		{"job": `{"url":"javascript:alert(1)"}`},
		{"id": "../../etc", "job": `{"url":"https://example.com","file_outputs":[{}]}`},
		{"id": "a", "job": `{"id":"b","url":"https://example.com","file_outputs":[{}]}`},
	}
	var ids []string
	for _, p := range poison {
		ids = append(ids, "EG_"+f.Add(p))
	}
	require.NoError(t, q.Enqueue(ctx, WebJob("good")))
	assert.Equal(t, "good", claim(t, q).Job().ID)
	dead := f.Dead()
	require.Len(t, dead, len(poison))
	for i, d := range dead {
		assert.NotContains(t, d, "hunter2", i)
		assert.Less(t, len(d), 16<<10, i)
	}
	// Whoever added such an entry hears of its end.
	rec := one(t, q, ids[1])
	assert.Equal(t, recorder.StatusFailed, rec.Status)
	assert.Equal(t, recorder.EndInvalid, rec.EndReason)
	assert.Equal(t, recorder.CodeInvalid, rec.Error.Code)
}

func queueList(t *testing.T, f QueueFixture) {
	ctx, q := queueCtx(t), f.Open("w1")
	for i := range 5 {
		job := WebJob(fmt.Sprintf("l%d", i))
		if i == 2 {
			job.URL, job.RoomName, job.CustomBaseURL = "", "studio", "https://example.com"
		}
		require.NoError(t, q.Enqueue(ctx, job))
	}
	raw := "EG_" + f.Add(map[string]string{"job": `{"url":"https://example.com","file_outputs":[{}]}`})
	ids := func(fl recorder.Filter) (ids []string) {
		found, err := q.List(ctx, fl)
		require.NoError(t, err)
		for _, r := range found {
			ids = append(ids, r.ID)
		}
		return ids
	}
	all := ids(recorder.Filter{})
	assert.Len(t, all, 6)
	assert.Contains(t, all, raw)
	assert.Less(t, indexOf(all, "l4"), indexOf(all, "l0"), "newest first")
	assert.Equal(t, []string{"l2"}, ids(recorder.Filter{RoomName: "studio"}))
	l := claim(t, q)
	require.NoError(t, l.Finish(ctx, with(l.Recording(), recorder.StatusComplete)))
	assert.NotContains(t, ids(recorder.Filter{Active: true}), l.Job().ID)
	assert.Len(t, ids(recorder.Filter{Active: true}), 5)
	assert.Len(t, ids(recorder.Filter{}), 6)
	assert.Len(t, ids(recorder.Filter{Limit: 2}), 2)
	assert.ElementsMatch(t, []string{"l1", raw}, ids(recorder.Filter{IDs: []string{"l1", raw, "unknown"}}))
}

func indexOf(list []string, s string) int {
	for i, v := range list {
		if v == s {
			return i
		}
	}
	return -1
}

func queueWatch(t *testing.T, f QueueFixture) {
	ctx, q := queueCtx(t), f.Open("w1")
	require.NoError(t, q.Enqueue(ctx, WebJob("before")))
	var events []recorder.Event
	done := make(chan error, 1)
	watching := make(chan struct{})
	go func() {
		done <- q.Watch(ctx, "0-0", func(e recorder.Event) bool {
			events = append(events, e)
			if len(events) == 1 {
				close(watching)
			}
			return e.Type != recorder.EventEnded
		})
	}()
	requireEnd(t, watching, "the first event")
	l := claim(t, q)
	rec := with(l.Recording(), recorder.StatusActive)
	require.NoError(t, l.Report(ctx, rec))
	for i := range 20 { // figures are no events
		rec.Stats.Frames, rec.UpdatedAt = int64(i+1), rec.UpdatedAt+1
		require.NoError(t, l.Report(ctx, rec))
	}
	assert.Equal(t, int64(20), one(t, q, "before").Stats.Frames)
	require.NoError(t, l.Report(ctx, with(rec, recorder.StatusEnding)))
	require.NoError(t, l.Finish(ctx, with(rec, recorder.StatusComplete)))
	require.NoError(t, <-done)
	var types []recorder.EventType
	last := ""
	for _, e := range events {
		types = append(types, e.Type)
		assert.NotEqual(t, last, e.ID)
		assert.Equal(t, "before", e.Recording.ID)
		assert.NotZero(t, e.At)
		last = e.ID
	}
	assert.Equal(t, []recorder.EventType{
		recorder.EventQueued, recorder.EventUpdated, recorder.EventStarted, recorder.EventUpdated, recorder.EventEnded,
	}, types)

	stop, cancel := context.WithCancel(ctx)
	go func() { done <- q.Watch(stop, "", func(recorder.Event) bool { return true }) }()
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
}

func queueCancelled(t *testing.T, f QueueFixture) {
	q := f.Open("w1")
	for i := range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			l, err := q.Claim(ctx)
			if err == nil {
				err = errors.Join(errors.New("claimed "+l.Job().ID), l.Release(ctx, nil))
			}
			done <- err
		}()
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
		require.NoError(t, q.Enqueue(t.Context(), WebJob(fmt.Sprintf("c%d", i))))
	}
	for i := range 5 {
		l := claim(t, q)
		assert.LessOrEqual(t, l.Recording().Attempt, 2, i)
		require.NoError(t, l.Finish(t.Context(), with(l.Recording(), recorder.StatusComplete)))
	}
}
