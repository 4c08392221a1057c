package main

import (
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"tapedeck/recorder"
	"tapedeck/recorder/control"
)

func (a *app) serveCommand() *cobra.Command {
	var livekit bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve LiveKit's egress API and send webhooks, without recording",
		Long: `Serve LiveKit's egress API over HTTP (Twirp), so that every LiveKit server SDK and
the lk command line start, list, change and stop recordings of the workers on the
same Redis. Clients sign with livekit.api_key and livekit.api_secret.

Also sends webhooks: to webhooks.urls of the configuration, and to those that a
request brings. With --livekit, livekit-server is told of changes too, should the
workers be gone.

Any number may run; each answers for all. Workers can do all this as well, with
--http. GET /healthz answers 200, and 503 while shutting down; GET /metrics gives
figures for Prometheus.`,
		Example: `  tapedeck serve --http 127.0.0.1:7980
  LIVEKIT_URL=http://127.0.0.1:7980 lk egress list`,
		Args: argsExactly(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.config.LiveKit.Enabled = a.config.LiveKit.Enabled || livekit
			return a.serve(cmd)
		},
	}
	redisFlag(cmd)
	httpFlag(cmd, defaultListen)
	cmd.Flags().BoolVar(&livekit, "livekit", false, "tell the livekit-server on the same Redis of changes")
	return cmd
}

func (a *app) serve(cmd *cobra.Command) error {
	if a.config.HTTP.Listen == "" {
		a.config.HTTP.Listen = defaultListen
	}
	if err := a.httpConfig(cmd); err != nil {
		return err
	}
	if err := a.config.requireKey("serve"); err != nil {
		return err
	}
	if err := a.redisConfig(cmd); err != nil {
		return err
	}
	log := a.logger(a.err, recorder.NewScrubber(recorder.Job{}, a.config.secrets()...))
	ctx, _, stopSignals := drainSignals(cmd.Context(), log)
	defer stopSignals()
	q, err := a.awaitQueue(ctx, "", nil, log)
	if q == nil {
		return err
	}
	defer q.Close()
	q.Tidy() // a lone worker that never comes back leaves its job to whoever is left
	sights, _ := a.sights(ctx, control.Sources{Redis: q.Ping}, log)
	doors, err := a.openDoors(ctx, q, nil, sights, log)
	if err != nil {
		return err
	}
	log.Info("serving", zap.String("version", version))
	<-ctx.Done()
	doors.close(ctx)
	log.Info("down")
	return nil
}
