package egress

import (
	"math"
	"sync/atomic"

	"github.com/livekit/protocol/utils/hwstats"

	"tapedeck/recorder"
)

// CPU watches how busy the machine is, or what of it the container may use.
type CPU struct {
	load  atomic.Uint64 // of math.Float64bits
	stats *hwstats.CPUStats
}

// WatchCPU begins to look, once a second.
func WatchCPU() (*CPU, error) {
	c := &CPU{}
	cores := make(chan float64, 1)
	var total float64
	// Not GetCPULoad: that calls a machine without any idle time idle.
	stats, err := hwstats.NewCPUStats(func(idle float64) {
		if total == 0 {
			total = <-cores
		}
		c.load.Store(math.Float64bits(min(max(1-idle/total, 0), 1)))
	})
	if err != nil {
		return nil, recorder.Errorf(recorder.CodeUnavailable, "the CPU's load cannot be read: %w", err)
	}
	cores <- max(stats.NumCPU(), 0.01)
	c.stats = stats
	return c, nil
}

// Load is the load of the last second, from 0 to 1. Nothing is known of the first
// one: that counts as idle.
func (c *CPU) Load() float64 { return math.Float64frombits(c.load.Load()) }

// Close ends the watching.
func (c *CPU) Close() { c.stats.Stop() }
