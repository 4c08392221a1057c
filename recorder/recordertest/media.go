package recordertest

import (
	"encoding/json"
	"math"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ProbeMedia decodes what ffprobe says of a file's streams and format into what
// its JSON names. The file may have been cut off.
func ProbeMedia(t testing.TB, path string, into any) {
	t.Helper()
	out, err := exec.Command("ffprobe", "-v", "error", "-show_streams", "-show_format", "-of", "json", path).Output()
	require.NoError(t, err, path)
	require.NoError(t, json.Unmarshal(out, into))
}

// RequireClean checks that ffprobe and ffmpeg have nothing to say against a file.
func RequireClean(t testing.TB, path string) {
	t.Helper()
	require.Empty(t, Tool(t, "ffprobe", "-v", "warning", "-count_packets", "-show_entries", "format=", path), "ffprobe has no complaints")
	require.Empty(t, Tool(t, "ffmpeg", "-nostdin", "-v", "warning", "-xerror", "-i", path, "-f", "null", "-"), "ffmpeg decodes it without complaints")
}

// Tool runs a command that must succeed and gives all it printed.
func Tool(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	require.NoError(t, err, "%s %s: %s", name, strings.Join(args, " "), out)
	return strings.TrimSpace(string(out))
}

// Seconds reads a time as ffprobe prints it.
func Seconds(t testing.TB, text string) time.Duration {
	t.Helper()
	f, err := strconv.ParseFloat(text, 64)
	require.NoError(t, err)
	return time.Duration(math.Round(f * 1e9))
}
