package faults

import (
	"os"
	"path/filepath"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder/recordertest"
)

// clockRows set the clock of Redis, by which leases are measured.
func clockRows() []row {
	jump := func(by string) func(*stage) {
		return func(s *stage) {
			s.at(breakAt)
			s.setClock(by)
			s.stopAt(stopAt)
		}
	}
	return []row{
		{name: "the clock jumps ahead", done: "Redis's by an hour", needs: noFaketime, play: jump("+3600")},
		{name: "the clock jumps back", done: "Redis's by an hour", needs: noFaketime, play: jump("-3600")},
		{name: "the clock jumps twice", done: "Redis's an hour ahead, and back 6 s later", needs: noFaketime, play: func(s *stage) {
			s.at(breakAt)
			s.setClock("+3600")
			s.at(breakAt + 6*time.Second)
			s.setClock("+0")
			s.stopAt(stopAt)
		}},
	}
}

func libraries() (faketime, libc string) {
	for name, pattern := range map[*string]string{&faketime: "/usr/lib/*/faketime/libfaketime.so.1", &libc: "/lib/*/libc.so.6"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			*name = found[0]
		}
	}
	return faketime, libc
}

func noFaketime() string {
	if faketime, libc := libraries(); faketime == "" || libc == "" {
		return "libfaketime is not installed"
	}
	return ""
}

// fakeClock starts Redis with a clock that can be set. Its own allocator (jemalloc) asks
// for the time before libfaketime can answer, so libc's takes its place.
func (s *stage) fakeClock() recordertest.RedisOption {
	s.Helper()
	s.clock = filepath.Join(s.dir, "clock")
	require.NoError(s, os.WriteFile(s.clock, []byte("+0\n"), 0o600))
	faketime, libc := libraries()
	return recordertest.WithRedisEnv("LD_PRELOAD="+faketime+":"+libc, "FAKETIME_TIMESTAMP_FILE="+s.clock,
		"FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1")
}

// setClock sets Redis's clock off by so many seconds.
func (s *stage) setClock(off string) {
	s.Helper()
	next := s.clock + ".next"
	require.NoError(s, os.WriteFile(next, []byte(off+"\n"), 0o600))
	require.NoError(s, os.Rename(next, s.clock))
}
