package capture

import (
	"bytes"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// sessionMark is in the environment of every process of a session.
func sessionMark(dir string) string { return "TAPEDECK_SESSION=" + dir }

// endStrays kills what left the process groups and is still there: Chrome's two
// crash handlers detach themselves and end a little after Chrome. (With
// --disable-crashpad-for-testing there are none, but then Chromium 156 confuses
// the descriptors of its DevTools pipes and its network service crashes.) Those of
// the processes to spare, with their groups, stay.
func endStrays(dir string, spare ...*process) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return
	}
	var strays []unix.PollFd
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || !marked(pid, dir) || slices.ContainsFunc(spare, func(p *process) bool { return p.has(pid) }) {
			continue
		}
		handle, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		// Between the two looks the id may have become somebody else's.
		if marked(pid, dir) {
			_ = unix.PidfdSendSignal(handle, unix.SIGKILL, nil, 0)
		}
		strays = append(strays, unix.PollFd{Fd: int32(handle), Events: unix.POLLIN})
	}
	awaitExits(strays, killWait)
}

func marked(pid int, dir string) bool {
	environment, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	return err == nil && bytes.Contains(environment, []byte(sessionMark(dir)+"\x00"))
}
