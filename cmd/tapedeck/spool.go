package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/signal"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tapedeck/recorder"
	"tapedeck/recorder/upload"
)

func (a *app) spoolCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "spool",
		Short: "See and deliver what interrupted recordings left in the spool",
		Long: `See and deliver what interrupted recordings left in the spool. A worker delivers
its own when it starts; these verbs are for what "record" left, and for machines
whose worker will not come back.`,
	}
	cmd.AddCommand(a.spoolListCommand(), a.spoolPushCommand())
	return cmd
}

func (a *app) spoolListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List recordings in the spool that no running process works on",
		Args:  argsExactly(0, "no arguments"),
		RunE: func(_ *cobra.Command, _ []string) error {
			entries, err := a.spoolLeft(upload.Options{})
			if err != nil {
				return err
			}
			t := tabwriter.NewWriter(a.out, 0, 4, 2, ' ', 0)
			fmt.Fprintln(t, "ID\tSTATUS\tSOURCE\tSINCE\tWORKER\tDIRECTORY")
			for _, e := range entries {
				task := e.Task()
				rec := task.Recording
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", rec.ID, rec.Status, source(rec),
					time.Unix(0, rec.CreatedAt).Format(time.DateTime), rec.Worker, task.Dir)
				err = errors.Join(err, e.Close())
			}
			return errors.Join(t.Flush(), err)
		},
	}
}

func (a *app) spoolPushCommand() *cobra.Command {
	var all bool
	var outputDir string
	cmd := &cobra.Command{
		Use:   "push",
		Short: "Deliver them: to where they were meant to go",
		Args:  argsExactly(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return a.spoolPush(ctx, outputDir, all)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "also what belongs to workers; their jobs learn of it when the worker is back")
	cmd.Flags().StringVar(&outputDir, "output-dir", "", "where files go that name no storage (default: the configuration's)")
	return cmd
}

func (a *app) spoolLeft(opts upload.Options) ([]recorder.SpoolEntry, error) {
	spool, err := upload.NewSpool(a.config.Spool, opts)
	if err != nil {
		return nil, err
	}
	return spool.Left()
}

func (a *app) spoolPush(ctx context.Context, outputDir string, all bool) error {
	storage, err := a.storage(outputDir)
	if err != nil {
		return err
	}
	log := a.logger(a.err, recorder.Scrubber{})
	opts, err := a.spoolOptions(storage, log)
	if err != nil {
		return err
	}
	entries, err := a.spoolLeft(opts)
	if err != nil {
		return err
	}
	for _, e := range entries {
		rec := e.Task().Recording
		if rec.Worker != "" && !all {
			fmt.Fprintf(a.out, "%s: left to worker %s (--all delivers it now)\n", rec.ID, rec.Worker)
			err = errors.Join(err, e.Close())
			continue
		}
		err = errors.Join(err, a.push(ctx, e))
	}
	return err
}

// push delivers one entry. What belongs to a worker stays as an entry without
// media, so that the worker can end the job.
func (a *app) push(ctx context.Context, e recorder.SpoolEntry) error {
	task := e.Task()
	rec := task.Recording
	if rec.EndedAt == 0 {
		rec = recorder.Salvage(rec, task.Dir, recorder.Errorf(recorder.CodeChildDied,
			"the recording was interrupted; this is what there was until then"), recorder.EndChildDied, time.Now().UnixNano())
	}
	rec = e.Deliver(ctx, rec, func(recorder.Recording) {})
	for _, f := range rec.Files {
		fmt.Fprintf(a.out, "%s: %s %s %s\n", rec.ID, f.State, f.Location, f.Error)
	}
	for _, r := range rec.Segments {
		fmt.Fprintf(a.out, "%s: %s %s %s\n", rec.ID, r.State, cmp.Or(r.PlaylistLocation, r.PlaylistName), r.Error)
	}
	for _, r := range rec.Images {
		fmt.Fprintf(a.out, "%s: %s %d images %s %s\n", rec.ID, r.State, r.ImageCount, r.FilenamePrefix, r.Error)
	}
	if !rec.Settled() {
		return errors.Join(e.Close(), recorder.Errorf(recorder.CodeUpload, "%s was not delivered: the spool keeps it", rec.ID))
	}
	if rec.Worker != "" {
		return e.Close()
	}
	return e.Free()
}
