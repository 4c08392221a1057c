package control

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"
)

// What Health answers, but for the reasons after Degraded.
const (
	Healthy  = "ok\n"
	Draining = "draining\n"
	Degraded = "degraded: "
)

// healthTimeout bounds all checks together: whoever asks gives up soon.
const healthTimeout = 2 * time.Second

// Health tells a load balancer where to go: not to a process that is shutting down. One
// that is degraded still answers 200: what restarts it would end recordings that go on.
type Health struct {
	Draining <-chan struct{}
	// Checks give what is wrong; the text is for anybody.
	Checks []func(ctx context.Context) error
}

// ServeHTTP answers with one line.
func (h Health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	select {
	case <-h.Draining:
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, Draining)
		return
	default:
	}
	ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
	defer cancel()
	var wrong []string
	for _, check := range h.Checks {
		if err := check(ctx); err != nil {
			wrong = append(wrong, strings.Join(strings.Fields(err.Error()), " "))
		}
	}
	if len(wrong) > 0 {
		_, _ = io.WriteString(w, Degraded+strings.Join(wrong, "; ")+"\n")
		return
	}
	_, _ = io.WriteString(w, Healthy)
}

// IsHealth reports whether a body is an answer of Health.
func IsHealth(body string) bool {
	return body == Healthy || body == Draining || strings.HasPrefix(body, Degraded)
}
