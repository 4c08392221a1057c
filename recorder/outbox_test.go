package recorder_test

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

func TestCourierBoundsWhatIsUnderWayAndSeesItThrough(t *testing.T) {
	box := &recordertest.FakeOutbox{Receivers: []string{"all"}}
	for i := range 3 {
		box.Emit(recorder.Event{Recording: recorder.Recording{ID: "EG_" + strconv.Itoa(i)}})
	}
	begun, on := make(chan struct{}, 3), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	courier := recorder.Courier{
		Outbox: box, AtOnce: 2, Linger: time.Millisecond, Away: func(err error) { assert.NoError(t, err) },
		Deliver: func(ctx context.Context, d recorder.Delivery) {
			begun <- struct{}{}
			<-on
			assert.NoError(t, d.Done(ctx))
		},
	}
	var running sync.WaitGroup
	running.Go(func() { courier.Run(ctx) })
	<-begun
	<-begun
	assert.Empty(t, begun)
	on <- struct{}{}
	<-begun
	cancel()
	close(on)
	running.Wait()
	assert.Zero(t, box.Left(), "what was under way arrived")
}

func TestCourierGoesOnForALittle(t *testing.T) {
	box := &recordertest.FakeOutbox{Receivers: []string{"all"}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	told := make(chan struct{})
	courier := recorder.Courier{
		Outbox: box, AtOnce: 1, Linger: 200 * time.Millisecond, Away: func(err error) { assert.NoError(t, err) },
		Deliver: func(ctx context.Context, d recorder.Delivery) {
			assert.NoError(t, d.Done(ctx))
			close(told)
		},
	}
	box.Emit(recorder.Event{Recording: recorder.Recording{ID: "EG_1"}})
	courier.Run(ctx)
	<-told
}
