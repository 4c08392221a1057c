// Package faults breaks what a recording needs, one thing at a time, while the built
// binary records, and judges what came of it: media that is missing, the job's end,
// and what is left behind. docs/faults.md is written by it (make test-faults).
//
// Every row has its own Redis, S3 server, page and two nodes: workers with a temp
// directory, a spool and a network of their own. TAPEDECK_LONG=1 plays all rows.
package faults

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"tapedeck/recorder/recordertest"
)

var (
	ground *recordertest.Ground
	toxics *toxiproxy.ApiServer // of every link
	logs   string               // where each row keeps its logs
	shown  = &table{}
)

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	ground, err = recordertest.NewGround("faults")
	if ground != nil {
		defer func() { err = errors.Join(err, os.RemoveAll(ground.Dir)) }()
	}
	if err != nil {
		return 1, err
	}
	logs = filepath.Join(ground.Root, "out", "faults")
	toxics = toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	code = m.Run()
	return code, shown.write(filepath.Join(logs, "table.md"), os.Getenv("TAPEDECK_FAULTS_TABLE"))
}

// long reports whether every row is to be played.
func long() bool { return os.Getenv("TAPEDECK_LONG") != "" }
