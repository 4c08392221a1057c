package faults

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// verdict is a row's line in the table.
type verdict struct {
	row             row
	kept, spooled   int // frames: in storages, and only in spools
	due             int
	lost, lostSound time.Duration
	stored          []take
	state           string
	available       time.Duration // from stop to the end, with everything delivered
	left            []string
	notes, failures []string
	skipped         string
}

// judge looks at what the row left, once the job has ended.
func (s *stage) judge(v *verdict) {
	s.Helper()
	rec := s.settle()
	text, _ := json.MarshalIndent(rec, "", " ")
	require.NoError(s, os.WriteFile(filepath.Join(s.logs, "job.json"), text, 0o600))
	v.state = told(rec)
	v.available = s.ended.Sub(s.stopped)
	s.judgeEnd(rec)
	s.judgeMedia(v)
	s.endNodes()
	v.left = append(v.left, s.unexplained(rec)...)
	v.left = append(v.left, s.leftovers()...)
	for _, what := range v.left {
		s.Errorf("left over: %s", what)
	}
}

// settle waits until no node has anything left to do for the job: a worker that
// comes back delivers and amends after the job's end.
func (s *stage) settle() recorder.Recording {
	s.Helper()
	deadline := time.Now().Add(45 * time.Second)
	for len(s.spooled("task.json")) > 0 && time.Now().Before(deadline) {
		time.Sleep(50 * time.Millisecond)
	}
	return s.state()
}

// told is the job's end in few words.
func told(rec recorder.Recording) string {
	text := fmt.Sprintf("%s, %s", rec.Status, rec.EndReason)
	if rec.Error != nil {
		text += fmt.Sprintf(" (%s)", rec.Error.Code)
	}
	if rec.Attempt > 1 || rec.Part > 1 {
		text += fmt.Sprintf("; part %d, attempt %d, %s", rec.Part, rec.Attempt, rec.Worker)
	}
	var met []string
	for _, i := range rec.Incidents {
		met = append(met, string(i.Reason))
	}
	if len(met) > 0 {
		text += "; incidents: " + strings.Join(met, ", ")
	}
	return text
}

func (s *stage) judgeEnd(rec recorder.Recording) {
	s.Helper()
	if !rec.Status.Ended() || rec.EndReason == "" {
		s.Errorf("the job has no end: %s %q", rec.Status, rec.EndReason)
	}
	ends := s.row.ends
	if len(ends) == 0 {
		ends = []recorder.EndReason{recorder.EndStopped}
	}
	if !slices.Contains(ends, rec.EndReason) {
		s.Errorf("the job ended as %s %s, not as %v", rec.Status, rec.EndReason, ends)
	}
	// Of a lost worker's file nobody may have known at the end; it is judged by the media.
	absent := s.row.lost && rec.Error != nil && rec.Error.Code == recorder.CodeWorkerLost
	if rec.EndReason == recorder.EndStopped && rec.Status != recorder.StatusComplete && !absent {
		s.Errorf("the job was stopped and ended as %s: %v", rec.Status, rec.Error)
	}
	messages, err := s.client.XRange(s.Context(), "{tapedeck}:events", "-", "+").Result()
	require.NoError(s, err)
	n := 0
	for _, m := range messages {
		if m.Values["id"] == s.id && m.Values["type"] == string(recorder.EventEnded) {
			n++
		}
	}
	if n != 1 {
		s.Errorf("the job ended %d times", n)
	}
}

// judgeMedia reads everything that was delivered or is still in a spool.
func (s *stage) judgeMedia(v *verdict) {
	s.Helper()
	var spooled []take
	for _, key := range s.s3.Keys() {
		if path.Ext(key) == ".mp4" {
			v.stored = append(v.stored, s.read(key, s.s3.Get(key)))
		}
	}
	for _, file := range s.files(filepath.Join(s.dir, "backup")) {
		if filepath.Ext(file) == ".mp4" {
			data, err := os.ReadFile(file)
			require.NoError(s, err)
			v.stored = append(v.stored, s.read("backup/"+filepath.Base(file), data))
		}
	}
	for _, file := range s.spooled("media-*.mp4") {
		data, err := os.ReadFile(file)
		require.NoError(s, err)
		if len(data) > 0 {
			spooled = append(spooled, s.read("spool/"+filepath.Base(filepath.Dir(file)), data))
		}
	}
	for _, f := range append(slices.Clone(v.stored), spooled...) {
		if f.broken != "" {
			s.Errorf("%s does not play: %s", f.name, f.broken)
		}
	}
	from, to := s.began.Sub(s.base), s.stopped.Sub(s.base)
	v.due = int((to - from) * fps / time.Second)
	v.kept = within(v.stored, from, to)
	all := append(slices.Clone(v.stored), spooled...)
	v.spooled = within(all, from, to) - v.kept
	v.lost = missing(pictures(all), from, to, everyPicture, usualPicture)
	v.lostSound = missing(beeps(all), from, to, everyBeep, usualBeep)
	bound := max(s.row.bound, 10*time.Second)
	// Beeps tell to a second.
	if v.lost > bound || v.lostSound > bound+everyBeep {
		s.complain("lost: %.1f s of picture, %.1f s of sound; at most %.0f s may be", v.lost.Seconds(), v.lostSound.Seconds(), bound.Seconds())
	}
	if twice := overlap(all); twice > time.Second {
		s.remark("%.1f s are in two files", twice.Seconds())
	}
}

func (s *stage) read(name string, data []byte) take {
	s.Helper()
	file := filepath.Join(s.logs, strings.ReplaceAll(name, "/", "-"))
	if filepath.Ext(file) != ".mp4" {
		file += ".mp4"
	}
	require.NoError(s, os.WriteFile(file, data, 0o600))
	return readTake(s, name, file, len(data))
}

// files lists those below a directory.
func (s *stage) files(dir string) (all []string) {
	_ = filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, file)
		}
		return nil
	})
	return all
}

// spooled lists files of this name in the spools that are not lost.
func (s *stage) spooled(name string) (all []string) {
	for _, n := range []*node{s.w1, s.w2} {
		if !n.lost {
			found, _ := filepath.Glob(filepath.Join(n.spool, "*", name))
			all = append(all, found...)
		}
	}
	return all
}

// endNodes ends the workers as a shutdown does, and keeps the jobs' logs.
func (s *stage) endNodes() {
	s.Helper()
	for _, n := range []*node{s.w1, s.w2} {
		if n.running() {
			n.signal(syscall.SIGTERM)
		}
	}
	for _, n := range []*node{s.w1, s.w2} {
		if n.cmd == nil {
			continue
		}
		n.ended(30 * time.Second)
		log, err := os.ReadFile(filepath.Join(s.logs, n.id+".log"))
		require.NoError(s, err)
		for _, bad := range []string{"panic:", "SIGSEGV", "DATA RACE"} {
			if bytes.Contains(log, []byte(bad)) {
				s.Errorf("%s: %s, see %s.log", n.id, bad, n.id)
			}
		}
	}
}

// unexplained lists objects that the job's result does not name, and uploads that
// are left open.
func (s *stage) unexplained(rec recorder.Recording) (left []string) {
	s.Helper()
	named := map[string]bool{}
	name := func(files []recorder.FileResult) {
		for _, f := range files {
			named[f.Filename], named[f.Filename+".json"] = true, true
		}
	}
	name(rec.Files)
	for _, p := range rec.Earlier {
		name(p.Files)
	}
	for _, key := range s.s3.Keys() {
		manifest := path.Ext(key) == ".json" && strings.HasPrefix(path.Base(key), rec.ID)
		if !named[key] && !manifest {
			left = append(left, "object "+key)
		}
	}
	if n := s.s3.Uploads(); n > 0 {
		left = append(left, fmt.Sprintf("%d open multipart uploads", n))
	}
	return left
}

// leftovers lists processes, displays, sessions and spool entries that are still
// there a while after the workers have ended.
func (s *stage) leftovers() []string {
	s.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		left := s.living()
		if len(left) == 0 || time.Now().After(deadline) {
			for _, file := range append(s.spooled("task.json"), s.spooled("media-*.mp4")...) {
				rel, _ := filepath.Rel(s.dir, file)
				left = append(left, rel)
			}
			return left
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (s *stage) living() (left []string) {
	alive := map[string]bool{}
	for p := range s.seen {
		if p.Alive() {
			alive["process "+p.String()] = true
		}
	}
	for _, p := range recordertest.Processes(s.TB, s.tmp) {
		alive["process "+p.String()] = true
	}
	for p := range alive {
		left = append(left, p)
	}
	for display := range s.displays {
		left = append(left, recordertest.StaleDisplay(s.TB, display)...)
	}
	sessions, _ := filepath.Glob(filepath.Join(s.tmp, "*", "tapedeck-*", "s-*"))
	return append(left, sessions...)
}
