package faults

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// witness is a test that remembers why it failed, for the table.
type witness struct {
	testing.TB
	mu   sync.Mutex
	said []string
}

func (w *witness) Errorf(format string, args ...any) {
	w.Helper()
	w.note(fmt.Sprintf(format, args...))
	w.TB.Errorf(format, args...)
}

func (w *witness) Fatalf(format string, args ...any) {
	w.Helper()
	w.note(fmt.Sprintf(format, args...))
	w.TB.Fatalf(format, args...)
}

// note keeps the line that says what was wrong: testify wraps it in many.
func (w *witness) note(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	for _, mark := range []string{"Messages:", "Error:"} {
		if _, rest, ok := strings.Cut(text, mark); ok {
			line, _, _ = strings.Cut(strings.TrimSpace(rest), "\n")
			break
		}
	}
	w.said = append(w.said, strings.TrimSpace(line))
}

func (w *witness) faults() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.said...)
}
