package queue_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

func TestPauseCommands(t *testing.T) {
	t.Parallel()
	r := recordertest.StartRedis(t)
	q, c := open(t, r.URL(), testOptions(t, "w1")), client(t, r.URL())
	require.NoError(t, q.Enqueue(t.Context(), recordertest.WebJob("tape")))
	yes, no := true, false
	require.NoError(t, q.Update(t.Context(), "tape", recorder.Update{Pause: &yes}))
	require.NoError(t, q.Update(t.Context(), "tape", recorder.Update{Pause: &no, Layout: "grid"}))
	for _, by := range []map[string]any{
		{"command": "update", "pause": "perhaps"}, // not understood
		{"command": "update", "pause": ""},        // nothing to change
		{"command": "update", "pause": "true"},
		{"command": "update", "pause": "false"},
		{"command": "update", "pause": "1"},
		{"command": "update", "pause": "0", "layout": "speaker"},
	} {
		require.NoError(t, c.XAdd(t.Context(), &redis.XAddArgs{Stream: "{tapedeck}:commands:tape", Values: by}).Err())
	}
	l := claim(t, q)
	for _, want := range []recorder.Update{
		{Pause: &yes}, {Pause: &no, Layout: "grid"}, {Pause: &yes}, {Pause: &no}, {Pause: &yes}, {Pause: &no, Layout: "speaker"},
	} {
		select {
		case got := <-l.Commands():
			assert.Equal(t, recorder.Command{Kind: recorder.CommandUpdate, Update: want}, got)
		case <-time.After(patience):
			t.Fatal("no command came")
		}
	}
	require.NoError(t, l.Finish(t.Context(), as(l.Recording(), recorder.StatusComplete)))
}
