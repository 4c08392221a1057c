//go:build bench

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Seconds of CPU by who used them.
type usage map[string]float64

// The rows of the table.
const (
	chrome = "Chrome"
	x264   = "x264"
	xvfb   = "Xvfb"
	pulse  = "PulseAudio"
	ours   = "tapedeck: Go, capture, convert, mux, AAC"
)

const ticksPerSecond = 100 // USER_HZ, which Linux fixes for user space

// measure sums the CPU that root and everything it started has used so far.
// x264's threads carry the name of the appsrc that feeds them (pipeline/encode.go).
func measure(root int) (usage, error) {
	u := usage{}
	pids, err := descendants(root)
	if err != nil {
		return nil, err
	}
	for _, pid := range pids {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if err != nil {
			continue // it ended
		}
		switch name := filepath.Base(exe); {
		case strings.Contains(name, "chrom"):
			u[chrome] += processSeconds(pid)
		case name == "Xvfb":
			u[xvfb] += processSeconds(pid)
		case name == "pulseaudio":
			u[pulse] += processSeconds(pid)
		default:
			encoder := threadSeconds(pid, "h264:")
			u[x264] += encoder
			u[ours] += processSeconds(pid) - encoder
		}
	}
	return u, nil
}

// descendants lists root and every process below it.
func descendants(root int) ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, path := range stats {
		fields, err := readStat(path)
		if err != nil {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		parent, _ := strconv.Atoi(fields[1])
		children[parent] = append(children[parent], pid)
	}
	all := []int{root}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all, nil
}

// readStat gives the fields of a stat file from the third (state) on; the second,
// the name, may hold blanks.
func readStat(path string) ([]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(fields) < 13 {
		return nil, fmt.Errorf("%s: %d fields", path, len(fields))
	}
	return fields, nil
}

func processSeconds(pid int) float64 { return statSeconds(fmt.Sprintf("/proc/%d/stat", pid)) }

func statSeconds(path string) float64 {
	fields, err := readStat(path)
	if err != nil {
		return 0
	}
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / ticksPerSecond
}

// threadSeconds sums the threads whose name begins with prefix.
func threadSeconds(pid int, prefix string) float64 {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid)) // the pattern is valid
	sum := 0.0
	for _, task := range tasks {
		name, err := os.ReadFile(filepath.Join(task, "comm"))
		if err == nil && strings.HasPrefix(string(name), prefix) {
			sum += statSeconds(filepath.Join(task, "stat"))
		}
	}
	return sum
}

func (u usage) since(before usage) usage {
	d := usage{}
	for k, v := range u {
		d[k] = v - before[k]
	}
	return d
}
