package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"tapedeck/recorder"
)

type enqueueFlags struct {
	encodingFlags
	room       roomFlags
	url        string
	files      []string
	id         string
	awaitStart bool
	onLoss     string
	json       bool
}

func (a *app) enqueueCommand() *cobra.Command {
	var f enqueueFlags
	cmd := &cobra.Command{
		Use:   "enqueue [JOB.yaml]",
		Short: "Start a job: from flags, or from a JSON or YAML file",
		Long: `Start a job: from flags, from a JSON or YAML file (- is standard input), or from
a file with flags on top. docs/queue.md describes the fields, and how to do the
same with any Redis client. Prints the job's id.`,
		Example: `  tapedeck enqueue --url https://example.com --file talk.mp4
  tapedeck enqueue --room demo --layout grid --file '{room_name}-{time}.mp4' --rtmp @key.txt
  tapedeck enqueue --room demo --hls 'live/{room_name}' --hls-live live --stream srt://ingest.example.com:9000?streamid=demo
  tapedeck enqueue job.yaml --duration 10m`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return argsExactly(1, "one job file")(cmd, args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.enqueue(cmd, args, &f)
		},
	}
	redisFlag(cmd)
	f.register(cmd.Flags(), "the worker's")
	f.series.register(cmd.Flags(), "in the worker's storage")
	f.room.register(cmd.Flags())
	fl := cmd.Flags()
	fl.StringVar(&f.url, "url", "", "web page to record")
	fl.BoolVar(&f.awaitStart, "await-start", false, "wait for the page to log START_RECORDING (rooms always do)")
	fl.StringArrayVar(&f.files, "file", nil, "file to write in the worker's storage, such as {room_name}-{time}.mp4; repeatable")
	fl.StringVar(&f.id, "id", "", "the job's id (default: a new one)")
	fl.StringVar(&f.onLoss, "on-worker-loss", "", "when its worker, display, sound server or pipeline is lost: resume (the default) records on as a further part, end does not")
	fl.BoolVar(&f.json, "json", false, "print the job's state as JSON")
	return cmd
}

func (a *app) enqueue(cmd *cobra.Command, args []string, f *enqueueFlags) error {
	job, err := f.job(cmd, args, a.in)
	if err != nil {
		return err
	}
	q, err := a.client(cmd)
	if err != nil {
		return err
	}
	defer q.Close()
	rec, err := q.Start(cmd.Context(), job)
	if err != nil {
		return err
	}
	if f.json {
		return json.NewEncoder(a.out).Encode(rec)
	}
	_, err = fmt.Fprintln(a.out, rec.ID)
	return err
}

func (f *enqueueFlags) job(cmd *cobra.Command, args []string, in io.Reader) (recorder.Job, error) {
	var job recorder.Job
	if len(args) == 1 {
		data, err := readJobFile(args[0], in)
		if err != nil {
			return job, err
		}
		// Its values are judged below, when the flags are in.
		if job, err = recorder.DecodeJob(data); err != nil {
			return job, err
		}
	}
	job.URL, job.ID = cmp.Or(f.url, job.URL), cmp.Or(f.id, job.ID)
	if err := f.room.apply(cmd.Flags(), &job); err != nil {
		return job, err
	}
	job.OnWorkerLoss = cmp.Or(recorder.OnLoss(f.onLoss), job.OnWorkerLoss)
	job.AwaitStartSignal = job.AwaitStartSignal || f.awaitStart
	if err := f.apply(cmd.Flags(), &job); err != nil {
		return job, err
	}
	for _, path := range f.files {
		job.Files = append(job.Files, recorder.FileOutput{Filepath: path, DisableManifest: f.noManifest})
	}
	outs, err := f.uploads(recorder.ExtMP4)
	if err != nil {
		return job, err
	}
	job.Files = append(job.Files, outs...)
	return job, job.Validate()
}

// readJobFile gives a job file as JSON.
func readJobFile(path string, in io.Reader) ([]byte, error) {
	var data []byte
	var err error
	if path == "-" {
		data, err = io.ReadAll(io.LimitReader(in, recorder.LargestJob+1))
	} else {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, usageError{fmt.Errorf("job file: %w", err)}
	}
	trimmed := strings.TrimSpace(string(data))
	if strings.EqualFold(filepath.Ext(path), ".json") || strings.HasPrefix(trimmed, "{") {
		return data, nil
	}
	out, err := yaml.YAMLToJSON(data)
	if err != nil {
		return nil, usageError{fmt.Errorf("job file %s: %s", path, yaml.FormatError(err, false, false))}
	}
	return out, nil
}
