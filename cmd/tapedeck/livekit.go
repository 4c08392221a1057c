package main

import (
	"context"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/rpc"
	"github.com/livekit/psrpc"
	"github.com/livekit/psrpc/pkg/middleware"
	"go.uber.org/zap"

	"tapedeck/recorder"
	"tapedeck/recorder/egress"
	"tapedeck/recorder/queue"
)

// behindServer is what makes a process LiveKit's egress service: a Bus where jobs
// are recorded, and a Reporter.
type behindServer struct {
	bus      *egress.Bus
	reporter *egress.Reporter
	closers  []func()
}

// openBehindServer begins to take the requests of the livekit-server on the same
// Redis. The Bus must be there before the worker runs: it serves the jobs that the
// worker takes up from its spool, too.
func (a *app) openBehindServer(ctx context.Context, q *queue.Queue, w *recorder.Worker, log *zap.Logger) (_ *behindServer, err error) {
	b := &behindServer{}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	client, err := queue.Connect(a.config.Redis.URL)
	if err != nil {
		return nil, err
	}
	b.onClose(func() { _ = client.Close() })
	messages := psrpc.NewRedisMessageBus(client)
	outbox, err := q.Outbox(egress.ReporterName, egress.ReporterName)
	if err != nil {
		return nil, err
	}
	b.reporter = &egress.Reporter{Outbox: outbox, Messages: messages, Now: time.Now, Log: log}
	if w == nil {
		return b, nil
	}
	cpu, err := egress.WatchCPU()
	if err != nil {
		return nil, err
	}
	b.onClose(cpu.Close)
	b.bus = &egress.Bus{Door: a.door(), Messages: messages, Worker: w, Controller: q, CPU: cpu.Load, Log: log}
	w.Began = b.bus.Serve
	if err := b.bus.Open(ctx); err != nil {
		return nil, err
	}
	log.Info("livekit-server's egress requests are answered")
	return b, nil
}

func (b *behindServer) onClose(f func()) { b.closers = append(b.closers, f) }

// report runs the Reporter until ctx is done.
func (b *behindServer) report(ctx context.Context, log *zap.Logger) {
	if err := b.reporter.Run(ctx); err != nil {
		log.Error("livekit-server is not told of changes", zap.Error(err))
	}
}

// shut ends the answering of requests: of new ones, and of those about jobs.
func (b *behindServer) shut() {
	if b.bus != nil {
		b.bus.Close()
	}
}

// close comes last, after report has returned.
func (b *behindServer) close() {
	for i := len(b.closers) - 1; i >= 0; i-- {
		b.closers[i]()
	}
}

// examineServer asks livekit-server over the Redis that both should share.
func (a *app) examineServer(ctx context.Context) finding {
	f := finding{Name: "livekit-server", Passing: true}
	if err := a.askServer(ctx); err != nil {
		f.Detail = recorder.ScrubText(err.Error())
		f.Remedy = "start livekit-server with the Redis of redis.url in its own configuration, the database (db) included"
		return f
	}
	f.OK, f.Passing, f.Detail = true, false, "it answers over Redis"
	return f
}

// askTries is how often livekit-server is asked, each time for the second that psrpc waits
// for somebody to take a question. One that is put before both sides have subscribed is
// lost (Redis keeps none), and neither side learns when the other has: with one try, a
// server that just started, or a machine under load, would be a false alarm.
const askTries = 4

// askServer lists the egresses of a room that is nobody's.
func (a *app) askServer(ctx context.Context) error {
	client, err := queue.Connect(a.config.Redis.URL)
	if err != nil {
		return err
	}
	defer client.Close()
	again := middleware.WithRPCRetries(middleware.RetryOptions{MaxAttempts: askTries, Timeout: 3 * time.Second})
	io, err := rpc.NewIOInfoClient(psrpc.NewRedisMessageBus(client), again)
	if err != nil {
		return err
	}
	defer io.Close()
	_, err = io.ListEgress(ctx, &livekit.ListEgressRequest{RoomName: "tapedeck-check"})
	return err
}
