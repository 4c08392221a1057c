package recordertest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Process is one process of this machine, told from a later one of the same id
// by its start.
type Process struct {
	PID     int
	Parent  int
	Group   int
	Command string

	start string
	state byte
}

func (p Process) String() string { return fmt.Sprintf("%d %s", p.PID, p.Command) }

// Alive reports whether it still runs; a zombie does not.
func (p Process) Alive() bool {
	now, ok := readProcess(p.PID)
	return ok && now.start == p.start && now.state != 'Z' && now.state != 'X'
}

// Processes lists the living processes whose environment or command line holds
// the marker, with their descendants and everybody in their process groups:
// Chrome's children overwrite their environment. The caller itself is left out, and who is
// only in its group: that is everybody's whom the caller, or who started it, started so.
func Processes(t testing.TB, marker string) []Process {
	t.Helper()
	all := allProcesses(t)
	family, groups := map[int]bool{}, map[int]bool{}
	for _, p := range all {
		if p.PID != os.Getpid() && mentions(p.PID, marker) {
			family[p.PID] = true
			groups[p.Group] = true
		}
	}
	delete(groups, syscall.Getpgrp())
	for grown := true; grown; {
		grown = false
		for _, p := range all {
			if p.PID != os.Getpid() && !family[p.PID] && (groups[p.Group] || family[p.Parent]) {
				family[p.PID], grown = true, true
			}
		}
	}
	var found []Process
	for _, p := range all {
		if family[p.PID] {
			found = append(found, p)
		}
	}
	return found
}

func allProcesses(t testing.TB) []Process {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var all []Process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, ok := readProcess(pid); ok && p.state != 'Z' && p.state != 'X' {
			all = append(all, p)
		}
	}
	return all
}

// readProcess reads /proc/PID/stat (proc(5)). The name in it may hold blanks and
// parentheses, so the fields count from the last one.
func readProcess(pid int) (Process, bool) {
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return Process{}, false
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const state, parent, group, start = 0, 1, 2, 19
	if len(fields) <= start {
		return Process{}, false
	}
	p := Process{PID: pid, start: fields[start], state: fields[state][0]}
	p.Parent, _ = strconv.Atoi(fields[parent])
	p.Group, _ = strconv.Atoi(fields[group])
	command, _ := os.ReadFile(dir + "/cmdline")
	p.Command = strings.TrimSpace(strings.ReplaceAll(string(command), "\x00", " "))
	return p, true
}

func mentions(pid int, marker string) bool {
	dir := "/proc/" + strconv.Itoa(pid)
	for _, name := range []string{"/environ", "/cmdline"} {
		if text, err := os.ReadFile(dir + name); err == nil && bytes.Contains(text, []byte(marker)) {
			return true
		}
	}
	return false
}

// CommandLines gives the command lines and environments of processes, for tests
// that look for secrets in them.
func CommandLines(processes []Process) string {
	var text strings.Builder
	for _, p := range processes {
		fmt.Fprintln(&text, p.Command)
		environment, _ := os.ReadFile("/proc/" + strconv.Itoa(p.PID) + "/environ")
		text.Write(environment)
	}
	return text.String()
}

// ProcessorTicks is how long a process used the processors, in hundredths of a second.
func ProcessorTicks(pid int) int {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return user + system
}

// Renderer finds the process that draws a page, which must not stand still: of Chrome's
// renderers, some of which are Chrome's own and busy only when they start, the one that goes
// on to use the processor. look gives the processes there are.
func Renderer(t testing.TB, look func() []Process) Process {
	t.Helper()
	const awhile = 15 // hundredths of a second
	before := map[int]int{}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var first Process
		most, next := 0, 0
		for _, p := range look() {
			if !strings.Contains(p.Command, "--type=renderer") {
				continue
			}
			used := ProcessorTicks(p.PID)
			if _, known := before[p.PID]; !known {
				before[p.PID] = used
			}
			if grown := used - before[p.PID]; grown > most {
				first, most, next = p, grown, most
			} else {
				next = max(next, grown)
			}
		}
		if most >= awhile && most >= 3*next {
			return first
		}
	}
	t.Fatal("no renderer draws")
	return Process{}
}

// DisplayOf gives the number of the X display a process listens for. With
// -displayfd Xvfb makes no lock, so its socket tells (proc_net(5): the inode is
// the seventh column, the path the eighth).
func DisplayOf(pid int) string {
	known, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return ""
	}
	sockets := map[string]string{}
	for line := range strings.Lines(string(known)) {
		f := strings.Fields(line)
		if len(f) != 8 {
			continue
		}
		if number, ok := strings.CutPrefix(f[7], "/tmp/.X11-unix/X"); ok {
			sockets["socket:["+f[6]+"]"] = number
		}
	}
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, file := range files {
		if target, err := os.Readlink(file); err == nil && sockets[target] != "" {
			return sockets[target]
		}
	}
	return ""
}

// StaleDisplay lists what an X server left behind: its socket when nobody
// listens on it, and its lock when that process is gone.
func StaleDisplay(t testing.TB, display string) []string {
	t.Helper()
	number := strings.TrimPrefix(display, ":")
	socket, lock := "/tmp/.X11-unix/X"+number, "/tmp/.X"+number+"-lock"
	var stale []string
	if _, err := os.Lstat(socket); err == nil {
		listening, err := os.ReadFile("/proc/net/unix")
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(listening, []byte(" "+socket+"\n")) {
			stale = append(stale, socket)
		}
	}
	if text, err := os.ReadFile(lock); err == nil {
		pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		if _, alive := readProcess(pid); !alive {
			stale = append(stale, lock)
		}
	}
	return stale
}

// AwaitNone waits until left gives nothing, and fails the test with what is
// left when that takes too long.
func AwaitNone[T any](t testing.TB, limit time.Duration, left func() []T) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(limit)
	for {
		rest := left()
		if len(rest) == 0 {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("after %s there still is: %v", limit, rest)
		}
	}
}

// Living gives those of the processes that still run, for AwaitNone.
func Living(processes []Process) func() []Process {
	return func() []Process {
		var alive []Process
		for _, p := range processes {
			if p.Alive() {
				alive = append(alive, p)
			}
		}
		return alive
	}
}
