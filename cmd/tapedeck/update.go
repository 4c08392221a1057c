package main

import (
	"github.com/spf13/cobra"

	"tapedeck/recorder"
)

func (a *app) updateCommand() *cobra.Command {
	var add, remove []string
	cmd := &cobra.Command{
		Use:   "update ID",
		Short: "Add or remove streams of a running job",
		Args:  argsExactly(1, "one job id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			u, err := newUpdate(add, remove)
			if err != nil {
				return err
			}
			q, err := a.client(cmd)
			if err != nil {
				return err
			}
			defer q.Close()
			return q.Update(cmd.Context(), args[0], u)
		},
	}
	redisFlag(cmd)
	cmd.Flags().StringArrayVar(&add, "add-rtmp", nil, "ingest URL to add; @file reads it from a file; repeatable")
	cmd.Flags().StringArrayVar(&remove, "remove-rtmp", nil, "ingest URL, or stream id (st_…) as list shows it, to remove; repeatable")
	return cmd
}

func newUpdate(add, remove []string) (recorder.Update, error) {
	var u recorder.Update
	for _, v := range add {
		url, err := secretFlag("add-rtmp", v)
		if err != nil {
			return u, err
		}
		u.AddStreamURLs = append(u.AddStreamURLs, url)
	}
	for _, v := range remove {
		url, err := secretFlag("remove-rtmp", v)
		if err != nil {
			return u, err
		}
		u.RemoveStreamURLs = append(u.RemoveStreamURLs, url)
	}
	return u, recorder.ValidateUpdate(u)
}
