package queue_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/queue"
	"tapedeck/recorder/recordertest"
)

// dump gives everything that is in Redis as text.
func dump(t *testing.T, c *redis.Client) string {
	t.Helper()
	ctx := t.Context()
	keys, err := c.Keys(ctx, "*").Result()
	require.NoError(t, err)
	var b strings.Builder
	for _, k := range keys {
		kind, err := c.Type(ctx, k).Result()
		require.NoError(t, err)
		var v any
		switch kind {
		case "stream":
			v, err = c.XRange(ctx, k, "-", "+").Result()
		case "hash":
			v, err = c.HGetAll(ctx, k).Result()
		case "list":
			v, err = c.LRange(ctx, k, 0, -1).Result()
		case "set":
			v, err = c.SMembers(ctx, k).Result()
		case "string":
			v, err = c.Get(ctx, k).Result()
		case "zset":
			v, err = c.ZRangeWithScores(ctx, k, 0, -1).Result()
		default:
			t.Fatalf("%s is a %s", k, kind)
		}
		require.NoError(t, err)
		fmt.Fprintf(&b, "%s = %v\n", k, v)
	}
	return b.String()
}

func TestNoSecretIsLeft(t *testing.T) {
	t.Parallel()
	const mark = "s3cr3tMARK" // in every secret below
	job := recorder.Job{
		ID:     "secretive",
		Source: recorder.Source{RoomName: "studio", CustomBaseURL: "https://u:" + mark + "pw@example.com/t?key=" + mark, Token: mark + ".jwt.token"},
		Files: []recorder.FileOutput{
			{Storage: recorder.Storage{S3: &recorder.S3Upload{Bucket: "tapes", Region: "us-east-1", AccessKey: "AKIA" + mark, Secret: mark + "/secret", SessionToken: mark + "-session"}}},
			{Filepath: "b.webm", UploadURL: "https://example.com/put?X-Amz-Signature=" + mark},
		},
		Streams: []recorder.StreamOutput{{URLs: []string{"rtmp://live.example.com/app/" + mark + "key"}}},
	}
	require.NoError(t, job.Validate())
	r := recordertest.StartRedis(t)
	c, q := client(t, r.URL()), open(t, r.URL(), testOptions(t, "w1"))
	ctx := t.Context()

	// One life that ends well, told of every secret it can be told of.
	require.NoError(t, q.Enqueue(ctx, job))
	require.NoError(t, q.Update(ctx, job.ID, recorder.Update{AddStreamURLs: []string{"rtmp://live.example.com/app/added" + mark}}))
	l := claim(t, q)
	<-l.Commands()
	rec := as(l.Recording(), recorder.StatusActive)
	rec.Diagnosis = &recorder.Diagnosis{Console: []string{"token is " + job.Token}}
	require.NoError(t, l.Report(ctx, rec))
	rec = as(rec, recorder.StatusFailed)
	rec.Error = recorder.Errorf(recorder.CodeUpload, "PUT %s?sig=%s failed for %s", "https://example.com/x", mark, job.Files[0].S3.Secret)
	rec.Files[0].Error = "403 for " + job.Files[0].S3.AccessKey
	rec.Streams[0].Error = "refused: " + job.Streams[0].URLs[0]
	require.NoError(t, l.Finish(ctx, rec))

	// One that is tried too often, one that is stopped early, and some that are no jobs.
	job.ID = "unlucky"
	require.NoError(t, q.Enqueue(ctx, job))
	for range queue.DefaultMaxAttempts {
		require.NoError(t, claim(t, q).Release(ctx, fmt.Errorf("cannot reach %s", job.Streams[0].URLs[0]), true))
	}
	job.ID = "stopped"
	require.NoError(t, q.Enqueue(ctx, job))
	require.NoError(t, q.Stop(ctx, job.ID, ""))
	for _, bad := range []string{
		`{"room_name":"x","token":"` + mark + `","unknown":1}`,
		`{"room_name":"x","tokne":"` + mark + `"}`,
		`{"token":"` + mark + `",`,
		`token=` + mark,
		`{"url":"https://u:` + mark + `@h/?k=` + mark + `","stream_outputs":[{"urls":["rtmp://h/a/` + mark + `","x://` + mark + `"]}],"file_outputs":[{"upload_url":"ftp://h/?` + mark + `"}]}`,
	} {
		require.NoError(t, c.XAdd(ctx, &redis.XAddArgs{Stream: "{tapedeck}:jobs", Values: map[string]any{"job": bad}}).Err())
	}
	job.ID = "last"
	require.NoError(t, q.Enqueue(ctx, recordertest.WebJob("last")))
	l = claim(t, q)
	require.NoError(t, l.Finish(ctx, as(l.Recording(), recorder.StatusComplete)))

	all := dump(t, c)
	for at := 0; ; {
		i := strings.Index(all[at:], mark)
		if i < 0 {
			break
		}
		at += i
		t.Errorf("a secret is left: …%s…", all[max(0, at-200):min(len(all), at+60)])
		at += len(mark)
	}
	assert.Contains(t, all, "{tapedeck}:dead")
	assert.NotContains(t, all, "{tapedeck}:commands:")
}

// What an update brought is as secret as what the job came with.
func TestSecretsOfUpdates(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	q := open(t, r.URL(), testOptions(t, "w1"))
	require.NoError(t, q.Enqueue(t.Context(), recordertest.WebJob("updated")))
	l := claim(t, q)
	const url = "rtmp://ingest.example.com/app/added-5ecret-key"
	require.NoError(t, q.Update(t.Context(), "updated", recorder.Update{AddStreamURLs: []string{url}}))
	require.Equal(t, recorder.CommandUpdate, (<-l.Commands()).Kind)
	rec := as(l.Recording(), recorder.StatusActive)
	rec.Streams = []recorder.StreamResult{{State: recorder.StreamRetrying, Error: "refused " + url}}
	require.NoError(t, l.Report(t.Context(), rec))
	require.NoError(t, l.Release(t.Context(), fmt.Errorf("cannot reach %s", url), true))
	all, err := client(t, r.URL()).XRange(t.Context(), "{tapedeck}:events", "-", "+").Result()
	require.NoError(t, err)
	assert.Contains(t, fmt.Sprint(all), "refused")
	assert.NotContains(t, fmt.Sprint(all), "added-5ecret-key")
}
