package recordertest

import (
	"context"
	"slices"
	"sync"

	"tapedeck/recorder"
)

// FakeRoom is a recorder.Room whose people a test brings in and sends away. It
// is safe for concurrent use.
type FakeRoom struct {
	mu      sync.Mutex
	state   recorder.RoomState
	err     error
	layouts []string
	told    string
	left    int
	hangs   bool
}

// Hang makes every call wait for its ctx from now on.
func (r *FakeRoom) Hang() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hangs = true
}

func (r *FakeRoom) wait(ctx context.Context) error {
	r.mu.Lock()
	hangs := r.hangs
	r.mu.Unlock()
	if !hangs {
		return nil
	}
	<-ctx.Done()
	return recorder.Errorf(recorder.CodeUnavailable, "the server hangs: %w", context.Cause(ctx))
}

// Set says what State answers from now on.
func (r *FakeRoom) Set(state recorder.RoomState, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state, r.err = state, err
}

// State implements recorder.Room.
func (r *FakeRoom) State(ctx context.Context) (recorder.RoomState, error) {
	if err := r.wait(ctx); err != nil {
		return recorder.RoomState{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state, r.err
}

// SetLayout implements recorder.Room.
func (r *FakeRoom) SetLayout(ctx context.Context, layout string) error {
	if err := r.wait(ctx); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	r.layouts, r.told = append(r.layouts, layout), layout
	return nil
}

// Tell changes the layout behind the recorder's back.
func (r *FakeRoom) Tell(layout string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = layout
}

// Layout implements recorder.Room.
func (r *FakeRoom) Layout(ctx context.Context) (string, error) {
	if err := r.wait(ctx); err != nil {
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.told, r.err
}

// Leave implements recorder.Room.
func (r *FakeRoom) Leave(ctx context.Context) error {
	if err := r.wait(ctx); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left++
	return r.err
}

// Left tells how often Leave was called.
func (r *FakeRoom) Left() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.left
}

// Layouts lists what SetLayout was told.
func (r *FakeRoom) Layouts() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.layouts)
}
