package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tapedeck/recorder"
	"tapedeck/recorder/queue"
)

func (a *app) listCommand() *cobra.Command {
	var f recorder.Filter
	var asJSON, workers bool
	cmd := &cobra.Command{
		Use:   "list [ID…]",
		Short: "List jobs with their state, newest first",
		RunE: func(cmd *cobra.Command, args []string) error {
			f.IDs = args
			q, err := a.client(cmd)
			if err != nil {
				return err
			}
			defer q.Close()
			if workers {
				return a.listWorkers(cmd, q, asJSON)
			}
			recs, err := q.List(cmd.Context(), f)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(a.out, recs)
			}
			return printTable(a.out, recs, time.Now())
		},
	}
	redisFlag(cmd)
	cmd.Flags().BoolVar(&f.Active, "active", false, "only jobs that did not end")
	cmd.Flags().StringVar(&f.RoomName, "room", "", "only jobs of this room")
	cmd.Flags().IntVar(&f.Limit, "limit", 0, "at most so many (default 100)")
	cmd.Flags().BoolVar(&workers, "workers", false, "list the workers of the pool instead")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return cmd
}

func printJSON[T any](w io.Writer, list []T) error {
	enc := json.NewEncoder(w)
	for _, item := range list {
		if err := enc.Encode(item); err != nil {
			return err
		}
	}
	return nil
}

func printTable(w io.Writer, recs []recorder.Recording, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tSTATUS\tSOURCE\tAGE\tRECORDED\tWORKER\tRESULT")
	for _, rec := range recs {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", rec.ID, rec.Status, recorder.PlainText(source(rec)),
			now.Sub(time.Unix(0, rec.CreatedAt)).Round(time.Second), recorded(rec), recorder.PlainText(rec.Worker),
			recorder.PlainText(withNotes(result(rec), rec)))
	}
	return t.Flush()
}

func source(rec recorder.Recording) string {
	if rec.RoomName != "" {
		return "room " + rec.RoomName
	}
	return rec.URL
}

// recorded is how long the last part is: of one that was cut off, as its files say.
func recorded(rec recorder.Recording) string {
	d := rec.Stats.Elapsed.Std()
	for _, f := range rec.Files {
		d = max(d, time.Duration(f.Duration))
	}
	if d > 0 {
		return d.Round(time.Second).String()
	}
	return "-"
}

// result is an error, or what keeps an output from its storage, or where the first output is, or how
// the streams are.
func result(rec recorder.Recording) string {
	if rec.Error != nil {
		return fmt.Sprintf("%s: %s", rec.EndReason, rec.Error.Message)
	}
	outputs := outputsOf(rec, rec)
	for _, o := range outputs {
		if o.err != "" && o.state != recorder.FileDelivered {
			return o.now + ": " + o.err
		}
	}
	for _, o := range outputs {
		if o.location != "" {
			return o.location
		}
	}
	for _, s := range rec.Streams {
		return fmt.Sprintf("%s %s", s.URL, s.State)
	}
	return string(rec.EndReason)
}

func (a *app) listWorkers(cmd *cobra.Command, q *queue.Queue, asJSON bool) error {
	workers, err := q.Workers(cmd.Context())
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(a.out, workers)
	}
	t := tabwriter.NewWriter(a.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "WORKER\tSTATE\tRUNNING\tSLOTS\tVERSION\tSEEN")
	for _, w := range workers {
		state := "alive"
		switch {
		case !w.Alive:
			state = "gone"
		case w.Draining:
			state = "draining"
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\t%s ago\n", w.ID, state, len(w.Running), w.Slots, w.Version,
			time.Since(time.Unix(0, w.SeenAt)).Round(time.Second))
	}
	return t.Flush()
}
