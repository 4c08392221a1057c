package pipeline

import (
	"slices"

	"go.uber.org/zap"
)

// watchOutputs ends the recording when a file fails: what it holds goes with it. A
// series that fails is left as it is, and the others go on: its files are whole.
func (p *Pipeline) watchOutputs() {
	for _, f := range p.files {
		go p.watch(f.unit.failed, func() { p.fail(f.failure()) })
	}
	for _, s := range p.segments {
		go p.watch(s.failed, func() {
			p.release() // nothing is encoded for nobody
			p.dropped(s.id, s.err())
		})
	}
	for _, i := range p.images {
		go p.watch(i.failed, func() { p.dropped(i.id, i.err()) })
	}
}

func (p *Pipeline) watch(failed <-chan struct{}, act func()) {
	select {
	case <-failed:
		act()
	case <-p.ended:
	}
}

// dropped is told of a series that failed, which finish makes the error of Run.
func (p *Pipeline) dropped(id string, err error) {
	if !p.outputLeft() {
		p.fail(err)
		return
	}
	p.log.Error("an output failed, the others go on", zap.String("output", id), zap.Error(err))
}

// outputLeft reports whether any output can still take media.
func (p *Pipeline) outputLeft() bool {
	works := func(failed <-chan struct{}) bool {
		select {
		case <-failed:
			return false
		default:
			return true
		}
	}
	p.mu.Lock()
	streams := p.streams
	p.mu.Unlock()
	return len(p.files) > 0 ||
		slices.ContainsFunc(p.segments, func(s *segmentOutput) bool { return works(s.failed) }) ||
		slices.ContainsFunc(p.images, func(i *imageOutput) bool { return works(i.failed) }) ||
		slices.ContainsFunc(streams, func(s *stream) bool { return !s.over() })
}
