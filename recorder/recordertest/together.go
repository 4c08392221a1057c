package recordertest

import (
	"flag"
	"strconv"
	"testing"
)

// RunTogether is m.Run with n parallel tests at once where -parallel does not say how many: for
// tests that wait for time to go by, such as the end of a lease, more than for a processor.
func RunTogether(m *testing.M, n int) (code int) {
	flag.Parse()
	said := false
	flag.Visit(func(f *flag.Flag) { said = said || f.Name == "test.parallel" })
	if !said {
		_ = flag.Set("test.parallel", strconv.Itoa(n))
	}
	return m.Run()
}
