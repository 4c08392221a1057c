package main

import (
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestWorkerShowsItsFigures: without a key, for whoever records pages alone.
func TestWorkerShowsItsFigures(t *testing.T) {
	embedded(t, "127.0.0.1:0")
	t.Setenv("TAPEDECK_SPOOL", filepath.Join(diskSpool(t), "spool"))
	t.Setenv("TAPEDECK_WORKER_SPOOL_MIN_FREE", "1000000GiB")
	ctx, cancel := context.WithCancel(t.Context())
	s := &serving{t: t, log: &output{}, cancel: cancel, ended: make(chan int, 1)}
	t.Cleanup(cancel)
	go func() {
		s.ended <- verbTo(ctx, &output{}, s.log, "worker", "--max-jobs", "3", "--metrics", "127.0.0.1:0")
	}()
	s.says(`"worker is up"`)
	_, rest, _ := strings.Cut(s.log.String(), `"address":"`)
	s.url, _, _ = strings.Cut(rest, `"`)

	code, body := ask(t, http.MethodGet, s.url+"/healthz")
	assert.Equal(t, http.StatusOK, code)
	assert.Regexp(t, `^degraded: spool: .* free is below worker.spool_min_free \(.*\): no new jobs are taken\n$`, body)
	_, body = ask(t, http.MethodGet, s.url+"/metrics")
	for _, line := range []string{
		"tapedeck_recordings_running 0", `tapedeck_slots{state="used"} 0`, "tapedeck_spool_entries 0", "tapedeck_spool_undelivered_bytes 0",
		"tapedeck_redis_up 1", `tapedeck_incidents_total{reason="worker_lost"} 0`,
	} {
		assert.Contains(t, body, "\n"+line+"\n")
	}
	assert.Contains(t, body, "\ntapedeck_spool_free_bytes ")
	code, _ = ask(t, http.MethodGet, s.url+"/twirp/livekit.Egress/ListEgress")
	assert.Equal(t, http.StatusNotFound, code, "figures alone")
	s.stop()
}

func TestConfigurationOfTheDisk(t *testing.T) {
	a, err := storageConfig(t, "worker: {spool_min_free: 3GiB, spool_reserve: 0, spool_orphan_age: 2h}")
	require.NoError(t, err)
	assert.Equal(t, []any{Size(3 << 30), Size(0), 2 * time.Hour}, []any{a.config.Worker.SpoolMinFree, a.config.Worker.SpoolReserve, a.config.Worker.SpoolOrphanAge})
	a, err = storageConfig(t, `worker: {spool_min_free: "1000000", spool_reserve: 1000}`)
	require.NoError(t, err)
	assert.Equal(t, []Size{1000000, 1000}, []Size{a.config.Worker.SpoolMinFree, a.config.Worker.SpoolReserve}, "bytes")
	for text, says := range map[string]string{
		"worker: {spool_min_free: 1GiB, spool_reserve: 1GiB}": `worker.spool_reserve: "1GiB": must be less than worker.spool_min_free (1GiB)`,
		"worker: {spool_min_free: much}":                      "write a size such as 500MB or 2GiB, or 0",
		"worker: {spool_reserve: -1}":                         "write a size such as 500MB or 2GiB, or 0",
		"worker: {spool_orphan_age: 0s}":                      "worker.spool_orphan_age",
	} {
		_, err := storageConfig(t, text)
		assert.ErrorContains(t, err, says)
	}
	t.Setenv("TAPEDECK_WORKER_SPOOL_RESERVE", "lots")
	code, _, errOut := verb(soon(t), "list")
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, errOut.String(), "write a size")
	t.Setenv("TAPEDECK_WORKER_SPOOL_RESERVE", "2GiB")
	code, _, errOut = verb(soon(t), "worker", "--spool-min-free", "1GiB")
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, errOut.String(), "worker.spool_reserve")
}

func TestWatermarks(t *testing.T) {
	for name, c := range map[string]struct {
		minFree, reserve Size
		disk             int64
		want             [2]int64
	}{
		"a large disk":     {sizeDefault, sizeDefault, 1 << 40, [2]int64{2 << 30, 512 << 20}},
		"a small disk":     {sizeDefault, sizeDefault, 20 << 30, [2]int64{1 << 30, 256 << 20}},
		"off":              {0, 0, 1 << 40, [2]int64{0, 0}},
		"the first is off": {0, sizeDefault, 1 << 40, [2]int64{0, 512 << 20}},
		"the first alone":  {1 << 30, sizeDefault, 1 << 40, [2]int64{1 << 30, 256 << 20}},
		"the second alone": {sizeDefault, 4 << 30, 1 << 40, [2]int64{8 << 30, 4 << 30}},
		"both":             {1 << 30, 1 << 20, 1 << 40, [2]int64{1 << 30, 1 << 20}},
	} {
		minFree, reserve := WorkerConfig{SpoolMinFree: c.minFree, SpoolReserve: c.reserve}.watermarks(c.disk)
		assert.Equal(t, c.want, [2]int64{minFree, reserve}, name)
	}
	c := WorkerConfig{SpoolMinFree: 100 << 20, SpoolReserve: 10 << 20}
	assert.Empty(t, c.lowDisk(1<<40, 100<<20))
	assert.Contains(t, c.lowDisk(1<<40, 99<<20), "no new jobs are taken")
	assert.Contains(t, c.lowDisk(1<<40, 9<<20), "the largest recordings are ended")
}

func TestDoctorOfAFullDisk(t *testing.T) {
	a := &app{config: defaultConfig()}
	a.config.Spool = filepath.Join(diskSpool(t), "spool")
	a.config.Worker.SpoolMinFree, a.config.Worker.SpoolReserve = 1<<60, 0
	f := a.examineSpool()
	assert.False(t, f.OK)
	assert.True(t, f.Passing, "no reason to restart a worker")
	assert.Contains(t, f.Detail, "below worker.spool_min_free")
	a.config.Worker.SpoolReserve = 1 << 59
	assert.Contains(t, a.examineSpool().Detail, "below worker.spool_reserve")
}
