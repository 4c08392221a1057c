package main

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"tapedeck/recorder"
	"tapedeck/recorder/upload"
)

// deliverMeanwhile delivers what earlier lives of a worker left, before there is a queue
// to tell. Left alone is what may be gone on with: that is for the worker to say, with
// the queue. The entries stay, without the media that arrived: the worker ends their jobs,
// or tells those that ended, as it does with whatever its spool holds when it begins.
// stop returns when nothing is delivered any more; what was cut off goes on then.
func deliverMeanwhile(ctx context.Context, spool *upload.Spool, log *zap.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var deliveries sync.WaitGroup
	found, err := spool.Survey()
	if err != nil {
		log.Error("the spool cannot be read", zap.Error(err))
	}
	for _, h := range found {
		// Not locked first: what nobody works on is not to look as if somebody did.
		if h.Task.CutOff(time.Now()) {
			continue
		}
		deliveries.Go(func() {
			if err := deliverUntold(ctx, spool, h.Task.Dir, log); err != nil {
				log.Error("an entry of the spool waits for Redis", zap.String("entry", h.Task.Dir), zap.Error(err))
			}
		})
	}
	return func() {
		cancel()
		deliveries.Wait()
	}
}

// deliverUntold delivers beside what is there: whose the job is, only the queue knows.
func deliverUntold(ctx context.Context, spool *upload.Spool, dir string, log *zap.Logger) error {
	e, err := spool.Take(dir)
	if e == nil {
		return err
	}
	rec := salvaged(e)
	if err := e.Save(rec); err != nil {
		_ = e.Close()
		return err
	}
	rec.Orphan = true
	rec = e.Deliver(ctx, rec, func(recorder.Recording) {})
	if rec.Settled() {
		log.Info("delivered what an earlier life left, before Redis was there", zap.String("job", rec.ID))
	}
	return e.Close()
}
