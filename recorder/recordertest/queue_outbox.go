package recordertest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

// OutboxFixture is one recorder.Outbox, empty for every part of the contract. Its
// events go to the receiver OutboxReceiver and to the webhooks of jobs.
type OutboxFixture struct {
	// Open gives another process's view of it, which sees every event from now on.
	Open func() recorder.Outbox
	// Start makes a job's recording_queued, Stop its recording_ended event.
	Start func(job recorder.Job)
	Stop  func(id string)
	// Hold is how long an event is left to whoever got it.
	Hold time.Duration
}

// OutboxReceiver is the name of the fixture's receiver.
const OutboxReceiver = "door"

// OutboxContract is what every recorder.Outbox does.
func OutboxContract(t *testing.T, open func(t *testing.T) OutboxFixture) {
	parts := []struct {
		name string
		test func(t *testing.T, f OutboxFixture)
	}{
		{"receivers", outboxReceivers},
		{"order", outboxOrder},
		{"a claim runs out", outboxHold},
		{"late word", outboxLate},
		{"next is called off", outboxCancelled},
	}
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			p.test(t, open(t))
		})
	}
}

func next(t *testing.T, o recorder.Outbox) recorder.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	d, err := o.Next(ctx)
	require.NoError(t, err)
	return d
}

// noNext checks that nothing is due within d.
func noNext(t *testing.T, o recorder.Outbox, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	got, err := o.Next(ctx)
	if err == nil {
		t.Fatalf("%s of %s came", got.Event().Type, got.Event().Recording.ID)
	}
}

func outboxReceivers(t *testing.T, f OutboxFixture) {
	o := f.Open()
	job := WebJob("told")
	job.Origin = []byte(`{"kind":"web"}`)
	job.Webhooks = []recorder.Webhook{
		{URL: "https://example.com/hook?key=hook-that-is-secret", Key: "k1"},
		{URL: "https://example.com/other"},
		{URL: "https://example.com/other"}, // named twice is told once
	}
	f.Start(job)
	var got []recorder.Receiver
	id := ""
	for range 3 {
		d := next(t, o)
		e := d.Event()
		assert.Equal(t, recorder.EventQueued, e.Type)
		assert.Equal(t, "told", e.Recording.ID)
		assert.Equal(t, recorder.StatusQueued, e.Recording.Status)
		assert.JSONEq(t, `{"kind":"web"}`, string(e.Recording.Origin))
		assert.NotZero(t, e.At)
		assert.Equal(t, 1, d.Tries())
		assert.WithinDuration(t, time.Now(), d.Since(), patience)
		if id != "" {
			assert.Equal(t, id, e.ID, "it is one event")
		}
		id = e.ID
		got = append(got, d.Receiver())
		require.NoError(t, d.Done(t.Context()))
	}
	assert.ElementsMatch(t, []recorder.Receiver{
		{Name: OutboxReceiver}, {Webhook: job.Webhooks[0]}, {Webhook: job.Webhooks[1]},
	}, got)
	f.Stop("told")
	for range 3 {
		d := next(t, o)
		assert.Equal(t, recorder.EventEnded, d.Event().Type)
		require.NoError(t, d.Done(t.Context()))
	}
	noNext(t, o, f.Hold/4)
}

func outboxOrder(t *testing.T, f OutboxFixture) {
	o, other := f.Open(), f.Open()
	f.Start(WebJob("a"))
	f.Stop("a")
	first := next(t, o)
	assert.Equal(t, recorder.EventQueued, first.Event().Type)
	f.Start(WebJob("b"))
	f.Stop("b")
	at := time.Now()
	require.NoError(t, first.Later(t.Context(), f.Hold))
	// The job's next event waits for it; other jobs do not.
	var ofB []recorder.EventType
	again := next(t, other)
	for ; again.Event().Recording.ID == "b"; again = next(t, other) {
		ofB = append(ofB, again.Event().Type)
		require.NoError(t, again.Done(t.Context()))
	}
	assert.GreaterOrEqual(t, time.Since(at), f.Hold-2*time.Millisecond)
	assert.Equal(t, []recorder.EventType{recorder.EventQueued, recorder.EventEnded}, ofB)
	assert.Equal(t, first.Event().ID, again.Event().ID)
	assert.Equal(t, 2, again.Tries())
	assert.Equal(t, first.Since(), again.Since())
	require.NoError(t, again.Done(t.Context()))
	end := next(t, o)
	assert.Equal(t, "a", end.Event().Recording.ID)
	assert.Equal(t, recorder.EventEnded, end.Event().Type)
	assert.Equal(t, 1, end.Tries())
	require.NoError(t, end.Done(t.Context()))
}

func outboxHold(t *testing.T, f OutboxFixture) {
	o, other := f.Open(), f.Open()
	f.Start(WebJob("a"))
	at := time.Now()
	lost := next(t, o) // and then its process dies
	again := next(t, other)
	assert.GreaterOrEqual(t, time.Since(at), f.Hold-2*time.Millisecond)
	assert.Equal(t, lost.Event().ID, again.Event().ID)
	assert.Equal(t, 2, again.Tries())
	require.NoError(t, again.Done(t.Context()))
	noNext(t, o, 2*f.Hold)
}

// What arrived has arrived, however late that is said; but who lost a claim does
// not put off what another one is about to deliver.
func outboxLate(t *testing.T, f OutboxFixture) {
	o := f.Open()
	f.Start(WebJob("a"))
	f.Stop("a")
	slow := next(t, o)
	again := next(t, o)
	require.Equal(t, slow.Event().ID, again.Event().ID)
	require.NoError(t, slow.Later(t.Context(), time.Hour))
	require.NoError(t, slow.Done(t.Context()))
	require.NoError(t, again.Later(t.Context(), time.Hour), "it is done already")
	require.NoError(t, again.Done(t.Context()))
	end := next(t, o)
	assert.Equal(t, recorder.EventEnded, end.Event().Type, "one event was done, not two")
	require.NoError(t, end.Done(t.Context()))
	noNext(t, o, f.Hold/4)
}

func outboxCancelled(t *testing.T, f OutboxFixture) {
	o := f.Open()
	for i := range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			d, err := o.Next(ctx)
			if err == nil { // before it was called off
				err = errors.Join(context.Canceled, d.Later(context.WithoutCancel(ctx), 0))
			}
			done <- err
		}()
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
		if i == 0 {
			f.Start(WebJob("a"))
		}
		d := next(t, o)
		assert.Equal(t, "a", d.Event().Recording.ID)
		require.NoError(t, d.Later(t.Context(), 0))
	}
}
