package faults

import (
	"syscall"
	"time"

	"github.com/stretchr/testify/require"
)

// The moments of most rows, counted from the first frame.
var breakAt, stopAt = moments()

// moments are nearer in the short form: what a row may lose is 10 s, so whether it goes on
// in time is known 12 s after the fault.
func moments() (breaks, stops time.Duration) {
	if long() {
		return 8 * time.Second, 24 * time.Second
	}
	return 5 * time.Second, 17 * time.Second
}

// processRows kill or stop what makes the picture, the sound and the file.
func processRows() []row {
	hit := func(kind string, sig syscall.Signal) func(*stage) {
		return func(s *stage) {
			s.at(breakAt)
			s.w1.hit(kind, sig)
			s.stopAt(stopAt)
		}
	}
	return []row{
		{name: "Chrome", done: "kill -9", short: true, play: hit("chrome", syscall.SIGKILL)},
		{name: "Chrome's tab", done: "kill -9 of its renderer", play: func(s *stage) {
			s.at(breakAt - time.Second)
			p := s.w1.renderer()
			s.at(breakAt)
			require.NoError(s, syscall.Kill(p.PID, syscall.SIGKILL))
			s.stopAt(stopAt)
		}},
		{name: "Xvfb", done: "kill -9", short: true, play: hit("xvfb", syscall.SIGKILL)},
		{name: "Xvfb hangs", done: "SIGSTOP, for good", play: hit("xvfb", syscall.SIGSTOP)},
		{name: "PulseAudio", done: "kill -9", play: hit("pulse", syscall.SIGKILL)},
		{name: "PulseAudio hangs", done: "SIGSTOP, for good", play: hit("pulse", syscall.SIGSTOP)},
		{name: "the recording's process", done: "kill -9 of the child", short: true, play: hit("child", syscall.SIGKILL)},
	}
}
