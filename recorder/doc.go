// Package recorder is the domain of Tapedeck: what a job is, what becomes of
// it, and who decides. It is pure Go: no cgo, no Redis, no Chrome, no S3.
//
// # One job's way
//
// A control plane enqueues a Job. A Worker with a free slot claims it as a
// Lease (Queue), makes an entry in the Spool and has a Runner make the media:
// Recorder in this process, recorder/child in one of its own. Recorder opens a
// Session (display, sound, browser), starts a Pipeline on it, loads the page,
// waits for START_RECORDING (for a room: first until it exists, see Room), lets the pipeline begin, and follows the page,
// the commands and the limits until something ends it. The Worker then delivers
// the entry's files and finishes the lease with what Conclude says. An attempt of
// which nothing was recorded, and that another one may better, ends in Release
// instead: sequelOf decides that, and fitness whether this worker is to blame.
//
//	queued ──> starting ──> active ──> ending ──> complete
//
// All that may follow (given back leads to queued, a takeover to starting):
//
//	queued:   starting, aborted, failed
//	starting: queued, starting, active, ending, aborted, failed
//	active:   starting, ending, failed
//	ending:   complete, failed, aborted, limit_reached
//
// A job that is given back goes from starting to queued: with nothing recorded
// there is nothing to end. A recording is ending from its last frame until every file is verified at its
// destination; only then does it complete.
//
// # Who imports whom
//
// Imports run one way. cmd may import all; pipeline and every recorder/*
// package import this package and never each other; this package imports none
// of ours. The interfaces in seams.go are declared here, where they are used,
// and implemented there. golangci-lint's depguard enforces it.
package recorder
