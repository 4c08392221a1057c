package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"tapedeck/recorder"
)

func (a *app) pauseCommand() *cobra.Command {
	return a.pausingCommand(true, &cobra.Command{
		Use:   "pause ID",
		Short: "Leave what follows out of a job's files; streams show a slate",
		Long: `Leave what follows out of a job's files, segments and images, until resume.
They show no gap. Streams go on, with a slate in silence. Time limits go on, too.`,
	})
}

func (a *app) resumeCommand() *cobra.Command {
	return a.pausingCommand(false, &cobra.Command{
		Use:   "resume ID",
		Short: "Go on with a job that is paused",
	})
}

func (a *app) pausingCommand(on bool, cmd *cobra.Command) *cobra.Command {
	cmd.Args = argsExactly(1, "one job id")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.update(cmd, args[0], recorder.Update{Pause: &on}, func(rec recorder.Recording) { a.tellPause(on, rec) })
	}
	redisFlag(cmd)
	return cmd
}

// tellPause says what somebody who pauses or resumes might not expect.
func (a *app) tellPause(on bool, rec recorder.Recording) {
	text := ""
	switch {
	case rec.Status == recorder.StatusQueued || rec.Status == recorder.StatusStarting:
		text = "has not begun to record yet: the command waits for it"
	case rec.Status != recorder.StatusActive:
		return
	case on && rec.Paused():
		text = "is paused already"
	case !on && !rec.Paused():
		text = "is not paused"
	default:
		return
	}
	fmt.Fprintf(a.err, "tapedeck: job %s %s\n", rec.ID, text)
}
