package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"tapedeck/recorder"
	"tapedeck/recorder/upload"
)

type recordFlags struct {
	encodingFlags
	room       roomFlags
	output     string
	awaitStart bool
	json       bool
	noSandbox  bool
}

func (a *app) recordCommand() *cobra.Command {
	var f recordFlags
	cmd := &cobra.Command{
		Use:   "record [URL] -o out.mp4",
		Short: "Record one page or room now: no Redis",
		Long: `Record one page now, or with --room one LiveKit room, whose server and key are
those of the configuration (TAPEDECK_LIVEKIT_URL, _API_KEY, _API_SECRET). The file's extension says what is written: .mp4 (H.264 and
AAC), .webm (VP8 and Opus), .ogg (Opus) or .mp3. --hls writes HLS segments with
a playlist, --images a picture every so often, --stream sends live; all at once
from one encoding.

Ctrl-C ends the recording and finalises the file; a second Ctrl-C skips
everything a whole file does not need, a third one kills. The recording is kept
in the spool until it is verified at its destination.`,
		Example: `  tapedeck record https://example.com -o out.mp4 --duration 30s
  tapedeck record https://example.com --rtmp @stream-url.txt -o copy.mp4
  tapedeck record https://example.com --hls talk/talk --hls-live live --images talk/thumb --image-size 320
  tapedeck record https://example.com --s3 s3://recordings/talk.mp4
  tapedeck record --room standup --layout grid -o standup.mp4`,
		Args: func(cmd *cobra.Command, args []string) error {
			if f.room.source.RoomName != "" && len(args) == 0 {
				return nil
			}
			return argsExactly(1, "one URL, or --room")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.record(cmd, strings.Join(args, ""), &f)
		},
	}
	f.register(cmd.Flags(), "the")
	f.series.register(cmd.Flags(), "on this machine")
	f.room.register(cmd.Flags())
	cmd.Flags().StringVarP(&f.output, "output", "o", "", "file to write, .mp4, .webm, .ogg or .mp3")
	cmd.Flags().BoolVar(&f.awaitStart, "await-start", false, "wait for the page to log START_RECORDING")
	cmd.Flags().BoolVar(&f.json, "json", false, "print the result as JSON")
	cmd.Flags().BoolVar(&f.noSandbox, "no-sandbox", false, "run Chrome without its sandbox (only in a box of its own)")
	return cmd
}

func (a *app) record(cmd *cobra.Command, url string, f *recordFlags) error {
	job, outputDir, err := f.job(cmd, url)
	if err != nil {
		return err
	}
	if f.noSandbox {
		a.config.Chrome.Sandbox = false
	}
	pass, err := a.admit(job)
	if err != nil {
		return err
	}
	live := newLiveLine(a.err)
	log := a.recordLog(recorder.Task{Job: job, Pass: pass}, live)
	spool, err := upload.NewSpool(a.config.Spool, upload.Options{Overwrite: true, Log: log, KeepLogs: keptLogs})
	if err != nil {
		return err
	}
	task := newTask(job, time.Now())
	task.OutputDir = outputDir
	entry, err := spool.Create(task)
	if err != nil {
		return err
	}
	task = entry.Task()
	task.Pass = pass
	runner := a.newRecorder(log)
	commands, now2, stopSignals := interrupts(log)
	defer stopSignals()
	report, series := saving(entry, live.report(log), log), recorder.NewFollowing(cmd.Context(), entry, nil)
	rec := runner.Run(cmd.Context(), task, commands, func(rec recorder.Recording) {
		series.See(rec)
		report(rec)
	})
	series.Stop()
	rec = a.deliverNow(cmd.Context(), entry, rec, now2, live)
	return a.printRecording(rec, f.json)
}

// saving keeps each new status beside the media, for `spool push` after a crash.
func saving(entry recorder.SpoolEntry, report func(recorder.Recording), log *zap.Logger) func(recorder.Recording) {
	saved := recorder.Status("")
	return func(rec recorder.Recording) {
		if rec.Status != saved {
			saved = rec.Status
			if err := entry.Save(rec); err != nil {
				log.Error("the spool does not take the state", zap.Error(err))
			}
		}
		report(rec)
	}
}

// newTask is the first and only attempt at a job, here and now.
func newTask(job recorder.Job, now time.Time) recorder.Task {
	rec := recorder.NewRecording(job, now)
	rec.Status, rec.Attempt = recorder.StatusStarting, 1
	return recorder.Task{Job: job, Recording: rec}
}

func newJobID() string { return "EG_" + strings.ReplaceAll(uuid.NewString(), "-", "")[:16] }

// job makes the job of the flags, and the directory of -o.
func (f *recordFlags) job(cmd *cobra.Command, url string) (recorder.Job, string, error) {
	job := recorder.Job{
		ID:     newJobID(),
		Source: recorder.Source{URL: url, AwaitStartSignal: f.awaitStart},
	}
	if err := errors.Join(f.apply(cmd.Flags(), &job), f.room.apply(cmd.Flags(), &job)); err != nil {
		return job, "", err
	}
	outputDir, err := localOutputs(&job, f.output)
	if err != nil {
		return job, outputDir, err
	}
	ext := recorder.ExtMP4
	if f.audioOnly {
		ext = recorder.ExtOGG
	}
	outs, err := f.uploads(ext)
	if err != nil {
		return job, outputDir, err
	}
	job.Files = append(job.Files, outs...)
	if len(job.Files)+len(job.Streams)+len(job.Segments)+len(job.Images) == 0 {
		return job, outputDir, usageError{errors.New("name an output: -o out.mp4, --hls, --images, --stream, --s3 or --upload-url")}
	}
	return job, outputDir, job.Validate()
}

// checkOutput finds out before the recording, not after it, whether -o can be written.
func checkOutput(flag, output string) (string, error) {
	abs, err := filepath.Abs(output)
	if err != nil {
		return "", usageError{fmt.Errorf("%s %q: %w", flag, output, err)}
	}
	if info, err := os.Stat(abs); err == nil && info.IsDir() {
		return "", usageError{fmt.Errorf("%s %q: is a directory: name a file in it", flag, output)}
	}
	switch strings.ToLower(filepath.Ext(abs)) {
	case recorder.ExtMP4, recorder.ExtWebM, recorder.ExtOGG, recorder.ExtMP3:
	default:
		return "", usageError{fmt.Errorf("%s %q: the extension says what is written: use .mp4, .webm, .ogg or .mp3", flag, output)}
	}
	return abs, checkWritable(flag, output, filepath.Dir(abs))
}

// checkWritable makes the directory of an output and sees that files can be made in it.
func checkWritable(flag, output, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return usageError{fmt.Errorf("%s %q: %w", flag, output, err)}
	}
	probe, err := os.CreateTemp(dir, ".tapedeck-*")
	if err != nil {
		return usageError{fmt.Errorf("%s %q: cannot be written: %w", flag, output, err)}
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// recordLog is quiet beside a live line, where warnings are enough.
func (a *app) recordLog(task recorder.Task, live *liveLine) *zap.Logger {
	if live.on && a.config.Log.Level == "info" {
		a.config.Log.Level = "warn"
	}
	if a.config.Log.Format == "" {
		a.config.Log.Format = "console"
	}
	return a.logger(live, task.Scrubber())
}

// notifyEnd delivers what asks a process to end: Ctrl-C, a supervisor, and a
// terminal that closes, unless nohup said that it does not matter.
func notifyEnd(to chan<- os.Signal) {
	signal.Notify(to, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(to, syscall.SIGHUP)
	}
}

// interrupts turns Ctrl-C and SIGTERM into commands: stop, then stop now. The
// second channel is closed at the second signal. A third one ends the process.
func interrupts(log *zap.Logger) (<-chan recorder.Command, <-chan struct{}, func()) {
	signals := make(chan os.Signal, 2)
	notifyEnd(signals)
	commands := make(chan recorder.Command, 2)
	second, done := make(chan struct{}), make(chan struct{})
	go func() {
		for n := 0; n < 2; n++ {
			select {
			case <-signals:
			case <-done:
				return
			}
			commands <- recorder.Command{Kind: recorder.CommandStop, Reason: recorder.EndStopped, Now: n > 0}
			if n == 0 {
				log.Warn("ending: the recording is finalised and delivered; a second signal leaves what is not delivered to the spool")
				continue
			}
			signal.Stop(signals)
			log.Warn("ending at once; a third signal kills")
			close(second)
		}
	}()
	return commands, second, func() {
		signal.Stop(signals)
		close(done)
	}
}

// impatience is what a delivery gets after the second Ctrl-C.
const impatience = 2 * time.Second

// deliverNow uploads until everything arrived, or the user has enough: then the
// spool keeps the recording, and the next worker on it goes on.
func (a *app) deliverNow(ctx context.Context, entry recorder.SpoolEntry, rec recorder.Recording, enough <-chan struct{}, live *liveLine) recorder.Recording {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-enough:
		case <-ctx.Done():
			return
		}
		select { // a local directory takes its file in that time
		case <-time.After(impatience):
			cancel()
		case <-ctx.Done():
		}
	}()
	if rec.StartedAt != 0 {
		rec = entry.Deliver(ctx, rec, live.delivery)
	}
	settled := rec.Settled()
	rec = recorder.Conclude(rec)
	live.close()
	var err error
	if settled {
		err = entry.Free()
	} else {
		err = entry.Close()
	}
	if err != nil && !errors.Is(err, upload.ErrUndelivered) { // of that the result tells
		fmt.Fprintf(a.err, "tapedeck: the spool: %s\n", err)
	}
	return rec
}

// printRecording shows what became of a recording, and gives its error.
func (a *app) printRecording(rec recorder.Recording, asJSON bool) error {
	var err error
	if asJSON {
		err = json.NewEncoder(a.out).Encode(rec)
	} else {
		err = printSummary(a.out, rec, a.config.Spool)
	}
	if err != nil {
		return err
	}
	if rec.Error != nil {
		if asJSON {
			return silentError{rec.Error}
		}
		return rec.Error
	}
	return nil
}
