package recordertest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

// QueueUnderTest is what the contract is about.
type QueueUnderTest interface {
	recorder.Queue
	recorder.Placer
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
	// Command adds an entry to a job's command stream by hand.
	Command func(id string, fields map[string]string)
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
		{"names are announced once", queueNames},
		{"an id is taken once", queueConflicts},
		{"stop before a claim", queueStopQueued},
		{"commands survive a takeover", queueCommands},
		{"takeover and fence", queueTakeover},
		{"release and too many tries", queueRelease},
		{"release without a cause", queueReleaseFree},
		{"release that does not count", queueReleaseUncounted},
		{"adopt", queueAdopt},
		{"amend", queueAmend},
		{"illegal reports", queueIllegal},
		{"bad entries", queuePoison},
		{"list", queueList},
		{"watch", queueWatch},
		{"claim is called off", queueCancelled},
		{"place", queuePlace},
		{"place and conflicts", queuePlaceConflicts},
		{"duplicates", queueDuplicates},
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
	rec := l.Recording()
	assert.Equal(t, "talks/life.mp4", rec.Files[0].Filename)
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
	assert.Equal(t, id+".mp4", l.Recording().Files[0].Filename)
	require.NoError(t, l.Finish(ctx, with(l.Recording(), recorder.StatusFailed)))

	f.Add(map[string]string{"id": "by-field", "job": `{"url":"https://example.com","file_outputs":[{}]}`})
	assert.Equal(t, "by-field", claim(t, q).Job().ID)
	f.Add(map[string]string{"job": `{"id":"by-job","url":"https://example.com","file_outputs":[{}]}`})
	assert.Equal(t, "by-job", claim(t, q).Job().ID)
}

// Whatever a room is called, the name that Start announces is the name in every
// lease, and the entry is no dead letter.
func queueNames(t *testing.T, f QueueFixture) {
	ctx, q := queueCtx(t), f.Open("w1")
	for i, room := range []string{"{team}", "{utc}-standup", "{room_name}{id}", strings.Repeat("long", 60), strings.Repeat("ä", 128)} {
		job := recorder.Job{
			ID:     fmt.Sprintf("n%d", i),
			Source: recorder.Source{RoomName: room, CustomBaseURL: "https://example.com"},
			Files:  []recorder.FileOutput{{Filepath: "{room_name}.mp4"}, {Filepath: "{utc}/{time}.webm"}, {}},
		}
		started, err := q.Start(ctx, job)
		require.NoError(t, err, room)
		announced := names(started)
		assert.Equal(t, announced, names(one(t, q, job.ID)))
		for range 2 { // the second lease is that of a job given back
			l := claim(t, q)
			require.Equal(t, job.ID, l.Job().ID)
			assert.Equal(t, announced, names(l.Recording()), room)
			again := recorder.NewRecording(l.Job(), time.Unix(0, l.Recording().CreatedAt))
			assert.Equal(t, announced, names(again), "what a worker works out of its lease")
			require.NoError(t, l.Release(ctx, nil, false))
		}
		require.NoError(t, q.Stop(ctx, job.ID, ""))
		assert.Equal(t, announced, names(one(t, q, job.ID)))
	}
	assert.Empty(t, f.Dead())
}

func names(rec recorder.Recording) (names []string) {
	for _, f := range rec.Files {
		names = append(names, f.Filename)
	}
	return names
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
	require.ErrorIs(t, q.Stop(ctx, "early", recorder.EndDrained), &recorder.Error{Code: recorder.CodeInvalid})
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
	f.Command("told", map[string]string{"command": "stop", "reason": string(recorder.EndDrained)})
	assert.Equal(t, stop, requireCommand(t, l), "no client can say that a worker shut down")
	l.Abandon()

	next := claim(t, f.Open("w2"))
	assert.Equal(t, recorder.CommandUpdate, requireCommand(t, next).Kind)
	assert.Equal(t, stop, requireCommand(t, next))
	var faults recorder.Faults
	require.ErrorAs(t, q.Update(ctx, "told", recorder.Update{AddStreamURLs: []string{"file:///etc/passwd"}}), &faults)
}
