package queue_test

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"tapedeck/recorder"
	"tapedeck/recorder/queue"
)

func enqueueAndStop(ctx context.Context, client redis.UniversalClient) (id string, err error) {
	entry, err := client.XAdd(ctx, &redis.XAddArgs{
		Stream: "{tapedeck}:jobs",
		Values: map[string]any{"job": `{"url":"https://example.com/","file_outputs":[{"filepath":"talks/{id}.mp4"}]}`},
	}).Result()
	if err != nil {
		return "", err
	}
	id = "EG_" + entry
	return id, client.XAdd(ctx, &redis.XAddArgs{
		Stream: "{tapedeck}:commands:" + id,
		Values: map[string]any{"command": "stop"},
	}).Err()
}

// A control plane in Go that uses this package.
func Example() {
	ctx := context.Background()
	embedded, err := queue.StartEmbedded("")
	if err != nil {
		panic(err)
	}
	defer func() { _ = embedded.Close() }()
	q, err := queue.Open(ctx, embedded.URL(), queue.Options{})
	if err != nil {
		panic(err)
	}
	defer func() { _ = q.Close() }()

	rec, err := q.Start(ctx, recorder.Job{
		ID:     "talk-1",
		Source: recorder.Source{URL: "https://example.com/"},
		Files:  []recorder.FileOutput{{Filepath: "talks/{id}"}},
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(rec.Status, rec.Files[0].Filename)
	if err := q.Stop(ctx, rec.ID, recorder.EndStopped); err != nil {
		panic(err)
	}
	found, err := q.List(ctx, recorder.Filter{IDs: []string{rec.ID}})
	if err != nil {
		panic(err)
	}
	fmt.Println(found[0].Status, found[0].Error)
	// Output:
	// queued talks/talk-1.mp4
	// aborted Stop called before pipeline could start
}
