package main

import (
	"context"
	"sync"

	"go.uber.org/zap"

	"tapedeck/recorder"
	"tapedeck/recorder/egress"
	"tapedeck/recorder/queue"
)

// doors are the ways in beside the queue's own, and who tells others what happens:
// LiveKit's API over HTTP, livekit-server over Redis, and webhooks.
type doors struct {
	http    *httpDoor
	server  *behindServer
	telling sync.WaitGroup
	quiet   context.CancelFunc // ends the telling
}

// openDoors opens what is configured. w is nil where nothing is recorded. The
// doors outlive ctx, for recordings do: whoever drains still answers for them
// until close.
func (a *app) openDoors(ctx context.Context, q *queue.Queue, w *recorder.Worker, log *zap.Logger) (*doors, error) {
	d := &doors{}
	telling, quiet := context.WithCancel(context.WithoutCancel(ctx))
	d.quiet = quiet
	if listen := a.config.HTTP.Listen; listen != "" {
		var err error
		if d.http, err = openHTTP(listen, a.egressService(q, log).Handler(), ctx.Done(), log); err != nil {
			quiet()
			return nil, err
		}
	}
	if a.config.LiveKit.Enabled {
		var err error
		if d.server, err = a.openBehindServer(ctx, q, w, log); err != nil {
			d.close(ctx)
			return nil, err
		}
		d.telling.Go(func() { d.server.report(telling, log) })
	}
	senders, err := a.senders(q, log)
	if err != nil {
		d.close(ctx)
		return nil, err
	}
	for _, s := range senders {
		d.telling.Go(func() { s.Run(telling) })
	}
	return d, nil
}

func (a *app) egressService(q *queue.Queue, log *zap.Logger) *egress.Service {
	return &egress.Service{
		Door: a.door(), Controller: q, Keys: a.config.LiveKit.Keys, RejectDuplicates: a.config.LiveKit.RejectDuplicates, Log: log,
	}
}

// close takes no more requests, then tells what there is left to tell.
func (d *doors) close(ctx context.Context) {
	if d.http != nil {
		d.http.close(ctx)
	}
	if d.server != nil {
		d.server.shut()
	}
	d.quiet()
	d.telling.Wait()
	if d.server != nil {
		d.server.close()
	}
}
