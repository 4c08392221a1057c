package queue_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"tapedeck/recorder/queue"
	"tapedeck/recorder/recordertest"
)

// testTTL is short, yet longer than a busy machine keeps a heartbeat waiting.
const testTTL = 1500 * time.Millisecond

func testOptions(t *testing.T, worker string) queue.Options {
	return queue.Options{
		Worker: worker, LeaseTTL: testTTL, RetryDelay: 20 * time.Millisecond,
		Log: zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel)),
	}
}

// open opens a queue that ends with the test.
func open(t *testing.T, url string, opts queue.Options) *queue.Queue {
	t.Helper()
	q, err := queue.Open(t.Context(), url, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, q.Close()) })
	return q
}

func client(t *testing.T, url string) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(url)
	require.NoError(t, err)
	c := redis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// expired waits until a job's lease has been over for so long, by Redis's clock.
func expired(t *testing.T, url, id string, ago time.Duration) {
	t.Helper()
	c := client(t, url)
	require.Eventually(t, func() bool {
		until, err := c.HGet(t.Context(), "{tapedeck}:job:"+id, "lease_until").Int64()
		require.NoError(t, err)
		now, err := c.Time(t.Context()).Result()
		require.NoError(t, err)
		return now.After(time.UnixMilli(until).Add(ago))
	}, patience, 20*time.Millisecond)
}

// fixture is the contract's view of one Redis; each part has its own prefix.
func fixture(t *testing.T, url string) recordertest.QueueFixture {
	prefix := "p" + time.Now().Format("150405.000000000")
	c := client(t, url)
	return recordertest.QueueFixture{
		Open: func(worker string) recordertest.QueueUnderTest {
			o := testOptions(t, worker)
			o.Prefix = prefix
			return open(t, url, o)
		},
		LeaseTTL: testTTL, MaxAttempts: queue.DefaultMaxAttempts,
		Add: func(fields map[string]string) string {
			id, err := c.XAdd(t.Context(), &redis.XAddArgs{Stream: "{" + prefix + "}:jobs", Values: fields}).Result()
			require.NoError(t, err)
			return id
		},
		Command: func(job string, fields map[string]string) {
			require.NoError(t, c.XAdd(t.Context(), &redis.XAddArgs{Stream: "{" + prefix + "}:commands:" + job, Values: fields}).Err())
		},
		Dead: func() []string {
			dead, err := c.XRange(context.WithoutCancel(t.Context()), "{"+prefix+"}:dead", "-", "+").Result()
			require.NoError(t, err)
			var texts []string
			for _, m := range dead {
				text := ""
				for k, v := range m.Values {
					s, _ := v.(string)
					text += k + "=" + s + "\n"
				}
				texts = append(texts, text)
			}
			return texts
		},
	}
}

func TestContractRedis(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	t.Run("contract", func(t *testing.T) {
		recordertest.QueueContract(t, func(t *testing.T) recordertest.QueueFixture { return fixture(t, r.URL()) })
	})
}

func TestContractEmbedded(t *testing.T) {
	t.Parallel()
	e, err := queue.StartEmbedded("")
	require.NoError(t, err)
	t.Cleanup(func() { _ = e.Close() })
	t.Run("contract", func(t *testing.T) {
		recordertest.QueueContract(t, func(t *testing.T) recordertest.QueueFixture { return fixture(t, e.URL()) })
	})
}
