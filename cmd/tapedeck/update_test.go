package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What changes nothing is said at once, and not in a worker's log alone.
func TestUpdateThatChangesNothing(t *testing.T) {
	embedded(t, "127.0.0.1:0")
	code, _, errOut := verb(soon(t), "enqueue", "--url", "https://example.com", "--rtmp", "rtmp://live.example.com/app/hidden", "--id", "EG_page")
	require.Zero(t, code, errOut)
	code, _, errOut = verb(soon(t), "update", "EG_page", "--layout", "grid", "--remove-rtmp", "st_12345678", "--remove-rtmp", "rtmp://live.example.com/app/other")
	assert.Zero(t, code)
	assert.Contains(t, errOut.String(), "EG_page records a web page of its own")
	assert.Contains(t, errOut.String(), "EG_page has no stream st_12345678 now")
	assert.NotContains(t, errOut.String(), "app/other")
	code, _, errOut = verb(soon(t), "update", "EG_page", "--remove-rtmp", "rtmp://live.example.com/app/hidden")
	assert.Zero(t, code)
	assert.Empty(t, errOut.String())
}
