package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/spf13/cobra"

	"tapedeck/recorder"
)

func (a *app) watchCommand() *cobra.Command {
	var after string
	var asJSON, untilEnd bool
	cmd := &cobra.Command{
		Use:   "watch [ID]",
		Short: "See events live, of one job or of all",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return argsExactly(1, "at most one job id")(cmd, args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt)
			defer stop()
			q, err := a.client(cmd)
			if err != nil {
				return err
			}
			defer q.Close()
			if untilEnd && after == "" && len(args) == 1 {
				found, err := q.List(ctx, recorder.Filter{IDs: args})
				if err != nil {
					return err
				}
				if len(found) == 1 && found[0].Status.Ended() { // its event was the last one
					a.printEvent(recorder.Event{Type: recorder.EventEnded, At: found[0].UpdatedAt, Recording: found[0]}, asJSON)
					return nil
				}
			}
			err = q.Watch(ctx, after, func(e recorder.Event) bool {
				if len(args) == 1 && e.Recording.ID != args[0] {
					return true
				}
				a.printEvent(e, asJSON)
				return !untilEnd || e.Type != recorder.EventEnded
			})
			if ctx.Err() != nil {
				return nil // Ctrl-C is how one stops watching
			}
			return err
		},
	}
	redisFlag(cmd)
	cmd.Flags().StringVar(&after, "after", "", "begin after this event id; 0 is the oldest kept (default: only new ones)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	cmd.Flags().BoolVar(&untilEnd, "until-end", false, "return at the first recording_ended")
	return cmd
}

func (a *app) printEvent(e recorder.Event, asJSON bool) {
	if asJSON {
		// The terminal or pipe is gone when this fails: nothing is left to tell it to.
		_ = json.NewEncoder(a.out).Encode(e)
		return
	}
	rec := e.Recording
	fmt.Fprintf(a.out, "%s  %s  %s  %s  %s\n", time.Unix(0, e.At).Format("15:04:05.000"), rec.ID, e.Type, rec.Status, withNotes(result(rec), rec))
}
