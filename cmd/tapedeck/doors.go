package main

import (
	"context"
	"net/http"
	"sync"

	"go.uber.org/zap"

	"tapedeck/recorder"
	"tapedeck/recorder/egress"
	"tapedeck/recorder/queue"
)

// doors are the ways in beside the queue's own, and who tells others what happens:
// LiveKit's API over HTTP, livekit-server over Redis, and webhooks.
type doors struct {
	http    []*httpDoor
	server  *behindServer
	telling sync.WaitGroup
	quiet   context.CancelFunc // ends the telling
}

// openDoors opens what is configured. w is nil where nothing is recorded. The
// doors outlive ctx, for recordings do: whoever drains still answers for them
// until close.
func (a *app) openDoors(ctx context.Context, q *queue.Queue, w *recorder.Worker, sights sights, log *zap.Logger) (*doors, error) {
	d := &doors{}
	telling, quiet := context.WithCancel(context.WithoutCancel(ctx))
	d.quiet = quiet
	if err := a.openHTTPDoors(d, q, sights, log); err != nil {
		d.close(ctx)
		return nil, err
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

// openHTTPDoors opens the API's and the operators'. Figures have one place: an API that
// is open to others does not show them where they have an address of their own.
func (a *app) openHTTPDoors(d *doors, q *queue.Queue, sights sights, log *zap.Logger) error {
	open := func(at address, what string, handler http.Handler) error {
		door, err := openHTTP(at, what, handler, log)
		if err == nil {
			d.http = append(d.http, door)
		}
		return err
	}
	c := a.config.HTTP
	if c.Metrics != "" {
		if err := open(c.operators(), "metrics are served", sights.over(http.NotFoundHandler())); err != nil {
			return err
		}
		sights.metrics = nil
	}
	if c.Listen == "" {
		return nil
	}
	return open(c.api(), "LiveKit's egress API is served", sights.over(a.egressService(q, log).Handler()))
}

func (a *app) egressService(q *queue.Queue, log *zap.Logger) *egress.Service {
	return &egress.Service{
		Door: a.door(), Controller: q, Keys: a.config.LiveKit.Keys, RejectDuplicates: a.config.LiveKit.RejectDuplicates, Log: log,
	}
}

// close takes no more requests, then tells what there is left to tell.
func (d *doors) close(ctx context.Context) {
	for _, h := range d.http {
		h.close(ctx)
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
