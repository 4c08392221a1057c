package faults

import (
	"testing"
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

// play plays one row. Its line is in the table however it ends.
func play(t *testing.T, r row) {
	v := &verdict{row: r}
	s := newStage(t, r)
	defer func() {
		s.close()
		v.notes, v.failures = s.notes, s.faults()
		t.Log(v.line())
		shown.add(*v)
	}()
	if r.set != nil {
		r.set(s)
	}
	s.record()
	r.play(s)
	s.awaitEnd(most)
	s.judge(v)
}

// rows lists every fault, in the table's order.
func rows() []row {
	var all []row
	for _, group := range [][]row{processRows(), workerRows(), redisRows(), storageRows(), streamRows(), diskRows(), clockRows()} {
		all = append(all, group...)
	}
	return all
}
