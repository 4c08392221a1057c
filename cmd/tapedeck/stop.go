package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"tapedeck/recorder"
)

func (a *app) stopCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stop ID",
		Short: "End a job: its recording is finalised and delivered",
		Args:  argsExactly(1, "one job id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := a.client(cmd)
			if err != nil {
				return err
			}
			defer q.Close()
			found, err := q.List(cmd.Context(), recorder.Filter{IDs: args})
			if err == nil && len(found) == 1 && found[0].Status == recorder.StatusEnding {
				fmt.Fprintf(a.err, "tapedeck: job %s is ending already: what is still being finalised is hurried, deliveries go on\n", args[0])
			}
			return q.Stop(cmd.Context(), args[0], recorder.EndStopped)
		},
	}
	redisFlag(cmd)
	return cmd
}
