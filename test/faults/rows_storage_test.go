package faults

import (
	"net/http"
	"path/filepath"
	"time"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// storageRows break S3 in the ways it breaks.
func storageRows() []row {
	return []row{
		{name: "S3", done: "kill -9, started again 8 s later", short: true, set: func(s *stage) { s.dense(3000) }, play: func(s *stage) {
			s.at(breakAt)
			s.s3.Kill()
			s.at(breakAt + 8*time.Second)
			s.s3.Restart()
			s.stopAt(stopAt)
		}},
		{name: "S3 is slow", done: "50 kB/s for 12 s, of a recording that makes 375", set: func(s *stage) { s.dense(3000) }, play: func(s *stage) {
			s.at(breakAt)
			s.w1.store.slow("50")
			s.at(breakAt + 12*time.Second)
			s.w1.store.heal()
			s.stopAt(stopAt)
		}},
		{name: "S3 is unwell", done: "answers 500 to every third request, all the time", set: func(s *stage) {
			s.dense(denseRate)
			s.each(func(n *node) {
				n.faults.Fault(func(i int, _ *http.Request) recordertest.S3Fault {
					if i%3 == 2 {
						return recordertest.S3Fault{Status: http.StatusInternalServerError, Code: "InternalError"}
					}
					return recordertest.S3Fault{}
				})
			})
		}, play: func(s *stage) { s.stopAt(stopAt) }},
		{name: "S3 refuses", done: "403 to every upload, until 5 s after the stop", set: func(s *stage) { s.dense(denseRate) }, play: func(s *stage) {
			s.at(breakAt)
			s.forbid()
			s.expectTold(15 * time.Second)
			s.stopAt(stopAt)
			s.at(stopAt + 5*time.Second)
			s.each(func(n *node) { n.faults.Fault(nil) })
		}},
		{name: "S3 refuses, with a backup", done: "403 to every upload from then on", set: func(s *stage) {
			s.dense(denseRate)
			s.backup()
		}, play: func(s *stage) {
			s.at(breakAt)
			s.forbid()
			s.stopAt(stopAt)
		}},
		{name: "no bucket", done: "the bucket is made 5 s after the stop", set: func(s *stage) { s.misplace() }, play: func(s *stage) {
			s.expectTold(15 * time.Second)
			s.stopAt(stopAt)
			s.at(stopAt + 5*time.Second)
			s.s3.MakeBucket()
		}},
		{name: "no bucket, with a backup", done: "the bucket is never made", set: func(s *stage) {
			s.misplace()
			s.backup()
		}, play: func(s *stage) {
			s.stopAt(stopAt)
			s.awaitEnd(most)
			s.s3.MakeBucket() // to be looked at
		}},
	}
}

func (s *stage) each(do func(*node)) {
	for _, n := range []*node{s.w1, s.w2} {
		do(n)
	}
}

// forbid refuses what writes to the bucket; what was begun may be aborted.
func (s *stage) forbid() {
	s.each(func(n *node) {
		n.faults.Fault(func(_ int, r *http.Request) recordertest.S3Fault {
			if r.Method == http.MethodPut || r.Method == http.MethodPost {
				return recordertest.S3Fault{Status: http.StatusForbidden, Code: "AccessDenied"}
			}
			return recordertest.S3Fault{}
		})
	})
}

// backup gives the workers a directory that takes what the bucket refuses.
func (s *stage) backup() {
	s.each(func(n *node) {
		n.more = append(n.more, "TAPEDECK_STORAGE_BACKUP_DIRECTORY="+filepath.Join(s.dir, "backup"))
	})
}

// misplace names a bucket that does not exist.
func (s *stage) misplace() {
	s.s3.Bucket = "not-there"
}

// expectTold checks that the job says what keeps its file from the storage while it
// still records.
func (s *stage) expectTold(limit time.Duration) {
	s.Helper()
	asked := time.Now()
	var said string
	for time.Since(asked) < limit && said == "" {
		if rec := s.state(); len(rec.Files) > 0 && rec.Status == recorder.StatusActive {
			said = rec.Files[0].Error
		}
		time.Sleep(50 * time.Millisecond)
	}
	if said == "" {
		s.Errorf("the job does not say within %s what is wrong with its storage", limit)
		return
	}
	s.remark("told after %.1f s", time.Since(asked).Seconds())
}
