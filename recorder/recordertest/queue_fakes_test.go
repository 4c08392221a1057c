package recordertest

import (
	"sync"
	"testing"
	"time"

	"tapedeck/recorder"
)

func TestFakeOutboxKeepsTheContract(t *testing.T) {
	t.Parallel()
	OutboxContract(t, func(*testing.T) OutboxFixture {
		var mu sync.Mutex
		jobs := map[string]recorder.Job{}
		o := &FakeOutbox{Receivers: []string{OutboxReceiver}, Hold: 200 * time.Millisecond}
		emit := func(job recorder.Job, status recorder.Status, kind recorder.EventType) {
			rec := recorder.NewRecording(job, time.Now())
			rec.Status = status
			o.Emit(recorder.Event{Type: kind, At: rec.CreatedAt, Recording: rec}, job.Webhooks...)
		}
		return OutboxFixture{
			Open: func() recorder.Outbox { return o },
			Start: func(job recorder.Job) {
				mu.Lock()
				defer mu.Unlock()
				jobs[job.ID] = job
				emit(job, recorder.StatusQueued, recorder.EventQueued)
			},
			Stop: func(id string) {
				mu.Lock()
				defer mu.Unlock()
				emit(jobs[id], recorder.StatusAborted, recorder.EventEnded)
			},
			Hold: o.Hold,
		}
	})
}

func TestFakeQueueKeepsThePlacerContract(t *testing.T) {
	t.Parallel()
	PlacerContract(t, func(*testing.T) recorder.Placer { return &FakeQueue{} })
}

func TestFakeLeaseKeepsTheJournalContract(t *testing.T) {
	t.Parallel()
	JournalContract(t, func(*testing.T) JournalFixture {
		var last *FakeLease
		return JournalFixture{Take: func(*testing.T) recorder.Lease {
			rec := recorder.NewRecording(WebJob("noted"), time.Now())
			if last == nil {
				last = NewFakeLease(WebJob("noted"), rec)
			} else {
				last = last.Next(rec)
			}
			return last
		}}
	})
}
