package recordertest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// On a machine that is busy with something else pages are drawn and played late, and
// a recording shows just that. So what is judged by the clock is judged again
// when others took a part of the processors, and only then.
const (
	busyShare   = 0.10
	judgedAtAll = 3
)

// Judged runs a timed measurement, which must begin anew each time. It fails with the
// complaints of the last try. What a busy machine cannot excuse, try says to t itself.
func Judged(t testing.TB, try func() (complaints []string)) {
	t.Helper()
	for n := 1; ; n++ {
		began := processorTimes()
		complaints := try()
		others := processorTimes().othersSince(began)
		if len(complaints) == 0 {
			return
		}
		if others < busyShare || n == judgedAtAll {
			t.Errorf("others had %.0f %% of the processors:\n%s", 100*others, strings.Join(complaints, "\n"))
			return
		}
		t.Logf("judged again, for others had %.0f %% of the processors:\n%s", 100*others, strings.Join(complaints, "\n"))
	}
}

// Complaints are what assertions say: they take the place of their testing.T.
type Complaints []string

// Errorf adds one.
func (c *Complaints) Errorf(format string, args ...any) {
	*c = append(*c, fmt.Sprintf(format, args...))
}

// times is who used the processors how long, up to a moment.
type times struct {
	at        time.Time
	all, ours time.Duration
}

// processorTimes reads the machine's account and ours. What our commands
// started counts as it runs, and once they have been waited for.
func processorTimes() times {
	now := times{at: time.Now()}
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if syscall.Getrusage(who, &u) == nil {
			now.ours += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	now.ours += servantsTime()
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return now
	}
	line, _, _ := strings.Cut(string(text), "\n")
	// proc(5): cpu user nice system idle iowait irq softirq steal, in hundredths of a second.
	for i, field := range strings.Fields(line) {
		if n, err := strconv.Atoi(field); err == nil && i <= 8 && i != 4 && i != 5 {
			now.all += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return now
}

// servantsTime is what our living children used, and theirs, with what they waited for: as
// much as RUSAGE_CHILDREN has more when they are waited for.
func servantsTime() time.Duration {
	parents, ticks := map[string]string{}, map[string]int{}
	found, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range found {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// proc_pid_stat(5), after the name: the parent is 1; own and children's times are 11 to 14.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		pid := filepath.Base(filepath.Dir(path))
		parents[pid] = fields[1]
		for _, field := range fields[11:15] {
			n, _ := strconv.Atoi(field)
			ticks[pid] += n
		}
	}
	self, all := strconv.Itoa(os.Getpid()), 0
	for pid := range parents {
		for above := parents[pid]; above != ""; above = parents[above] {
			if above == self {
				all += ticks[pid]
				break
			}
		}
	}
	return time.Duration(all) * 10 * time.Millisecond
}

func (now times) othersSince(then times) float64 {
	others := (now.all - then.all) - (now.ours - then.ours)
	whole := now.at.Sub(then.at) * time.Duration(runtime.NumCPU())
	return max(0, float64(others)/float64(whole))
}
