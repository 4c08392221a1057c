package queue_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/queue"
	"tapedeck/recorder/recordertest"
)

// journalFixture takes the job over from a worker that sleeps, which wakes afterwards.
func journalFixture(t *testing.T, url string) recordertest.JournalFixture {
	prefix := "j" + time.Now().Format("150405.000000000")
	var before *gate
	workers := 0
	return recordertest.JournalFixture{Take: func(t *testing.T) recorder.Lease {
		workers++
		c, g := client(t, url), &gate{}
		c.AddHook(g)
		o := testOptions(t, fmt.Sprintf("w%d", workers))
		o.Prefix = prefix
		q, err := queue.New(t.Context(), c, o)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, q.Close()) })
		if before == nil {
			require.NoError(t, q.Enqueue(t.Context(), recordertest.WebJob("tape")))
		} else {
			before.shut()
			defer before.open()
		}
		before = g
		return claim(t, q)
	}}
}

func TestJournalContractRedis(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	t.Run("contract", func(t *testing.T) {
		recordertest.JournalContract(t, func(t *testing.T) recordertest.JournalFixture { return journalFixture(t, r.URL()) })
	})
}

func TestJournalContractEmbedded(t *testing.T) {
	t.Parallel()
	e, err := queue.StartEmbedded("")
	require.NoError(t, err)
	t.Cleanup(func() { _ = e.Close() })
	t.Run("contract", func(t *testing.T) {
		recordertest.JournalContract(t, func(t *testing.T) recordertest.JournalFixture { return journalFixture(t, e.URL()) })
	})
}
