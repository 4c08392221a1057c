package faults

import (
	"testing"

	"tapedeck/recorder/recordertest"
)

// TestFaults plays the rows, as many at a time as -parallel allows.
func TestFaults(t *testing.T) {
	for _, r := range rows() {
		if !r.short && !long() {
			continue
		}
		t.Run(slug(r.name), func(t *testing.T) {
			t.Parallel()
			if r.needs != nil {
				if why := r.needs(); why != "" {
					shown.add(verdict{row: r, skipped: why})
					t.Skip(why)
				}
			}
			play(t, r)
		})
	}
}

// play plays one row, again where others took the processors and it was late. Its line is
// in the table however it ends.
func play(t *testing.T, r row) {
	var last *verdict
	defer func() {
		if last != nil {
			shown.add(*last)
		}
	}()
	recordertest.Judged(t, func() []string {
		last = &verdict{row: r}
		return playOnce(t, last)
	})
}

// playOnce gives what is wrong with a row that a busy machine can excuse.
func playOnce(t *testing.T, v *verdict) []string {
	s := newStage(t, v.row)
	defer func() {
		s.close()
		v.notes, v.failures = s.notes, append(s.faults(), s.late...)
		t.Log(v.line())
	}()
	if s.row.set != nil {
		s.row.set(s)
	}
	s.record()
	s.row.play(s)
	s.awaitEnd(most)
	s.judge(v)
	return s.late
}

// rows lists every fault, in the table's order.
func rows() []row {
	var all []row
	for _, group := range [][]row{processRows(), workerRows(), redisRows(), storageRows(), streamRows(), diskRows(), clockRows()} {
		all = append(all, group...)
	}
	return all
}
