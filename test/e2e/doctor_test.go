package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDoctor(t *testing.T) {
	t.Parallel()
	p := startPool(t)
	type finding struct {
		Name, Detail, Remedy string
		OK                   bool
	}
	examine := func(args ...string) (int, map[string]finding) {
		t.Helper()
		r := p.runWith("", append(p.redisEnv(), "TAPEDECK_STORAGE_DIRECTORY="+p.path("stored")), append([]string{"doctor", "--json"}, args...)...)
		assert.Empty(t, r.stderr)
		found := map[string]finding{}
		dec := json.NewDecoder(strings.NewReader(r.stdout))
		for dec.More() {
			var f finding
			require.NoError(t, dec.Decode(&f))
			found[f.Name] = f
			if !f.OK {
				assert.NotEmpty(t, f.Remedy, "%s says how to mend it", f.Name)
			}
		}
		return r.code, found
	}
	code, found := examine()
	for _, f := range found {
		t.Logf("%v %s: %s %s", f.OK, f.Name, f.Detail, f.Remedy)
		assert.True(t, f.OK, f.Name)
	}
	assert.Zero(t, code)
	for _, name := range []string{"Redis", "spool", "GStreamer", "storage"} {
		assert.Contains(t, found, name)
	}
	assert.Greater(t, len(found), 6)
	h := p.run("doctor")
	assert.Contains(t, h.stdout, "ok ")

	p.redis.Kill()
	code, found = examine("--quick")
	assert.Zero(t, code, "a worker records on without Redis")
	assert.False(t, found["Redis"].OK)
	assert.Contains(t, found["Redis"].Remedy, "start Redis")
	assert.True(t, found["spool"].OK)
	r := p.runWith("", p.redisEnv(), "doctor", "--quick")
	assert.Zero(t, r.code)
	assert.Contains(t, r.stdout, "start Redis")
}
