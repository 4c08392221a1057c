package main

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Size is a number of bytes, written with its unit: 2GiB, 500MB, 0.
type Size int64

// sizeDefault is a Size that nobody set: what it is depends on the disk.
const sizeDefault Size = -1

// UnmarshalText reads a size of a configuration file or a variable.
func (s *Size) UnmarshalText(text []byte) error {
	if strings.TrimSpace(string(text)) == "0" {
		*s = 0
		return nil
	}
	n, err := parseSize(string(text))
	if err != nil {
		return fmt.Errorf("%q: %w, or 0", text, err)
	}
	*s = Size(n)
	return nil
}

// UnmarshalYAML is for numbers without a unit, which YAML does not take for text.
func (s *Size) UnmarshalYAML(text []byte) error {
	return s.UnmarshalText([]byte(strings.Trim(strings.TrimSpace(string(text)), `"'`)))
}

func (s Size) String() string {
	switch {
	case s == sizeDefault:
		return "default"
	case s > 0 && s%(1<<30) == 0:
		return fmt.Sprintf("%dGiB", s>>30)
	case s > 0 && s%(1<<20) == 0:
		return fmt.Sprintf("%dMiB", s>>20)
	default:
		return fmt.Sprintf("%d", int64(s))
	}
}

// Set and Type make it a flag's value.
func (s *Size) Set(text string) error { return s.UnmarshalText([]byte(text)) }

// Type names it in a flag's usage.
func (s *Size) Type() string { return "size" }

// The watermarks of a disk on which they are no large part.
const (
	defaultMinFree = 2 << 30   // an hour of a 1080p recording
	defaultReserve = 512 << 20 // what many recordings write until they are ended one by one
	// minFreeShare is the part of a small disk that the first may be.
	minFreeShare = 20
)

// validateDisk checks the watermarks and what is told by age.
func (c WorkerConfig) validateDisk(wrong func(field string, value any, remedy string)) {
	if low, high := c.SpoolReserve, c.SpoolMinFree; high > 0 && low >= high {
		wrong("worker.spool_reserve", low, fmt.Sprintf("must be less than worker.spool_min_free (%s): no new job is taken before running ones are ended", high))
	}
	if c.SpoolOrphanAge <= 0 {
		wrong("worker.spool_orphan_age", c.SpoolOrphanAge, "use a duration such as 1h")
	}
}

// watermarks gives what the spool's disk must have free for a new job, and for running
// ones to go on: 0 is off.
func (c WorkerConfig) watermarks(disk int64) (minFree, reserve int64) {
	minFree, reserve = int64(c.SpoolMinFree), int64(c.SpoolReserve)
	if c.SpoolMinFree == sizeDefault {
		minFree = max(min(defaultMinFree, disk/minFreeShare), 2*reserve)
	}
	if c.SpoolReserve == sizeDefault {
		reserve = defaultReserve
		if minFree > 0 {
			reserve = min(reserve, minFree/4)
		}
	}
	return minFree, reserve
}

// writable says why nothing can be written into a directory.
func writable(dir string) error {
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("spool %s: cannot be written: %w", dir, err)
	}
	return nil
}

// diskOf gives the size and the free bytes of a directory's disk.
func diskOf(dir string) (size, free int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("spool %s: %w", dir, err)
	}
	return int64(st.Blocks) * st.Bsize, int64(st.Bavail) * st.Bsize, nil
}

// lowDisk says what a worker does with so much room left; "" is all it can.
func (c WorkerConfig) lowDisk(size, free int64) string {
	minFree, reserve := c.watermarks(size)
	switch {
	case reserve > 0 && free < reserve:
		return fmt.Sprintf("%s free is below worker.spool_reserve (%s): the largest recordings are ended", humanBytes(free), humanBytes(reserve))
	case minFree > 0 && free < minFree:
		return fmt.Sprintf("%s free is below worker.spool_min_free (%s): no new jobs are taken", humanBytes(free), humanBytes(minFree))
	default:
		return ""
	}
}

// defaultOrphanAge is longer than any upload that goes on pauses.
const defaultOrphanAge = time.Hour
