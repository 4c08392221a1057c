package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"tapedeck/pipeline"
	"tapedeck/recorder"
	"tapedeck/recorder/capture"
	"tapedeck/recorder/upload"
	"tapedeck/templates"
)

// finding is one thing doctor looked at.
type finding struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
	Remedy string `json:"remedy,omitempty"` // what to do when it is not OK
	// Passing is what may mend itself while a worker records on: no reason to end it.
	Passing bool `json:"passing,omitempty"`
}

func (a *app) doctorCommand() *cobra.Command {
	var quick, asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check the machine and say how to mend what is missing",
		Long: `Check what a worker needs: Chrome and its sandbox, the X and sound servers, every
GStreamer element that is used, fonts, shared memory, disk space, the queue, the
storage and, where they are configured, the LiveKit server, over HTTP and over
Redis, and the address of the egress API. Exit code 1 when something is missing.

With --quick it is a health check: a Redis that is away and a disk that fills up
are told, but only a spool that cannot be used is a failure, for whoever restarts
an unhealthy worker ends its recordings.`,
		Args: argsExactly(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.redisConfig(cmd); err != nil {
				return err
			}
			findings := a.examine(cmd.Context(), quick)
			if err := a.printFindings(findings, asJSON); err != nil {
				return err
			}
			for _, f := range findings {
				if !f.OK && (!quick || !f.Passing) {
					return silentError{errors.New("something is missing")}
				}
			}
			return nil
		},
	}
	redisFlag(cmd)
	cmd.Flags().BoolVar(&quick, "quick", false, "only what can change while a worker runs: queue and disk (a health check)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return cmd
}

const examineTimeout = time.Minute

func (a *app) examine(ctx context.Context, quick bool) []finding {
	ctx, cancel := context.WithTimeout(ctx, examineTimeout)
	defer cancel()
	findings := []finding{a.examineRedis(ctx), a.examineSpool()}
	if quick {
		return findings
	}
	for _, f := range capture.Check(ctx, a.captureOptions(zap.NewNop())) {
		findings = append(findings, finding{Name: f.Name, OK: f.OK, Detail: f.Detail, Remedy: f.Remedy})
	}
	findings = append(findings, examineGStreamer(), a.examineStorage(ctx), examineTemplate())
	if a.config.LiveKit.URL != "" || a.config.LiveKit.hasKey() { // web pages need none
		findings = append(findings, a.examineLiveKit(ctx))
	}
	if a.config.LiveKit.Enabled {
		findings = append(findings, a.examineServer(ctx))
	}
	return append(findings, a.examineHTTP()...)
}

func examineTemplate() finding {
	f := finding{Name: "template", OK: true, Detail: "the built-in template for rooms is in this binary"}
	if err := templates.Built(); err != nil {
		f.OK, f.Detail, f.Remedy = false, err.Error(), "build with `make build`; rooms with a custom_base_url work without"
	}
	return f
}

func (a *app) examineLiveKit(ctx context.Context) finding {
	f := finding{Name: "LiveKit", OK: true, Detail: recorder.RedactURL(a.config.LiveKit.URL) + " accepts the key"}
	if a.config.LiveKit.APIKey == "" {
		f.Detail = recorder.RedactURL(a.config.LiveKit.URL) + ": jobs bring their own tokens"
		return f
	}
	if err := a.door().Check(ctx); err != nil {
		f.OK, f.Detail = false, recorder.ScrubText(err.Error())
		f.Remedy = "check livekit.url, livekit.api_key and livekit.api_secret; without the latter two, jobs bring their own tokens"
	}
	return f
}

func (a *app) examineRedis(ctx context.Context) finding {
	f := finding{Name: "Redis", Passing: true}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	q, err := a.openQueue(ctx, "", zap.NewNop())
	if err == nil {
		_, err = q.List(ctx, recorder.Filter{Limit: 1})
		err = errors.Join(err, q.Close())
	}
	if err != nil {
		f.Detail = recorder.ScrubText(err.Error())
		f.Remedy = "start Redis, or name it with --redis or TAPEDECK_REDIS_URL (`record` works without)"
		return f
	}
	f.OK, f.Passing, f.Detail = true, false, "the queue answers"
	return f
}

// enoughDisk is an hour of two 1080p recordings.
const enoughDisk = 4 << 30

func (a *app) examineSpool() finding {
	f := finding{Name: "spool", Detail: a.config.Spool}
	_, err := upload.NewSpool(a.config.Spool, upload.Options{})
	if err == nil {
		err = unix.Access(a.config.Spool, unix.W_OK|unix.X_OK) // EROFS as well
	}
	if err != nil {
		f.Detail, f.Remedy = err.Error(), "choose another directory with `spool` in the configuration or TAPEDECK_SPOOL"
		return f
	}
	size, free, err := diskOf(a.config.Spool)
	if err != nil {
		f.Detail, f.Remedy = err.Error(), "check the file system"
		return f
	}
	f.Detail = fmt.Sprintf("%s, %s free", a.config.Spool, humanBytes(free))
	low := a.config.Worker.lowDisk(size, free)
	if low != "" {
		f.Detail = a.config.Spool + ", " + low
	}
	if low != "" || free < enoughDisk {
		f.Passing = true
		f.Remedy = "make room: 3 Mbit/s are 1.35 GB an hour, and the spool holds what storage has not taken yet"
		return f
	}
	f.OK = true
	return f
}

func examineGStreamer() finding {
	missing := pipeline.Missing()
	if len(missing) == 0 {
		return finding{Name: "GStreamer", OK: true, Detail: fmt.Sprintf("%d elements", len(pipeline.Elements()))}
	}
	return finding{
		Name: "GStreamer", Detail: "missing: " + strings.Join(missing, ", "),
		Remedy: "run build/setup.sh runtime, or install gstreamer1.0-plugins-{base,good,bad,ugly}, gstreamer1.0-libav and glib-networking",
	}
}

func (a *app) examineStorage(ctx context.Context) finding {
	f := finding{Name: "storage"}
	storage, err := a.storage("")
	backup, backupErr := a.backupStorage()
	if err = errors.Join(err, backupErr); err == nil {
		f.Detail = storageNames(storage, backup)
		err = upload.Check(ctx, storage)
	}
	if err == nil && backup != (upload.Storage{}) {
		if err = upload.Check(ctx, backup); err != nil {
			err = fmt.Errorf("backup: %w", err)
		}
	}
	if err != nil {
		f.Detail = recorder.ScrubText(err.Error())
		f.Remedy = "mend the storage, or name another in the configuration (docs/storage.md)"
		return f
	}
	f.OK = true
	f.Detail += ": a test file was written and removed"
	return f
}

func (a *app) printFindings(findings []finding, asJSON bool) error {
	enc := json.NewEncoder(a.out)
	for _, f := range findings {
		if asJSON {
			if err := enc.Encode(f); err != nil {
				return err
			}
			continue
		}
		mark := "ok     "
		if !f.OK {
			mark = "MISSING"
		}
		fmt.Fprintf(a.out, "%s  %-18s %s\n", mark, f.Name, f.Detail)
		if !f.OK {
			fmt.Fprintf(a.out, "         %-18s -> %s\n", "", f.Remedy)
		}
	}
	if os.Geteuid() == 0 && a.config.Chrome.Sandbox && !asJSON {
		fmt.Fprintf(a.out, "We are root: Chrome, X and sound server run as %q.\n", a.config.Chrome.User)
	}
	return nil
}
