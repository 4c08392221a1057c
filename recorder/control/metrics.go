package control

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"tapedeck/recorder"
)

// other stands for a label's value that is on no list: whatever comes from a Redis that
// others write to, the number of series stays bounded.
const other = "other"

// Metrics are a process's figures for Prometheus. It counts what a worker tells it as its
// recorder.Tally, and asks its Sources when it is scraped. docs/operations.md lists them.
type Metrics struct {
	registry   *prometheus.Registry
	log        *zap.Logger
	incidents  *prometheus.CounterVec
	recordings *prometheus.CounterVec
	uploaded   prometheus.Counter
	retries    prometheus.Counter

	redis   func(ctx context.Context) error
	redisUp prometheus.Gauge
}

var _ recorder.Tally = (*Metrics)(nil)

// NewMetrics gives figures that begin at 0.
func NewMetrics(version string, from Sources, log *zap.Logger) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(), log: log,
		incidents: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tapedeck_incidents_total", Help: "What went wrong in recordings, whether or not they went on, by its end reason.",
		}, []string{"reason"}),
		recordings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tapedeck_recordings_total", Help: "Jobs that this worker ended.",
		}, []string{"status", "end_reason"}),
		uploaded: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tapedeck_delivered_bytes_total", Help: "Media that was verified in its storage, of jobs that this worker ended.",
		}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tapedeck_upload_retries_total", Help: "Failed tries to upload a file, of jobs that this worker ended.",
		}),
	}
	if m.redis = from.Redis; m.redis != nil {
		m.redisUp = prometheus.NewGauge(prometheus.GaugeOpts{Name: "tapedeck_redis_up", Help: "1 while Redis answers."})
		m.registry.MustRegister(m.redisUp)
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tapedeck_build_info", Help: "1; the label says which version runs.", ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	m.registry.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newGauges(from))
	if from.Worker == nil {
		return m // nothing is recorded here
	}
	m.registry.MustRegister(m.incidents, m.recordings, m.uploaded, m.retries)
	for _, r := range recorder.EndReasons() {
		m.incidents.WithLabelValues(string(r)) // rates of what has not happened yet are 0, not missing
	}
	return m
}

// scrapeTimeout is how long Redis may take: shorter than Prometheus waits for us.
const scrapeTimeout = 2 * time.Second

// Handler serves them.
func (m *Metrics) Handler() http.Handler {
	// One source that is away must not hide the others.
	figures := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, ErrorLog: zap.NewStdLog(m.log), MaxRequestsInFlight: 4,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.askRedis(r.Context())
		figures.ServeHTTP(w, r)
	})
}

// askRedis is no Collector's work: those are given no context.
func (m *Metrics) askRedis(ctx context.Context) {
	if m.redis == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
	defer cancel()
	up := 1.0
	if m.redis(ctx) != nil {
		up = 0
	}
	m.redisUp.Set(up)
}

// Incident implements recorder.Tally.
func (m *Metrics) Incident(reason recorder.EndReason) {
	m.incidents.WithLabelValues(reasonLabel(reason)).Inc()
}

// Ended implements recorder.Tally.
func (m *Metrics) Ended(rec recorder.Recording) {
	status := other
	if rec.Status.Ended() {
		status = string(rec.Status)
	}
	m.recordings.WithLabelValues(status, reasonLabel(rec.EndReason)).Inc()
	m.delivered(rec.Files, rec.Segments, rec.Images)
	for _, p := range rec.Earlier {
		if p.Worker == rec.Worker { // others count their own
			m.delivered(p.Files, p.Segments, p.Images)
		}
	}
}

func (m *Metrics) delivered(files []recorder.FileResult, segments []recorder.SegmentsResult, images []recorder.ImagesResult) {
	for _, f := range files {
		m.retries.Add(float64(max(f.Retries, 0)))
		m.arrived(f.State, f.Size)
	}
	for _, s := range segments {
		m.arrived(s.State, s.Size)
	}
	for _, s := range images {
		m.arrived(s.State, s.Size)
	}
}

func (m *Metrics) arrived(state recorder.FileState, size int64) {
	if state == recorder.FileDelivered {
		m.uploaded.Add(float64(max(size, 0)))
	}
}

func reasonLabel(r recorder.EndReason) string {
	if slices.Contains(recorder.EndReasons(), r) {
		return string(r)
	}
	return other
}
