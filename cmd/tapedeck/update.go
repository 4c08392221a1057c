package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"tapedeck/recorder"
)

func (a *app) updateCommand() *cobra.Command {
	var add, remove []string
	var layout string
	cmd := &cobra.Command{
		Use:   "update ID",
		Short: "Change the layout or the streams of a running job",
		Example: `  tapedeck update EG_7Qk2 --layout grid
  tapedeck update EG_7Qk2 --add-rtmp @key.txt --remove-rtmp st_5f0c9a1e`,
		Args: argsExactly(1, "one job id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			u, err := newUpdate(layout, add, remove)
			if err != nil {
				return err
			}
			return a.update(cmd, args[0], u, func(rec recorder.Recording) { a.tellUpdate(u, rec) })
		},
	}
	redisFlag(cmd)
	cmd.Flags().StringVar(&layout, "layout", "", "layout the room's page shows from now on")
	cmd.Flags().StringArrayVar(&add, "add-rtmp", nil, "ingest URL to add; @file reads it from a file; repeatable")
	cmd.Flags().StringArrayVar(&remove, "remove-rtmp", nil, "ingest URL, or stream id (st_…) as list shows it, to remove; repeatable")
	return cmd
}

// update sends an update, and tells before what its job's state says of it.
func (a *app) update(cmd *cobra.Command, id string, u recorder.Update, tell func(recorder.Recording)) error {
	q, err := a.client(cmd)
	if err != nil {
		return err
	}
	defer q.Close()
	found, err := q.List(cmd.Context(), recorder.Filter{IDs: []string{id}})
	if err == nil && len(found) == 1 {
		tell(found[0])
	}
	return q.Update(cmd.Context(), id, u)
}

// tellUpdate says what of an update will change nothing: a worker only logs it.
func (a *app) tellUpdate(u recorder.Update, rec recorder.Recording) {
	if u.Layout != "" && rec.RoomName == "" {
		fmt.Fprintf(a.err, "tapedeck: job %s records a web page of its own, which has no layout: that changes nothing\n", rec.ID)
	}
	for _, name := range u.RemoveStreamURLs {
		id := recorder.StreamNamed(name)
		if !slices.ContainsFunc(rec.Streams, func(s recorder.StreamResult) bool { return s.ID == id }) {
			fmt.Fprintf(a.err, "tapedeck: job %s has no stream %s now: `tapedeck list` shows those it has\n", rec.ID, id)
		}
	}
}

func newUpdate(layout string, add, remove []string) (recorder.Update, error) {
	u := recorder.Update{Layout: layout}
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
