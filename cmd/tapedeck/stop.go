package main

import (
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
			return q.Stop(cmd.Context(), args[0], recorder.EndStopped)
		},
	}
	redisFlag(cmd)
	return cmd
}
