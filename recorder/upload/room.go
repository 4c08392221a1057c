package upload

import (
	"golang.org/x/sys/unix"

	"tapedeck/recorder"
)

var _ recorder.Gauge = (*Spool)(nil)

// Room implements recorder.Gauge: what this user may still write on the spool's
// file system.
func (s *Spool) Room() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(s.dir, &st); err != nil {
		return 0, spoolError(err)
	}
	return int64(st.Bavail) * st.Bsize, nil //nolint:gosec // no disk has 8 EiB
}
