package recorder_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"go.uber.org/zap"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// slowSaves is a spool whose entries take their time to be saved.
type slowSaves struct {
	*recordertest.FakeSpool
	onSave func(rec recorder.Recording)
}

func (s slowSaves) Create(task recorder.Task) (recorder.SpoolEntry, error) {
	e, err := s.FakeSpool.Create(task)
	if err != nil {
		return nil, err
	}
	return savedSlowly{e, s}, nil
}

type savedSlowly struct {
	recorder.SpoolEntry
	spool slowSaves
}

func (e savedSlowly) Save(rec recorder.Recording) error {
	e.spool.onSave(rec)
	return e.SpoolEntry.Save(rec)
}

// A rescue ends just while a part is put among the earlier ones. For the race detector:
// without synctest, whose clock would order them.
func TestRescueEndsWhileAPartIsSetAside(t *testing.T) {
	job, rec := lostJob(segmentsJob)
	l := recordertest.NewFakeLease(job, rec)
	aside := make(chan struct{})
	once := sync.OnceFunc(func() { close(aside) })
	spool := slowSaves{&recordertest.FakeSpool{Root: t.TempDir()}, func(rec recorder.Recording) {
		if rec.Part == 2 && rec.EndedAt != 0 && len(rec.Incidents) == 2 {
			once()
			time.Sleep(100 * time.Millisecond) // as an fsync: to wait for the rescue would order them
		}
	}}
	spool.OnRescue = func(_ context.Context, rec recorder.Recording, _ map[string]string) (recorder.Recording, []string) {
		<-aside
		rec.Segments[0].State = recorder.FileDelivered
		return rec, nil
	}
	y := &yard{t: t, runner: &recordertest.FakeRunner{}, queue: &recordertest.FakeQueue{}}
	y.acts(dies(0, recorder.EndDisplayDied))
	worker := &recorder.Worker{ID: "w1", Queue: y.queue, Runner: y.runner, Spool: spool, Slots: 1, Now: time.Now, Log: zap.NewNop()}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx, nil) }()
	y.queue.Put(l)
	<-aside
	l.Sent <- stopCommand()
	<-l.Ended
	cancel()
	assert.NoError(t, <-ended)
	assert.Equal(t, recorder.FileDelivered, l.End().Finished[0].Earlier[0].Segments[0].State)
}
