package control_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"go.uber.org/zap"

	"tapedeck/recorder"
	"tapedeck/recorder/control"
)

func get(t *testing.T, h http.Handler) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	return w.Code, w.Body.String()
}

// has checks that every line is there, and gives how many series of a metric there are.
func has(t *testing.T, body string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		assert.Contains(t, strings.Split(body, "\n"), line)
	}
}

// worker is one with given figures.
type worker struct {
	load    recorder.Load
	running []string
}

func (w *worker) Load() recorder.Load { return w.load }
func (w *worker) Running() []string   { return w.running }

func TestTally(t *testing.T) {
	m := control.NewMetrics("v1", control.Sources{Worker: &worker{}}, zap.NewNop())
	_, body := get(t, m.Handler())
	for _, r := range recorder.EndReasons() {
		has(t, body, `tapedeck_incidents_total{reason="`+string(r)+`"} 0`)
	}
	has(t, body, `tapedeck_build_info{version="v1"} 1`)

	m.Incident(recorder.EndBrowserDied)
	m.Incident(recorder.EndBrowserDied)
	m.Incident("what a stranger wrote")
	delivered := recorder.FileResult{State: recorder.FileDelivered, Size: 100, Retries: 2}
	m.Ended(recorder.Recording{
		ID: "EG_secret", Worker: "w1", Status: recorder.StatusComplete, EndReason: recorder.EndStopped,
		Files:    []recorder.FileResult{delivered, {State: recorder.FileRefused, Size: 1000, Retries: 5}},
		Segments: []recorder.SegmentsResult{{Series: recorder.Series{State: recorder.FileDelivered, Size: 20}}},
		Images:   []recorder.ImagesResult{{Series: recorder.Series{State: recorder.FilePending, Size: 1000}}},
		Earlier: []recorder.Part{
			{Worker: "w1", Files: []recorder.FileResult{{State: recorder.FileDelivered, Size: 3}}},
			{Worker: "w0", Files: []recorder.FileResult{delivered}},
		},
	})
	m.Ended(recorder.Recording{Status: recorder.StatusActive, EndReason: "EG_1"})
	_, body = get(t, m.Handler())
	has(t, body,
		`tapedeck_incidents_total{reason="browser_died"} 2`,
		`tapedeck_incidents_total{reason="other"} 1`,
		`tapedeck_recordings_total{end_reason="stopped",status="complete"} 1`,
		`tapedeck_recordings_total{end_reason="other",status="other"} 1`,
		`tapedeck_delivered_bytes_total 123`,
		`tapedeck_upload_retries_total 7`,
	)
	assert.NotContains(t, body, "EG_")
}

func TestGauges(t *testing.T) {
	w := &worker{load: recorder.Load{Slots: 4, Running: 3}, running: []string{"EG_1", "EG_2"}}
	account, away := control.SpoolAccount{Free: 5, Entries: 2, Undelivered: 7, Oldest: time.Minute}, error(nil)
	m := control.NewMetrics("v1", control.Sources{
		Worker: w, Spool: func() (control.SpoolAccount, error) { return account, away }, Redis: func(context.Context) error { return away },
	}, zap.NewNop())
	_, body := get(t, m.Handler())
	has(t, body,
		"tapedeck_recordings_running 2", `tapedeck_slots{state="used"} 3`, `tapedeck_slots{state="free"} 1`, `tapedeck_slots{state="closed"} 0`,
		"tapedeck_spool_free_bytes 5", "tapedeck_spool_entries 2", "tapedeck_spool_undelivered_bytes 7", "tapedeck_spool_oldest_seconds 60",
		"tapedeck_redis_up 1",
	)
	assert.NotContains(t, body, "EG_1")

	w.load.Draining, away = true, errors.New("away")
	code, body := get(t, m.Handler())
	assert.Equal(t, http.StatusOK, code, "what can be told is told")
	has(t, body, `tapedeck_slots{state="used"} 3`, `tapedeck_slots{state="free"} 0`, `tapedeck_slots{state="closed"} 1`, "tapedeck_redis_up 0")
	assert.NotContains(t, body, "tapedeck_spool_free_bytes")
}

func TestHealth(t *testing.T) {
	shut, wrong := make(chan struct{}), error(nil)
	h := control.Health{Draining: shut, Checks: []func(context.Context) error{
		func(context.Context) error { return wrong }, func(context.Context) error { return errors.New("a disk\nis full") },
	}}
	code, body := get(t, h)
	assert.Equal(t, http.StatusOK, code)
	assert.Equal(t, "degraded: a disk is full\n", body)
	assert.True(t, control.IsHealth(body))
	wrong = errors.New("Redis is away")
	_, body = get(t, h)
	assert.Equal(t, "degraded: Redis is away; a disk is full\n", body)
	h.Checks = nil
	_, body = get(t, h)
	assert.Equal(t, control.Healthy, body)
	close(shut)
	code, body = get(t, h)
	assert.Equal(t, http.StatusServiceUnavailable, code)
	assert.Equal(t, control.Draining, body)
}
