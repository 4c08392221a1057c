package queue_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/queue"
	"tapedeck/recorder/recordertest"
)

const testHold = time.Second

// outboxFixture is the contract's view of an outbox in one Redis.
func outboxFixture(t *testing.T, url string) recordertest.OutboxFixture {
	prefix := "o" + time.Now().Format("150405.000000000")
	view := func() *queue.Queue {
		o := testOptions(t, "")
		o.Prefix = prefix
		return open(t, url, o)
	}
	q := view()
	return recordertest.OutboxFixture{
		Open: func() recorder.Outbox {
			o, err := view().OpenOutbox(queue.OutboxOptions{
				Name: "test", Receivers: []string{recordertest.OutboxReceiver}, Webhooks: true, Hold: testHold,
			})
			require.NoError(t, err)
			return o
		},
		Start: func(job recorder.Job) { require.NoError(t, q.Enqueue(t.Context(), job)) },
		Stop:  func(id string) { require.NoError(t, q.Stop(t.Context(), id, "")) },
		Hold:  testHold,
	}
}

func TestOutboxContractRedis(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	t.Run("contract", func(t *testing.T) {
		recordertest.OutboxContract(t, func(t *testing.T) recordertest.OutboxFixture { return outboxFixture(t, r.URL()) })
	})
}

func TestOutboxContractEmbedded(t *testing.T) {
	t.Parallel()
	e, err := queue.StartEmbedded("")
	require.NoError(t, err)
	t.Cleanup(func() { _ = e.Close() })
	t.Run("contract", func(t *testing.T) {
		recordertest.OutboxContract(t, func(t *testing.T) recordertest.OutboxFixture { return outboxFixture(t, e.URL()) })
	})
}
