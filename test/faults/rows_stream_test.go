package faults

import (
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
	"tapedeck/recorder/recordertest"
)

// streamRows break the ingest of a job that also records a file.
func streamRows() []row {
	ingest := func(play func(s *stage, server *recordertest.RTMP, network *link)) func(*stage) {
		return func(s *stage) { play(s, s.rtmp, s.uplink) }
	}
	return []row{
		{name: "RTMP server", done: "kill -9, started again 4 s later", set: (*stage).stream, play: ingest(func(s *stage, server *recordertest.RTMP, _ *link) {
			s.at(breakAt)
			server.Kill()
			s.at(breakAt + 4*time.Second)
			server.Restart()
			s.stopAt(stopAt)
			s.judgeStream(4 * time.Second)
		})},
		{name: "RTMP server stalls", done: "the network to it is cut, and healed 12 s later", set: func(s *stage) {
			s.dense(3000)
			s.stream()
		}, play: ingest(func(s *stage, _ *recordertest.RTMP, network *link) {
			s.at(breakAt)
			network.cut()
			s.at(breakAt + 12*time.Second)
			network.heal()
			s.stopAt(breakAt + 26*time.Second)
			s.judgeStream(12 * time.Second)
		})},
		{name: "RTMP server refuses", done: "refuses from before the start until 8 s after it", set: func(s *stage) {
			s.stream()
			s.uplink.refuse()
		}, play: ingest(func(s *stage, _ *recordertest.RTMP, network *link) {
			s.at(breakAt)
			network.accept()
			s.stopAt(stopAt)
			s.judgeStream(breakAt)
		})},
		{
			name: "the node, streaming", done: "kill -9 of all it runs, its disk is lost; the stream goes on from w2",
			bound: 10*time.Second + onePart, why: "at most one upload part of 5 MiB and 10 s",
			set: func(s *stage) {
				s.dense(denseRate)
				s.stream()
			},
			play: ingest(func(s *stage, _ *recordertest.RTMP, _ *link) {
				lost := s.midPart(s.w1)
				s.w1.lose()
				s.stopAt(lost + 16*time.Second)
				s.judgeStream(0)
			}),
		},
	}
}

const streamKey = "the-key-of-this-stream"

// stream adds an RTMP server behind a network of its own to the job.
func (s *stage) stream() {
	s.Helper()
	s.rtmp = recordertest.StartRTMP(s)
	s.uplink = newLink(s, "rtmp", s.rtmp.Addr)
	url := strings.Replace(s.rtmp.URL(streamKey), s.rtmp.Addr, s.uplink.addr(), 1)
	s.job.Streams = []recorder.StreamOutput{{URLs: []string{url}}}
}

// judgeStream reads what the server got, once the job has ended. It was kept from it
// for so long, and may need the usual time to come back.
func (s *stage) judgeStream(away time.Duration) {
	s.Helper()
	rec := s.awaitEnd(most)
	require.Len(s, rec.Streams, 1)
	if state := rec.Streams[0].State; state != recorder.StreamFinished {
		s.Errorf("the stream ended as %s: %s", state, rec.Streams[0].Error)
	}
	s.rtmp.Kill() // so that its files are whole
	var takes []take
	for _, file := range s.rtmp.Recorded(streamKey) {
		takes = append(takes, readTake(s, "stream", file, 0))
	}
	lost := missing(pictures(takes), s.began.Sub(s.base), s.stopped.Sub(s.base), everyPicture, usualPicture)
	s.remark("stream: %d publications, %.1f s lost, %d retries", len(takes), lost.Seconds(), rec.Streams[0].Retries)
	if lost > away+10*time.Second {
		s.complain("the stream lost %.1f s", lost.Seconds())
	}
}
