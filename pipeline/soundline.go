package pipeline

import (
	"math"
	"time"
)

// blockFrames is how many sample frames go to the encoders at once: one AAC
// frame, so that trimming an AAC encoder's delay is leaving out whole blocks.
const blockFrames = 1024

const channels = 2

// Bounds of what soundLine does about an error between where samples are and
// where the clock says they belong.
const (
	hardError  = 60 * time.Millisecond  // beyond it: a gap or an overlap, mended at once
	softError  = 2 * time.Millisecond   // beyond it: a drift, mended a sample at a time
	softTarget = 250 * time.Microsecond // until here
)

// soundLine puts captured sound on the clock. What comes in are chunks with a
// device position (which counts what the device lost, too) and a time of
// arrival; what goes out is an unbroken line of samples, the first of which
// belongs to the base time, and whose sample n is never further than hardError from
// base + n/rate. The clock of the sound server may drift: the line is stretched by one
// sample a chunk (0.2 %, inaudible) until it fits again, so however long a
// recording is, the error stays near softError.
// It belongs to one goroutine.
type soundLine struct {
	rate  int
	delay time.Duration // from arrival at best to where it belongs; see soundDelay

	arrivals  floor
	history   []chunk // before the base is known
	based     bool
	base      time.Duration
	placed    int64 // frames put in the line since base
	softening bool
	fifo      []float32

	inserted, removed int64 // frames of silence put in and of sound left out, for the log
}

type chunk struct {
	start time.Duration
	pcm   []float32
}

// keepHistory bounds what is kept before the base is known. The base is the
// capture time of a frame that is a few ms old when it gets known.
const keepHistory = 500 * time.Millisecond

func newSoundLine(rate int, delay time.Duration) *soundLine {
	return &soundLine{rate: rate, delay: delay}
}

func (s *soundLine) duration(frames int64) time.Duration {
	return time.Duration(frames * int64(time.Second) / int64(s.rate))
}

func (s *soundLine) frames(d time.Duration) int64 {
	return int64(math.Round(d.Seconds() * float64(s.rate)))
}

// feed takes a chunk of interleaved samples that begins at the device's
// position and whose last sample arrived at the given time.
func (s *soundLine) feed(arrival time.Duration, position int64, pcm []float32) {
	n := int64(len(pcm) / channels)
	end := s.duration(position + n)
	// Chunks may come late, never early: the smallest distance is the true one.
	start := s.arrivals.add(arrival, arrival-end) + s.duration(position) + s.delay
	if s.based {
		s.place(start, pcm)
		return
	}
	s.history = append(s.history, chunk{start, append([]float32(nil), pcm...)})
	for len(s.history) > 1 && s.history[0].start < start-keepHistory {
		s.history = s.history[1:]
	}
}

// begin says at what time the first sample is to be.
func (s *soundLine) begin(base time.Duration) {
	s.based, s.base = true, base
	for _, c := range s.history {
		s.place(c.start, c.pcm)
	}
	s.history = nil
}

func (s *soundLine) place(start time.Duration, pcm []float32) {
	n := int64(len(pcm) / channels)
	gap := s.frames(start-s.base) - s.placed
	hard, soft, target := s.frames(hardError), s.frames(softError), s.frames(softTarget)
	switch {
	case s.placed == 0 && gap < 0, gap < -hard:
		if -gap >= n {
			s.removed += n
			return
		}
		s.removed += -gap
		pcm = pcm[-gap*channels:]
	case s.placed == 0, gap > hard:
		s.silence(gap)
	case gap > soft, gap < -soft:
		s.softening = true
	case gap <= target && gap >= -target:
		s.softening = false
	}
	if s.softening && n > 1 {
		s.stretch(pcm, gap > 0)
		return
	}
	s.put(pcm)
}

func (s *soundLine) put(pcm []float32) {
	s.fifo = append(s.fifo, pcm...)
	s.placed += int64(len(pcm) / channels)
}

func (s *soundLine) silence(n int64) {
	if n > 0 {
		s.put(make([]float32, n*channels))
		s.inserted += n
	}
}

// stretch puts a chunk that is one frame longer or shorter, by interpolation.
func (s *soundLine) stretch(pcm []float32, longer bool) {
	n := len(pcm) / channels
	m := n - 1
	if longer {
		m = n + 1
	}
	out := make([]float32, m*channels)
	for i := range m {
		at := float64(i) * float64(n) / float64(m)
		k := min(int(at), n-1)
		next := min(k+1, n-1)
		f := float32(at - float64(k))
		for c := range channels {
			out[i*channels+c] = pcm[k*channels+c]*(1-f) + pcm[next*channels+c]*f
		}
	}
	s.put(out)
}

// fill puts silence up to the given time, for a device that says nothing.
func (s *soundLine) fill(until time.Duration) {
	if s.based {
		s.silence(s.frames(until-s.base) - s.placed)
	}
}

// finish makes the line exactly n frames long as seen from the encoders, who
// have taken some; what was taken cannot be given back.
func (s *soundLine) finish(n int64) {
	s.silence(n - s.placed)
	if extra := s.placed - n; extra > 0 {
		cut := min(extra, int64(len(s.fifo)/channels))
		s.fifo = s.fifo[:int64(len(s.fifo))-cut*channels]
		s.placed -= cut
	}
}

// take gives the next block, nil when it is not whole yet.
func (s *soundLine) take() []float32 {
	const size = blockFrames * channels
	if len(s.fifo) < size {
		return nil
	}
	block := append([]float32(nil), s.fifo[:size]...)
	s.fifo = append(s.fifo[:0], s.fifo[size:]...)
	return block
}

// floor is the smallest of the values of the last few seconds.
type floor struct {
	buckets [floorBuckets]time.Duration
	filled  [floorBuckets]bool
	current int64
}

const (
	floorBuckets = 8
	floorBucket  = 500 * time.Millisecond
)

// add takes a value seen at the given time and gives the smallest one.
func (f *floor) add(now, value time.Duration) time.Duration {
	n := int64(now / floorBucket)
	for ; f.current < n; f.current++ {
		if n-f.current > floorBuckets {
			f.current = n - floorBuckets
		}
		f.filled[(f.current+1)%floorBuckets] = false
	}
	i := n % floorBuckets
	if !f.filled[i] || value < f.buckets[i] {
		f.buckets[i], f.filled[i] = value, true
	}
	smallest := value
	for k, ok := range f.filled {
		if ok && f.buckets[k] < smallest {
			smallest = f.buckets[k]
		}
	}
	return smallest
}
