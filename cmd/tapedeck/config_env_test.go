package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A variable is named as it was set, with what it may be.
func TestVariablesThatAreMisread(t *testing.T) {
	for variable, c := range map[string]struct{ value, says string }{
		"WORKER_MAX_JOBS":         {"many", `"many": use a whole number`},
		"WORKER_SPOOL_ORPHAN_AGE": {"x", `"x": use a duration such as`},
		"WORKER_SPOOL_MIN_FREE":   {"5zz", `"5zz": write a size such as`},
		"CHROME_SANDBOX":          {"ja", `"ja": use true or false`},
	} {
		t.Run(variable, func(t *testing.T) {
			t.Setenv("TAPEDECK_"+variable, c.value)
			t.Setenv("TAPEDECK_S3_SECRET", "hidden")
			code, _, errOut := verb(soon(t), "spool", "ls")
			assert.Equal(t, exitUsage, code)
			assert.Equal(t, 1, strings.Count(errOut.String(), "\n"), errOut)
			assert.Contains(t, errOut.String(), "TAPEDECK_"+variable+": "+c.says)
			assert.NotContains(t, errOut.String(), "hidden")
		})
	}
}
