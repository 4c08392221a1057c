package faults

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// table collects the rows' verdicts in whatever order they come.
type table struct {
	mu    sync.Mutex
	lines []verdict
}

func (t *table) add(v verdict) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, v)
}

// write puts the page where it is asked for; a run without rows writes none.
func (t *table) write(paths ...string) error {
	if len(t.lines) == 0 {
		return nil
	}
	order := map[string]int{}
	for i, r := range rows() {
		order[r.name] = i
	}
	slices.SortFunc(t.lines, func(a, b verdict) int { return cmp.Compare(order[a.row.name], order[b.row.name]) })
	page := t.page()
	for _, path := range paths {
		if path == "" {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(page), 0o644); err != nil { //nolint:gosec // it is documentation
			return err
		}
	}
	return nil
}

const preface = `# What happens when something breaks

<!-- Written by make test-faults: change test/faults, not this page. -->

Each row is a recording of its own by the built binary, with real parts: two workers (w1 records, w2 is free), Redis, an
S3 server (versitygw), nginx-rtmp, Chrome. Between each worker and each server is a network that can be cut, slowed or
made to refuse (toxiproxy). The page shows the time of day in every frame and beeps once a second; so what is missing is
measured in what was delivered, whatever file it is in. The fault comes about 8 s after the first frame; unless the row says
otherwise the job is stopped after about 24 s, and everything that was broken is whole again by then.

- **frames**: different pictures that were delivered, of those that the time from the first frame to the stop has room for
  (15 a second); more where two workers recorded at a time. "+ n" are only in a spool.
- **lost**: seconds of picture and of sound that no file has. Gaps below 0.4 s (picture) and 1.6 s (sound) do not
  count. Sound is told by its beeps, so to a second.
- **in storage**: what was delivered; all of it plays.
- **available**: from the stop until the job has ended with everything delivered.
- **left**: processes, X displays, spool entries, open multipart uploads, objects that the job's result does not name.

A row fails when more than 10 s are lost (but for rows that say why), when the job has no end or another one than
the fault explains, when a worker panics, and when anything is left.

`

func (t *table) page() string {
	var b strings.Builder
	b.WriteString(preface)
	failed := 0
	for _, v := range t.lines {
		if len(v.failures) > 0 {
			failed++
		}
	}
	fmt.Fprintf(&b, "Command: `%s`. Machine: %s. %d rows, %d failed.\n\n", cmp.Or(os.Getenv("TAPEDECK_FAULTS_COMMAND"), "go test ./test/faults"), machine(), len(t.lines), failed)
	b.WriteString("| what breaks | what was done | frames | lost: picture, sound | in storage | end | available | left | |\n")
	b.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, v := range t.lines {
		b.WriteString(v.line())
	}
	if failed > 0 {
		b.WriteString("\n## Rows that failed\n\n")
		for _, v := range t.lines {
			for _, why := range v.failures {
				fmt.Fprintf(&b, "- **%s**: %s\n", v.row.name, why)
			}
		}
	}
	return b.String()
}

func (v verdict) line() string {
	if v.skipped != "" {
		return fmt.Sprintf("| %s | not played: %s | | | | | | | |\n", v.row.name, v.skipped)
	}
	done := v.row.done
	if v.row.why != "" {
		done += "; " + v.row.why
	}
	frames := fmt.Sprintf("%d / %d", v.kept, v.due)
	if v.spooled > 0 {
		frames = fmt.Sprintf("%d + %d / %d", v.kept, v.spooled, v.due)
	}
	var files []string
	for _, f := range v.stored {
		if f.broken != "" {
			files = append(files, fmt.Sprintf("%s %s (does not play)", f.name, size(f.bytes)))
			continue
		}
		files = append(files, fmt.Sprintf("%s %s %.1f s", f.name, size(f.bytes), f.length.Seconds()))
	}
	end := v.state
	if len(v.notes) > 0 {
		end += "; " + strings.Join(v.notes, "; ")
	}
	verdict := "ok"
	if len(v.failures) > 0 {
		verdict = "**failed**"
	}
	left := "nothing"
	if len(v.left) > 0 {
		left = strings.Join(v.left, ", ")
	}
	return fmt.Sprintf("| %s | %s | %s | %.1f s, %.1f s | %s | %s | %.1f s | %s | %s |\n",
		v.row.name, done, frames, v.lost.Seconds(), v.lostSound.Seconds(), strings.Join(files, "<br>"), end, v.available.Seconds(), left, verdict)
}

func size(n int) string {
	if n < 1e6 {
		return fmt.Sprintf("%d kB", n/1000)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

// machine says what the figures were taken on.
func machine() string {
	model, memory := runtime.GOARCH, ""
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kB int
		if _, err := fmt.Sscanf(string(text), "MemTotal: %d kB", &kB); err == nil {
			memory = fmt.Sprintf(", %d GB", (kB+1<<19)>>20)
		}
	}
	kernel, _ := exec.Command("uname", "-sr").Output()
	return fmt.Sprintf("%d x %s%s, %s", runtime.NumCPU(), model, memory, strings.TrimSpace(string(kernel)))
}
