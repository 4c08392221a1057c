package recorder

import (
	"context"
	"sync"
)

// Following lets a spool entry deliver segments and images beside the recording
// that makes them. An entry that is no Follower leaves it all to Deliver.
type Following struct {
	ctx    context.Context
	cancel context.CancelFunc
	entry  Follower
	begun  sync.Once
	work   sync.WaitGroup
}

// NewFollowing prepares it; ctx bounds it. Stop must be called.
func NewFollowing(ctx context.Context, entry SpoolEntry) *Following {
	f := &Following{}
	f.entry, _ = entry.(Follower)
	f.ctx, f.cancel = context.WithCancel(ctx)
	return f
}

// See takes the recording's reports, one at a time: with the first active one,
// it begins.
func (f *Following) See(rec Recording) {
	if f.entry == nil || rec.Status != StatusActive || len(rec.Segments)+len(rec.Images) == 0 {
		return
	}
	f.begun.Do(func() { f.work.Go(func() { f.entry.Follow(f.ctx, rec.Clone()) }) })
}

// Stop ends it once the media are closed, and waits: what is left is Deliver's.
func (f *Following) Stop() {
	f.cancel()
	f.work.Wait()
}
