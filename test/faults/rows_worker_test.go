package faults

import (
	"net/http"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
	"tapedeck/recorder/upload"
)

// denseRate makes a part of 5 MiB, the least that S3 takes, in about five seconds.
const denseRate = 8000

// onePart is what a lost disk may cost beside the time until another worker records:
// the part that was not full yet.
const onePart = 5 << 20 * 8 * time.Second / (denseRate * 1000)

// workerRows take workers away.
func workerRows() []row {
	return []row{
		{name: "the worker", done: "kill -9, started again 2 s later", play: func(s *stage) {
			s.at(breakAt)
			s.w1.kill()
			s.at(breakAt + 2*time.Second)
			s.w1.start()
			s.stopAt(stopAt)
		}},
		{
			name: "the node", done: "kill -9 of all it runs, its disk is lost, it never comes back", short: true,
			bound: 10*time.Second + onePart, why: "at most one upload part of 5 MiB and 10 s",
			set:  func(s *stage) { s.dense(denseRate) },
			play: loseInAPart,
		},
		{
			name: "the node, a slow picture", done: "as above, before a part of 5 MiB is full",
			bound: 10*time.Second + upload.DefaultSendWithin, why: "at most the 15 s after which parts are sent without being full, and 10 s",
			play: loseInAPart,
		},
		{name: "the node restarts", lost: true, done: "kill -9 of all it runs, started again 15 s later with its disk", play: func(s *stage) {
			s.at(breakAt)
			s.w1.vanish()
			s.at(breakAt + 15*time.Second)
			s.w1.start()
			s.stopAt(breakAt + 22*time.Second)
		}},
		{name: "the worker hangs", lost: true, done: "SIGSTOP, SIGCONT 60 s later", play: func(s *stage) {
			s.at(breakAt)
			s.w1.signal(syscall.SIGSTOP)
			s.at(breakAt + 60*time.Second)
			s.w1.signal(syscall.SIGCONT)
			s.stopAt(breakAt + 70*time.Second)
		}},
		{name: "the node hangs", lost: true, done: "SIGSTOP of all it runs, SIGCONT 20 s later", play: func(s *stage) {
			s.at(breakAt)
			s.w1.freeze(syscall.SIGSTOP)
			s.at(breakAt + 20*time.Second)
			s.w1.freeze(syscall.SIGCONT)
			s.stopAt(breakAt + 30*time.Second)
		}},
		{name: "the worker drains", done: "SIGTERM; the recording goes on to the stop", play: func(s *stage) {
			s.at(breakAt)
			s.w1.signal(syscall.SIGTERM)
			s.stopAt(stopAt)
			s.awaitEnd(most)
			s.w1.ended(30 * time.Second)
		}},
		{
			name: "the worker drains at once", done: "SIGTERM, a second one 1 s later",
			ends: []recorder.EndReason{recorder.EndDrained},
			play: func(s *stage) {
				s.at(breakAt)
				s.w1.signal(syscall.SIGTERM)
				s.at(breakAt + time.Second)
				s.w1.signal(syscall.SIGTERM)
				s.stopped = time.Now()
				s.w1.ended(30 * time.Second)
			},
		},
		{
			name: "the worker, uploading", done: "stop, kill -9 while the rest is uploaded over a slow network, started again 2 s later",
			set: func(s *stage) { s.dense(3000) },
			play: func(s *stage) {
				s.at(breakAt)
				s.w1.store.slow("100")
				s.stopAt(stopAt)
				s.awaitUpload(s.w1, 30*time.Second)
				s.w1.kill()
				s.w1.store.heal()
				time.Sleep(2 * time.Second)
				s.w1.start()
			},
		},
	}
}

// freeze sends a signal to everything that the node runs.
func (n *node) freeze(sig syscall.Signal) {
	n.s.Helper()
	for _, p := range n.s.look(n.tmp) {
		_ = syscall.Kill(p.PID, sig)
	}
}

// loseInAPart loses w1 for good, while it has more than the storage, and leaves w2 time to record on.
func loseInAPart(s *stage) {
	lost := s.midPart(s.w1)
	s.w1.lose()
	s.stopAt(lost + 14*time.Second)
}

// awaitUpload waits until what is left of the recording is being uploaded.
func (s *stage) awaitUpload(n *node, limit time.Duration) {
	s.Helper()
	s.await("the delivery", limit, func(rec recorder.Recording) bool {
		return rec.Status == recorder.StatusEnding && rec.EndedAt > 0 && len(rec.Files) == 1 && rec.Files[0].State == recorder.FileUploading
	})
	for deadline := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		for _, r := range n.faults.Requests() {
			if r.Status == 0 && r.Method == http.MethodPut {
				return
			}
		}
		require.True(s, time.Now().Before(deadline), "something is uploaded: %v", lastRequests(n.faults))
	}
}

// midPart waits until another part of the recording, full or short, is in the storage, and
// a little more is on the disk only. It gives that moment of the recording.
func (s *stage) midPart(n *node) time.Duration {
	s.Helper()
	s.at(breakAt)
	part := func(r recordertest.S3Request) bool { return r.Method == http.MethodPut && r.Query.Has("partNumber") }
	before := n.faults.Count(part)
	for deadline := time.Now().Add(60 * time.Second); n.faults.Count(part) == before; time.Sleep(50 * time.Millisecond) {
		require.True(s, time.Now().Before(deadline), "a part is uploaded: %v", lastRequests(n.faults))
	}
	moment := time.Since(s.began) + 2*time.Second
	s.at(moment)
	return moment
}

func lastRequests(p *recordertest.S3Proxy) []recordertest.S3Request {
	all := p.Requests()
	return all[max(0, len(all)-5):]
}
