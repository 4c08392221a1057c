package main

import (
	"context"
	"maps"
	"net/url"
	"slices"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"tapedeck/recorder"
	"tapedeck/recorder/queue"
)

func redisFlag(cmd *cobra.Command) {
	cmd.Flags().String("redis", "", "URL of the Redis with the queue; @file reads it from a file (default redis://127.0.0.1:6379/0)")
}

// redisConfig puts the --redis flag over the configuration.
func (a *app) redisConfig(cmd *cobra.Command) error {
	f := cmd.Flags().Lookup("redis")
	if f == nil || !f.Changed {
		return nil
	}
	u, err := secretFlag("redis", f.Value.String())
	a.config.Redis.URL = u
	return err
}

// openQueue connects as a worker, or, without an id, as a client.
func (a *app) openQueue(ctx context.Context, worker string, log *zap.Logger) (*queue.Queue, error) {
	queue.LogClient(log)
	return queue.Open(ctx, a.config.Redis.URL, queue.Options{
		Worker: worker, Prefix: a.config.Redis.Prefix, LeaseTTL: a.config.Redis.LeaseTTL, Log: log,
	})
}

// client connects a verb that only asks.
func (a *app) client(cmd *cobra.Command) (*queue.Queue, error) {
	if err := a.redisConfig(cmd); err != nil {
		return nil, err
	}
	log := a.logger(a.err, recorder.NewScrubber(recorder.Job{}, a.config.secrets()...))
	return a.openQueue(cmd.Context(), "", log)
}

// secrets lists what no log of ours may show.
func (c Config) secrets() []string {
	var all []string
	if u, err := url.Parse(c.Redis.URL); err == nil && u.User != nil {
		if p, ok := u.User.Password(); ok {
			all = append(all, p)
		}
	}
	all = append(append(all, c.Storage.secrets()...), c.LiveKit.APISecret)
	all = append(all, c.Webhooks.URLs...)
	return slices.AppendSeq(all, maps.Values(c.LiveKit.Keys))
}
