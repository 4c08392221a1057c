package main

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"tapedeck/recorder"
	"tapedeck/recorder/control"
	"tapedeck/recorder/queue"
	"tapedeck/recorder/upload"
)

// sights gives what operators look at, and what counts for them. ctx ends when the
// process begins to shut down.
func (a *app) sights(ctx context.Context, from control.Sources, log *zap.Logger) (sights, *control.Metrics) {
	metrics := control.NewMetrics(version, from, log)
	health := control.Health{Draining: ctx.Done(), Checks: []func(context.Context) error{
		func(ctx context.Context) error {
			if from.Redis(ctx) != nil {
				return errors.New("redis does not answer")
			}
			return nil
		},
	}}
	if from.Spool != nil {
		health.Checks = append(health.Checks, func(context.Context) error { return a.diskCheck() })
	}
	return sights{health: health, metrics: metrics.Handler()}, metrics
}

// diskCheck tells of a spool that cannot be written, or is too full for all a worker does.
func (a *app) diskCheck() error {
	if err := writable(a.config.Spool); err != nil {
		return err
	}
	size, free, err := diskOf(a.config.Spool)
	if err != nil {
		return err
	}
	if low := a.config.Worker.lowDisk(size, free); low != "" {
		return errors.New("spool: " + low)
	}
	return nil
}

// observe lets a worker be watched, and has it mind its disk.
func (a *app) observe(ctx context.Context, w *recorder.Worker, q *queue.Queue, spool *upload.Spool, log *zap.Logger) (sights, error) {
	size, _, err := diskOf(spool.Dir())
	if err == nil {
		err = writable(spool.Dir())
	}
	if err != nil {
		return sights{}, recorder.Errorf(recorder.CodeUnavailable, "%w", err)
	}
	w.MinFree, w.Reserve = a.config.Worker.watermarks(size)
	s, metrics := a.sights(ctx, control.Sources{
		Worker: w, Redis: q.Ping, Spool: func() (control.SpoolAccount, error) { return accountOf(spool, time.Now()) },
	}, log)
	w.Tally = metrics
	return s, nil
}

func accountOf(spool *upload.Spool, now time.Time) (control.SpoolAccount, error) {
	var all control.SpoolAccount
	var err error
	if _, all.Free, err = diskOf(spool.Dir()); err != nil {
		return all, err
	}
	held, err := spool.Survey()
	for _, h := range held {
		all.Entries++
		all.Undelivered += h.Undelivered
		all.Oldest = max(all.Oldest, now.Sub(h.Written))
	}
	return all, err
}
