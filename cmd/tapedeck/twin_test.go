package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"tapedeck/recorder/queue"
)

// Two workers of one id take each other's jobs for their own: somebody must hear of it.
func TestWorkersOfOneID(t *testing.T) {
	embedded(t, "127.0.0.1:0")
	q, err := queue.Open(soon(t), os.Getenv("TAPEDECK_REDIS_URL"), queue.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = q.Close() })
	core, logs := observer.New(zap.ErrorLevel)
	own, other := queue.WorkerInfo{ID: "w1", StartedAt: 1}, queue.WorkerInfo{ID: "w2", StartedAt: 2}
	require.NoError(t, q.Beat(soon(t), own))
	require.NoError(t, q.Beat(soon(t), other))
	assert.False(t, hasTwin(soon(t), q, own, zap.New(core)))
	assert.Zero(t, logs.Len())
	other.ID = "w1"
	require.NoError(t, q.Beat(soon(t), other))
	assert.True(t, hasTwin(soon(t), q, own, zap.New(core)))
	assert.Equal(t, 1, logs.FilterMessageSnippet("give each an id of its own").Len())
}

func TestSpoolThatCannotBeWritten(t *testing.T) {
	a := &app{config: defaultConfig()}
	a.config.Spool = filepath.Join(t.TempDir(), "gone")
	require.ErrorContains(t, a.diskCheck(), "cannot be written")
	require.NoError(t, os.Mkdir(a.config.Spool, 0o700))
	require.NoError(t, writable(a.config.Spool))
}
