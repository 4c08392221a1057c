package pipeline

import (
	"sync"
	"time"

	"tapedeck/recorder"
)

// Snapshot gives the account of pipeline, files and streams. It takes no longer than
// a stat of each file.
func (p *Pipeline) Snapshot() recorder.Snapshot {
	p.mu.Lock()
	startedAt, streams := p.startedAt, append([]*stream(nil), p.streams...)
	p.mu.Unlock()
	if !startedAt.IsZero() {
		startedAt = startedAt.Add(p.pauses.before(0)) // a recording may begin with a pause
	}
	var s recorder.Snapshot
	for _, f := range p.files {
		o := f.snapshot(startedAt)
		s.Files = append(s.Files, o)
		s.Stats.Bytes = max(s.Stats.Bytes, o.Bytes)
	}
	for _, out := range p.segments {
		s.Series = append(s.Series, out.snapshot(startedAt))
	}
	for _, out := range p.images {
		s.Series = append(s.Series, out.snapshot(startedAt))
	}
	for _, o := range s.Series {
		s.Stats.Bytes = max(s.Stats.Bytes, o.Bytes)
	}
	for _, st := range streams {
		s.Streams = append(s.Streams, st.snapshot())
	}
	s.Stats.Elapsed = recorder.Duration(p.elapsed())
	if p.video != nil {
		s.Stats.Frames, s.Stats.Dropped, s.Stats.Repeated = p.video.frames.Load(), p.video.dropped.Load(), p.video.repeated.Load()
		s.Stats.FPS = p.rate.at(time.Now(), p.video.captured.Load())
	}
	if p.audio != nil {
		s.Stats.AudioPeak = p.audio.peakDB()
	}
	return s
}

// elapsed is the media time since the first frame, without pauses.
func (p *Pipeline) elapsed() time.Duration {
	select {
	case <-p.begun:
	default:
		return 0
	}
	if p.video != nil {
		return time.Duration(p.video.slots.Load() * int64(time.Second) / int64(p.spec.Options.Framerate))
	}
	return time.Duration(p.audio.emitted.Load() * int64(time.Second) / int64(p.spec.Options.AudioFrequency))
}

// rateMeter turns a counter into a rate over about the last second, however
// often it is asked.
type rateMeter struct {
	mu         sync.Mutex
	at0, at1   time.Time
	n0, n1     int64
	lastAnswer float64
}

func (r *rateMeter) at(now time.Time, n int64) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at0.IsZero() {
		r.at0, r.at1, r.n0, r.n1 = now, now, n, n
		return 0
	}
	if since := now.Sub(r.at0); since >= 100*time.Millisecond {
		r.lastAnswer = float64(n-r.n0) / since.Seconds()
	}
	if now.Sub(r.at1) >= time.Second {
		r.at0, r.n0, r.at1, r.n1 = r.at1, r.n1, now, n
	}
	return r.lastAnswer
}
