package faults

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"tapedeck/recorder/recordertest"
)

// take is what one file holds. Its times are wall-clock, since the stage's base.
type take struct {
	name    string // as the table shows it
	bytes   int
	length  time.Duration
	picture []time.Duration // that were drawn, each once
	beeps   []time.Duration
	broken  string // what ffprobe says when the file does not play
}

// readTake reads a recording of the page that shows the time.
func readTake(t testing.TB, name, path string, bytes int) take {
	t.Helper()
	f := take{name: name, bytes: bytes}
	out, err := exec.Command("ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", path).CombinedOutput()
	if err != nil {
		f.broken = strings.ReplaceAll(strings.TrimSpace(string(out)), path, name)
		return f
	}
	frames := recordertest.ReadBarcodes(t, path)
	if len(frames) == 0 {
		f.broken = "no picture"
		return f
	}
	f.length = frames[len(frames)-1].PTS + time.Second/fps
	seen := map[int]bool{}
	for _, frame := range frames {
		if frame.Counter >= 0 && !seen[frame.Counter] {
			seen[frame.Counter] = true
			f.picture = append(f.picture, time.Duration(frame.Counter)*time.Millisecond)
		}
	}
	for _, onset := range recordertest.BeepOnsets(t, path) {
		i, _ := slices.BinarySearchFunc(frames, onset, func(frame recordertest.Frame, at time.Duration) int { return int(frame.PTS - at) })
		if i = min(i, len(frames)-1); frames[i].Counter >= 0 {
			f.beeps = append(f.beeps, time.Duration(frames[i].Counter)*time.Millisecond)
		}
	}
	return f
}

// missing sums what was not recorded between two moments, by what there is every so
// often. A gap counts from what is longer than usual.
func missing(at []time.Duration, from, to, every, usual time.Duration) (lost time.Duration) {
	points := []time.Duration{from}
	for _, p := range slices.Sorted(slices.Values(at)) {
		if p > from && p < to {
			points = append(points, p)
		}
	}
	points = append(points, to)
	for i := 1; i < len(points); i++ {
		if gap := points[i] - points[i-1]; gap > usual {
			lost += gap - every
		}
	}
	return lost
}

const (
	everyPicture = time.Second / fps
	everyBeep    = time.Second
	// usualPicture is what a busy machine's page may stand still for.
	usualPicture = 400 * time.Millisecond
	// usualBeep is the most between two beeps, one of which a second is to be heard;
	// at both ends there may be less than one.
	usualBeep = 1600 * time.Millisecond
)

// within counts the pictures between two moments, each once however many files have it.
func within(takes []take, from, to time.Duration) int {
	seen := map[time.Duration]bool{}
	for _, f := range takes {
		for _, p := range f.picture {
			if p >= from && p <= to {
				seen[p] = true
			}
		}
	}
	return len(seen)
}

func pictures(takes []take) (all []time.Duration) {
	for _, f := range takes {
		all = append(all, f.picture...)
	}
	return all
}

func beeps(takes []take) (all []time.Duration) {
	for _, f := range takes {
		all = append(all, f.beeps...)
	}
	return all
}

// overlap is how much of the takes is in more than one of them.
func overlap(takes []take) time.Duration {
	var twice time.Duration
	for i, a := range takes {
		for _, b := range takes[i+1:] {
			if len(a.picture) == 0 || len(b.picture) == 0 {
				continue
			}
			from := max(slices.Min(a.picture), slices.Min(b.picture))
			to := min(slices.Max(a.picture), slices.Max(b.picture))
			twice += max(0, to-from)
		}
	}
	return twice
}
