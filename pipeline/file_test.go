package pipeline_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/pipeline"
)

func TestMP4(t *testing.T) {
	r := newRig(t)
	out := r.file("a.mp4")
	k := record(t, r.spec(out), pipeline.Options{})
	k.begin()
	k.until(5 * time.Second)
	require.NoError(t, k.end())
	t.Logf("%+v", k.Snapshot())
}
