package recorder_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

func TestOriginIsOpaque(t *testing.T) {
	for _, origin := range []string{`{"kind":"web","request":{"url":"x","nested":[1,{"a":null}]}}`, `[1,2]`, `"text"`} {
		job, err := recorder.DecodeJob([]byte(`{"url":"https://example.com","origin":` + origin + `}`))
		require.NoError(t, err, origin)
		assert.JSONEq(t, origin, string(job.Origin))
	}
}
