package main

import (
	"fmt"
	"path/filepath"
	"sync"
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
whose worker will not come back. Neither deletes what is not delivered.`,
	}
	cmd.AddCommand(a.spoolListCommand(), a.spoolPushCommand())
	return cmd
}

func (a *app) spoolListCommand() *cobra.Command {
	var olderThan time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List what is in the spool, oldest first",
		Long: `List what is in the spool, oldest first: one entry for each part of a recording.
Its age is counted from the last write to its media. The states:

  running    a process records or delivers it
  left       nobody works on it: a worker on this spool, or "spool push", delivers it
  ORPHAN     left for longer than worker.spool_orphan_age (1h)
  untold     delivered, but its job does not know yet
  DAMAGED    cannot be read; it is kept as it is`,
		Args: argsExactly(0, "no arguments"),
		RunE: func(_ *cobra.Command, _ []string) error {
			if err := notNegative("--older-than", olderThan); err != nil {
				return err
			}
			spool, err := a.openSpool(upload.Options{})
			if spool == nil {
				return err
			}
			lines, err := a.spoolLines(spool, olderThan, time.Now())
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(a.out, lines)
			}
			return a.printSpool(lines)
		},
	}
	cmd.Flags().DurationVar(&olderThan, "older-than", 0, "only what was not written to for so long, such as 10m")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return cmd
}

// The states of an entry.
const (
	entryRunning = "running"
	entryLeft    = "left"
	entryOrphan  = "ORPHAN"
	entryUntold  = "untold"
	entryDamaged = "DAMAGED"
)

// spoolLine is what `spool ls` says of an entry.
type spoolLine struct {
	ID        string          `json:"id"`
	Part      int             `json:"part,omitempty"`
	Attempt   int             `json:"attempt,omitempty"`
	Worker    string          `json:"worker,omitempty"`
	Source    string          `json:"source,omitempty"`
	Status    recorder.Status `json:"status,omitempty"`
	State     string          `json:"state"`
	WrittenAt int64           `json:"written_at"` // ns since the Unix epoch
	Age       string          `json:"age"`
	// Undelivered is in bytes.
	Undelivered int64  `json:"undelivered_bytes"`
	Error       string `json:"error,omitempty"` // the last one
	Directory   string `json:"directory"`
}

func (a *app) spoolLines(spool *upload.Spool, olderThan time.Duration, now time.Time) ([]spoolLine, error) {
	held, err := spool.Survey()
	if err != nil {
		return nil, err
	}
	busy := areBusy(spool, held)
	var lines []spoolLine
	for i, h := range held {
		age := now.Sub(h.Written)
		if age < olderThan {
			break // they are sorted
		}
		rec := h.Task.Recording
		line := spoolLine{
			ID: h.Task.Job.ID, Part: rec.Part, Attempt: rec.Attempt, Worker: rec.Worker, Source: source(rec), Status: rec.Status,
			State: entryLeft, WrittenAt: h.Written.UnixNano(), Age: age.Round(time.Second).String(), Undelivered: h.Undelivered,
			Error: lastError(rec), Directory: h.Task.Dir,
		}
		switch {
		case h.Damaged != nil:
			line.State, line.Error = entryDamaged, h.Damaged.Error()
		case busy[i]:
			line.State = entryRunning
		case h.Undelivered == 0:
			line.State = entryUntold
		case age >= a.config.Worker.SpoolOrphanAge:
			line.State = entryOrphan
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// areBusy asks for all at once, for each that is busy takes a moment.
func areBusy(spool *upload.Spool, held []upload.Held) []bool {
	busy := make([]bool, len(held))
	var asked sync.WaitGroup
	for i, h := range held {
		asked.Go(func() { busy[i] = spool.Busy(h.Task.Dir) })
	}
	asked.Wait()
	return busy
}

// lastError is what keeps an output from its storage, or what ended the recording.
func lastError(rec recorder.Recording) string {
	for _, f := range rec.Files {
		if f.Error != "" && f.State != recorder.FileDelivered {
			return f.Error
		}
	}
	for _, s := range seriesOf(rec) {
		if s.Error != "" && s.State != recorder.FileDelivered {
			return s.Error
		}
	}
	if rec.Error != nil {
		return rec.Error.Message
	}
	return ""
}

func seriesOf(rec recorder.Recording) []recorder.Series {
	var all []recorder.Series
	for _, s := range rec.Segments {
		all = append(all, s.Series)
	}
	for _, s := range rec.Images {
		all = append(all, s.Series)
	}
	return all
}

func (a *app) printSpool(lines []spoolLine) error {
	t := tabwriter.NewWriter(a.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "ENTRY\tSTATE\tAGE\tUNDELIVERED\tSTATUS\tWORKER\tSOURCE\tLAST ERROR")
	for _, l := range lines {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", filepath.Base(l.Directory), l.State, l.Age, humanBytes(l.Undelivered),
			l.Status, l.Worker, l.Source, l.Error)
	}
	return t.Flush()
}
