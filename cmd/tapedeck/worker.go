package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"tapedeck/recorder"
	"tapedeck/recorder/capture"
	"tapedeck/recorder/child"
	"tapedeck/recorder/queue"
	"tapedeck/recorder/upload"
)

// keptLogs is of how many ended recordings the spool keeps log and screenshots.
const keptLogs = 200

type workerFlags struct {
	maxJobs  int
	output   string
	embedded string
	livekit  bool

	minFree, reserve Size
}

func (a *app) workerCommand() *cobra.Command {
	var f workerFlags
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Take jobs from the queue and record them",
		Long: `Take jobs from the queue while a slot is free, and record each in a process of
its own.

SIGTERM drains: no new job is taken, running recordings go on for drain_timeout
and are then finalised and uploaded. A second SIGTERM finalises them at once.
Uploads that are not done by then go on when the worker is started again.

With --livekit it takes the place of LiveKit's egress service: the livekit-server
on the same Redis sends its recordings here. With --http it serves the same API
itself. Both need livekit.api_key and livekit.api_secret (docs/livekit.md).`,
		Example: `  TAPEDECK_REDIS_URL=redis://localhost:6379 tapedeck worker
  tapedeck worker --embedded-redis --output-dir recordings
  tapedeck worker --livekit                     # behind livekit-server
  tapedeck worker --http 127.0.0.1:7980         # LiveKit's egress API without one`,
		Args: argsExactly(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.worker(cmd, f)
		},
	}
	redisFlag(cmd)
	httpFlag(cmd, "off")
	cmd.Flags().BoolVar(&f.livekit, "livekit", false, "stand in for LiveKit's egress service: answer the livekit-server on the same Redis")
	cmd.Flags().IntVar(&f.maxJobs, "max-jobs", 0, "recordings at once (default: one per two cores)")
	cmd.Flags().StringVar(&f.output, "output-dir", "", "where files go whose job names no storage (default: recordings beside the spool)")
	cmd.Flags().Var(&f.minFree, "spool-min-free", "take no job with less free on the spool's disk, such as 2GiB; 0 is off (default 2GiB, or a 20th of a small disk)")
	cmd.Flags().Var(&f.reserve, "spool-reserve", "end the largest recordings with less free than this; 0 is off (default 512MiB, or a quarter of the other)")
	cmd.Flags().StringVar(&f.embedded, "embedded-redis", "", "run a Redis in this process, for trying: its jobs are gone when it ends")
	cmd.Flags().Lookup("embedded-redis").NoOptDefVal = "127.0.0.1:6379"
	return cmd
}

func (a *app) worker(cmd *cobra.Command, f workerFlags) error {
	if err := a.workerConfig(cmd, f); err != nil {
		return err
	}
	log := a.logger(a.err, recorder.NewScrubber(recorder.Job{}, a.config.secrets()...)).With(zap.String("worker", a.config.Worker.ID))
	storage, err := a.storage(f.output)
	if err != nil {
		return err
	}
	if f.embedded != "" {
		redis, err := queue.StartEmbedded(f.embedded)
		if err != nil {
			return err
		}
		defer redis.Close()
		a.config.Redis.URL = redis.URL()
		log.Info("embedded Redis is up: jobs are kept in memory only", zap.String("url", redis.URL()))
	}
	ctx, hurry, stopSignals := drainSignals(cmd.Context(), log)
	defer stopSignals()
	return a.runWorker(ctx, hurry, storage, log)
}

// workerConfig puts the flags over the configuration.
func (a *app) workerConfig(cmd *cobra.Command, f workerFlags) error {
	if cmd.Flags().Changed("max-jobs") {
		a.config.Worker.MaxJobs = f.maxJobs
	}
	if cmd.Flags().Changed("spool-min-free") {
		a.config.Worker.SpoolMinFree = f.minFree
	}
	if cmd.Flags().Changed("spool-reserve") {
		a.config.Worker.SpoolReserve = f.reserve
	}
	a.config.LiveKit.Enabled = a.config.LiveKit.Enabled || f.livekit
	if err := a.httpConfig(cmd); err != nil { // checks all of it
		return err
	}
	for door, open := range map[string]bool{"--livekit": a.config.LiveKit.Enabled, "--http": a.config.HTTP.Listen != ""} {
		if !open {
			continue
		}
		if err := a.config.requireKey(door); err != nil {
			return err
		}
	}
	return a.redisConfig(cmd)
}

func (a *app) runWorker(ctx context.Context, hurry <-chan struct{}, storage upload.Storage, log *zap.Logger) error {
	opts, err := a.spoolOptions(storage, log)
	if err != nil {
		return err
	}
	spool, err := upload.NewSpool(a.config.Spool, opts)
	if err != nil {
		return err
	}
	q, err := a.awaitQueue(ctx, a.config.Worker.ID, func() func() { return deliverMeanwhile(ctx, spool, log) }, log)
	if q == nil {
		return err
	}
	defer q.Close()
	runner, err := a.childRunner(log)
	if err != nil {
		return err
	}
	capture.Sweep(a.captureOptions(log))
	c := a.config.Worker
	w := &recorder.Worker{
		ID: c.ID, Queue: q, Runner: runner, Spool: spool, Slots: c.MaxJobs, Admit: a.door().Admit,
		MaxDuration: c.MaxDuration, DrainTimeout: c.DrainTimeout, DeliverGrace: c.DeliverGrace,
		Now: time.Now, Log: log,
	}
	sights, err := a.observe(ctx, w, q, spool, log)
	if err != nil {
		return err
	}
	doors, err := a.openDoors(ctx, q, w, sights, log)
	if err != nil {
		return err
	}
	defer doors.close(ctx)
	log.Info("worker is up", zap.Int("max_jobs", c.MaxJobs), zap.String("spool", spool.Dir()), zap.String("version", version))
	stopBeating := a.beat(ctx, q, w, log)
	defer stopBeating()
	if err := w.Run(ctx, hurry); err != nil {
		return err
	}
	log.Info("worker is down")
	return nil
}

// The pauses between tries to reach a Redis that is away when a worker starts.
const (
	firstPause   = 250 * time.Millisecond
	longestPause = 10 * time.Second
)

// awaitQueue tries until Redis is there: machines start in any order, and a
// supervisor that gives up on a worker would leave its spool undelivered. away begins
// what can be done until then, which ends before the queue is used; it may be nil. The
// queue is nil when the URL is wrong, or, without an error, when ctx ends first.
func (a *app) awaitQueue(ctx context.Context, worker string, away func() (stop func()), log *zap.Logger) (*queue.Queue, error) {
	stop := func() {}
	defer func() { stop() }()
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		// The queue outlives the drain's begin: running jobs report to their end.
		q, err := a.openQueue(context.WithoutCancel(ctx), worker, log)
		if recorder.CodeOf(err) != recorder.CodeUnavailable {
			return q, err
		}
		log.Warn("Redis is away, nothing is taken until it answers", zap.Error(err), zap.Duration("next_try", pause))
		if away != nil {
			stop, away = away(), nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			log.Info("stopped before Redis was there")
			return nil, nil
		}
	}
}

// beat tells the pool about this worker until it is stopped.
func (a *app) beat(ctx context.Context, q *queue.Queue, w *recorder.Worker, log *zap.Logger) (stop func()) {
	beating, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	info := queue.WorkerInfo{ID: w.ID, Slots: w.Slots, StartedAt: time.Now().UnixNano(), Version: version}
	go func() {
		defer close(ended)
		tick := time.NewTicker(a.config.Redis.LeaseTTL / 3)
		defer tick.Stop()
		var twin bool
		for first := true; ; first = false {
			if !first && !twin {
				twin = hasTwin(beating, q, info, log)
			}
			info.Running, info.Draining = w.Running(), ctx.Err() != nil
			if err := q.Beat(beating, info); err != nil && beating.Err() == nil {
				log.Warn("the pool was not told", zap.Error(err))
			}
			select {
			case <-tick.C:
			case <-beating.Done():
				return
			}
		}
	}()
	return func() {
		cancel()
		<-ended
		leaving, done := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer done()
		if err := q.Leave(leaving, w.ID); err != nil {
			log.Warn("the pool was not told", zap.Error(err))
		}
	}
}

// hasTwin looks whether somebody else beats under this worker's id, and tells.
func hasTwin(ctx context.Context, q *queue.Queue, own queue.WorkerInfo, log *zap.Logger) bool {
	started, err := q.StartedAt(ctx, own.ID)
	twin := err == nil && started != own.StartedAt
	if twin {
		log.Error("another live worker has this one's id: their jobs are taken for each other's; give each an id of its own (worker.id)",
			zap.String("id", own.ID))
	}
	return twin
}

func (a *app) childRunner(log *zap.Logger) (*child.Runner, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find our own binary: %w", err)
	}
	settings, err := json.Marshal(childSettings{Chrome: a.config.Chrome, Log: a.config.Log})
	if err != nil {
		return nil, err
	}
	return &child.Runner{Command: []string{self, "child"}, Env: childEnv(os.Environ()), Settings: settings, Now: time.Now, Log: log}, nil
}

// drainSignals ends the context at the first SIGTERM or Ctrl-C and closes the
// channel at the second.
func drainSignals(parent context.Context, log *zap.Logger) (context.Context, <-chan struct{}, func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	notifyEnd(signals)
	hurry, done := make(chan struct{}), make(chan struct{})
	go func() {
		for n := 0; n < 2; n++ {
			select {
			case s := <-signals:
				log.Info("signal", zap.Stringer("signal", s), zap.Bool("hurry", n > 0))
			case <-done:
				return
			}
			if n == 0 {
				cancel()
			} else {
				close(hurry)
			}
		}
	}()
	return ctx, hurry, func() {
		signal.Stop(signals)
		close(done)
		cancel()
	}
}
