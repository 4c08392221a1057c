package recordertest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The last segment of a list may hold one picture, which ffmpeg is not sure of.
func TestShortestSegment(t *testing.T) {
	dir := t.TempDir()
	segment := filepath.Join(dir, "one.ts")
	Tool(t, "ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "color=size=64x64:rate=15", "-frames:v", "1",
		"-c:v", "libx264", "-bsf:v", "filter_units=remove_types=6", "-f", "mpegts", segment)
	info, err := os.Stat(segment)
	require.NoError(t, err)
	require.Less(t, info.Size(), int64(7*188), "ffmpeg would be sure of it")
	said := Tool(t, "ffprobe", "-v", "warning", "-f", "mpegts", segment)
	require.NotEmpty(t, said, "ffmpeg is sure of it")
	assert.Empty(t, segmentTool(t, "ffprobe", "-v", "warning", "-f", "mpegts", segment))
}
