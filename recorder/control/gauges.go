package control

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tapedeck/recorder"
)

// Sources are asked when somebody scrapes. nil is left out.
type Sources struct {
	Worker Worker
	Spool  func() (SpoolAccount, error)
	// Redis reports whether it answers.
	Redis func(ctx context.Context) error
}

// Worker is a recorder.Worker.
type Worker interface {
	Load() recorder.Load
	Running() []string
}

// SpoolAccount is how full a spool is.
type SpoolAccount struct {
	Free        int64 // bytes that may still be written
	Entries     int   // parts of recordings that run or wait
	Undelivered int64 // bytes of media without a verified copy
	// Oldest is how long the entry that waits longest was not written to.
	Oldest time.Duration
}

// gauges reads what is now. It implements prometheus.Collector.
type gauges struct {
	from                                    Sources
	running, slots                          *prometheus.Desc
	spoolFree, entries, undelivered, oldest *prometheus.Desc
}

func newGauges(from Sources) *gauges {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("tapedeck_"+name, help, labels, nil)
	}
	return &gauges{
		from:        from,
		running:     desc("recordings_running", "Recordings that run in this worker."),
		slots:       desc("slots", "Slots for recordings: used; free for a job; closed while the worker takes none.", "state"),
		spoolFree:   desc("spool_free_bytes", "Room on the spool's disk."),
		entries:     desc("spool_entries", "Parts of recordings in the spool, running ones included."),
		undelivered: desc("spool_undelivered_bytes", "Media in the spool that no verified copy exists of."),
		oldest:      desc("spool_oldest_seconds", "Since when the entry that waits longest was not written to; 0 for none."),
	}
}

// Describe implements prometheus.Collector.
func (g *gauges) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{g.running, g.slots, g.spoolFree, g.entries, g.undelivered, g.oldest} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	if g.from.Worker != nil {
		load := g.from.Worker.Load()
		free, closed := max(load.Slots-load.Running, 0), 0
		if load.Draining || load.Unfit {
			free, closed = 0, free
		}
		gauge(g.running, float64(len(g.from.Worker.Running())))
		gauge(g.slots, float64(load.Running), "used")
		gauge(g.slots, float64(free), "free")
		gauge(g.slots, float64(closed), "closed")
	}
	if g.from.Spool != nil {
		account, err := g.from.Spool()
		if err != nil {
			to <- prometheus.NewInvalidMetric(g.spoolFree, err)
		} else {
			gauge(g.spoolFree, float64(account.Free))
			gauge(g.entries, float64(account.Entries))
			gauge(g.undelivered, float64(account.Undelivered))
			gauge(g.oldest, account.Oldest.Seconds())
		}
	}
}
