// Package e2e drives the built binary as its users do: with arguments, signals,
// a real Redis, real pages in Chrome, real storage and ingest servers. What it
// recorded is judged frame by frame and beep by beep, never by its existence.
//
// Every test has a home of its own (spool, temp directory, Redis). When it
// ends, nothing that it started may be left: see home.requireNothingLeft.
//
// Tests that are judged by the clock run alone, and are judged again when somebody else took
// the processors (judged). All others are parallel: they wait for what they mean, and hold
// on a machine that is busy with their neighbours.
//
// TAPEDECK_BIN names the binary to drive; TAPEDECK_E2E_KEEP=1 keeps what was
// recorded below out/e2e; TAPEDECK_LONG=1 records for a minute what is judged by the clock.
package e2e

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"tapedeck/recorder/recordertest"
)

var (
	tapedeck string // the binary
	ground   string // where the tests' homes are made
)

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	suite, err := recordertest.NewGround("e2e")
	if suite != nil && os.Getenv("TAPEDECK_E2E_KEEP") == "" {
		defer func() { err = errors.Join(err, os.RemoveAll(suite.Dir)) }()
	}
	if err != nil {
		return 1, err
	}
	tapedeck, ground = suite.Binary, suite.Dir
	return m.Run(), nil
}
