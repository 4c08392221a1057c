package capture

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// What a page says is cut before the job's secrets are looked for: no half of one
// may be left over.
func TestSayingCutsWholeWords(t *testing.T) {
	const secret = "pSup3r&Secret-0123456789"
	for n := range 2 * longestConsoleLine {
		for _, pad := range []string{strings.Repeat("p", n), strings.Repeat("p ", n/2)} {
			said := saying(pad + secret)
			rest := strings.TrimRight(strings.TrimSuffix(said, "…"), "p ")
			assert.Contains(t, []string{"", pad + secret}, rest, "%d", n)
			assert.LessOrEqual(t, len(said), longestConsoleLine+len("…"))
		}
	}
}

func TestSayingDrivesNoTerminal(t *testing.T) {
	assert.Equal(t, "a  b]0;titlec[2Jdezalp", saying("a\r\nb\x1b]0;title\x07c\x1b[2Jd\u202eezalp"))
	assert.Equal(t, "مرحبا 🎉", saying(" مرحبا 🎉 "))
}
