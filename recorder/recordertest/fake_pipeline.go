package recordertest

import (
	"context"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"tapedeck/recorder"
)

// FakePipeline is a recorder.Pipeline that writes a few bytes where media would
// be. Make it with NewFakePipeline. It is safe for concurrent use.
type FakePipeline struct {
	Spec recorder.PipelineSpec
	// OnBegin, OnAdd, OnRemove and OnEnd (after ctx ended, before the files are
	// final) may wait or fail.
	OnBegin, OnEnd   func(ctx context.Context) error
	OnAdd, OnRemove  func(ctx context.Context, id string) error
	Holds            chan bool // every Hold, when not nil
	begun, hurried   chan struct{}
	fatal, ended     chan struct{}
	beginOnce, hurry sync.Once

	mu    sync.Mutex
	began time.Time // of the first Snapshot
	err   error
	snap  recorder.Snapshot
	calls []string
	still recorder.Duration // of a pause, the media time
	pause bool
}

// NewFakePipeline prepares the outputs of spec.
func NewFakePipeline(spec recorder.PipelineSpec) *FakePipeline {
	p := &FakePipeline{
		Spec: spec, begun: make(chan struct{}), hurried: make(chan struct{}),
		fatal: make(chan struct{}), ended: make(chan struct{}),
	}
	for _, o := range spec.Outputs {
		switch o.Kind {
		case recorder.KindStream:
			p.snap.Streams = append(p.snap.Streams, streamOf(o))
		case recorder.KindSegments, recorder.KindImages:
			p.snap.Series = append(p.snap.Series, recorder.OutputSeries{ID: o.ID})
		default:
			p.snap.Files = append(p.snap.Files, recorder.OutputFile{ID: o.ID, Codecs: []string{"h264", "aac"}})
		}
	}
	return p
}

func streamOf(o recorder.Output) recorder.StreamResult {
	return recorder.StreamResult{ID: o.ID, URL: recorder.RedactStreamURL(o.URL), State: recorder.StreamActive, StartedAt: 1}
}

// Run implements recorder.Pipeline.
func (p *FakePipeline) Run(ctx context.Context) error {
	defer close(p.ended)
	select {
	case <-ctx.Done():
	case <-p.fatal:
	}
	var err error
	if p.OnEnd != nil {
		err = p.OnEnd(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.snap.Files {
		p.snap.Files[i].Final = p.err == nil && err == nil
	}
	if p.err != nil {
		return p.err
	}
	return err
}

// Begin implements recorder.Pipeline.
func (p *FakePipeline) Begin(ctx context.Context) error {
	if p.OnBegin != nil {
		if err := p.OnBegin(ctx); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range p.Spec.Outputs {
		if err := write(o); err != nil {
			return err
		}
	}
	for i := range p.snap.Series {
		s := &p.snap.Series[i]
		s.StartedAt, s.Bytes, s.Files, s.Duration = time.Now(), 5, 1, time.Second
	}
	for i := range p.snap.Files {
		p.snap.Files[i].StartedAt, p.snap.Files[i].Bytes = time.Now(), 5
	}
	p.beginOnce.Do(func() { close(p.begun) })
	return nil
}

// write leaves what a second of recording would.
func write(o recorder.Output) error {
	files := map[string]string{}
	switch o.Kind {
	case recorder.KindFile:
		files[o.Path] = "media"
	case recorder.KindImages:
		files[filepath.Join(o.Dir, o.Images.FilenamePrefix+"_00000.jpeg")] = "media"
	case recorder.KindSegments:
		files[filepath.Join(o.Dir, o.Segments.FilenamePrefix+"_00000.ts")] = "media"
		list := "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:1.000,\n" + path.Base(o.Segments.FilenamePrefix) + "_00000.ts\n"
		for _, name := range []string{o.Segments.PlaylistName, o.Segments.LivePlaylistName} {
			if name != "" {
				files[filepath.Join(o.Dir, name)] = list
			}
		}
	}
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Begun is closed by a Begin that succeeded, Hurried by Hurry, Ended when Run returns.
func (p *FakePipeline) Begun() <-chan struct{} { return p.begun }

// Hurried is closed by Hurry.
func (p *FakePipeline) Hurried() <-chan struct{} { return p.hurried }

// Ended is closed when Run returns.
func (p *FakePipeline) Ended() <-chan struct{} { return p.ended }

// Hurry implements recorder.Hurrier.
func (p *FakePipeline) Hurry() { p.hurry.Do(func() { close(p.hurried) }) }

// Hold implements recorder.Holder.
func (p *FakePipeline) Hold(on bool) {
	if p.Holds != nil {
		p.Holds <- on
	}
}

// Pause implements recorder.Pauser: the media time stands still.
func (p *FakePipeline) Pause(on bool) {
	still := p.Snapshot().Stats.Elapsed
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, map[bool]string{true: "pause", false: "resume"}[on])
	p.still, p.pause = still, on
}

// Fail makes Run return err. Once.
func (p *FakePipeline) Fail(err error) {
	p.mu.Lock()
	p.err = err
	p.mu.Unlock()
	close(p.fatal)
}

// Change alters what Snapshot answers.
func (p *FakePipeline) Change(what func(*recorder.Snapshot)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	what(&p.snap)
}

// Add implements recorder.Pipeline.
func (p *FakePipeline) Add(ctx context.Context, o recorder.Output) error {
	p.note("add " + o.ID)
	if p.OnAdd != nil {
		if err := p.OnAdd(ctx, o.ID); err != nil {
			return err
		}
	}
	p.Change(func(s *recorder.Snapshot) { s.Streams = append(s.Streams, streamOf(o)) })
	return nil
}

// Remove implements recorder.Pipeline.
func (p *FakePipeline) Remove(ctx context.Context, id string) error {
	p.note("remove " + id)
	if p.OnRemove != nil {
		if err := p.OnRemove(ctx, id); err != nil {
			return err
		}
	}
	err := error(recorder.Errorf(recorder.CodeNotFound, "no stream %s", id))
	p.Change(func(s *recorder.Snapshot) {
		for i := range s.Streams {
			if s.Streams[i].ID == id {
				s.Streams[i].State, err = recorder.StreamFinished, nil
			}
		}
	})
	return err
}

func (p *FakePipeline) note(call string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, call)
}

// Calls lists every Add, Remove and Pause.
func (p *FakePipeline) Calls() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.calls)
}

// Snapshot implements recorder.Pipeline.
func (p *FakePipeline) Snapshot() recorder.Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	snap := p.snap
	if p.began.IsZero() {
		p.began = time.Now()
	}
	if snap.Stats.Elapsed == 0 { // else the test has set it
		snap.Stats.Elapsed = recorder.Duration(time.Since(p.began))
	}
	if p.pause {
		snap.Stats.Elapsed = p.still
	}
	snap.Series = slices.Clone(snap.Series)
	snap.Files, snap.Streams = slices.Clone(snap.Files), slices.Clone(snap.Streams)
	return snap
}
