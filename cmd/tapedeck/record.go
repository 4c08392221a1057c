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
	output     string
	awaitStart bool
	json       bool
	noSandbox  bool
}

func (a *app) recordCommand() *cobra.Command {
	var f recordFlags
	cmd := &cobra.Command{
		Use:   "record URL -o out.mp4",
		Short: "Record one page now: no Redis, no configuration",
		Long: `Record one page now. The file's extension says what is written: .mp4 (H.264 and
AAC), .webm (VP8 and Opus), .ogg (Opus) or .mp3.

Ctrl-C ends the recording and finalises the file; a second Ctrl-C skips
everything a whole file does not need, a third one kills. The recording is kept
in the spool until it is verified at its destination.`,
		Example: `  tapedeck record https://example.com -o out.mp4 --duration 30s
  tapedeck record https://example.com --rtmp @stream-url.txt -o copy.mp4
  tapedeck record https://example.com --s3 s3://recordings/talk.mp4`,
		Args: argsExactly(1, "one URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.record(cmd, args[0], &f)
		},
	}
	f.register(cmd.Flags(), "the")
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
	live := newLiveLine(a.err)
	log := a.recordLog(job, live)
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
	runner := a.newRecorder(log)
	commands, now2, stopSignals := interrupts(log)
	defer stopSignals()
	rec := runner.Run(cmd.Context(), entry.Task(), commands, saving(entry, live.report(log), log))
	return a.deliverNow(cmd.Context(), entry, rec, now2, f, live)
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

// job makes the job of the flags, and the directory of -o.
func (f *recordFlags) job(cmd *cobra.Command, url string) (recorder.Job, string, error) {
	job := recorder.Job{
		ID:     "EG_" + strings.ReplaceAll(uuid.NewString(), "-", "")[:16],
		Source: recorder.Source{URL: url, AwaitStartSignal: f.awaitStart},
	}
	outputDir := ""
	if err := f.apply(cmd.Flags(), &job); err != nil {
		return job, outputDir, err
	}
	if f.output != "" {
		abs, err := f.checkOutput()
		if err != nil {
			return job, outputDir, err
		}
		outputDir = filepath.Dir(abs)
		// The manifest is for those who look for recordings in a storage.
		job.Files = append(job.Files, recorder.FileOutput{Filepath: filepath.Base(abs), DisableManifest: true})
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
	if len(job.Files) == 0 && len(job.Streams) == 0 {
		return job, outputDir, usageError{errors.New("name an output: -o out.mp4, --rtmp, --s3 or --upload-url")}
	}
	return job, outputDir, job.Validate()
}

// checkOutput finds out before the recording, not after it, whether -o can be written.
func (f *recordFlags) checkOutput() (string, error) {
	abs, err := filepath.Abs(f.output)
	if err != nil {
		return "", usageError{fmt.Errorf("-o %q: %w", f.output, err)}
	}
	if info, err := os.Stat(abs); err == nil && info.IsDir() {
		return "", usageError{fmt.Errorf("-o %q: is a directory: name a file in it", f.output)}
	}
	switch strings.ToLower(filepath.Ext(abs)) {
	case recorder.ExtMP4, recorder.ExtWebM, recorder.ExtOGG, recorder.ExtMP3:
	default:
		return "", usageError{fmt.Errorf("-o %q: the extension says what is written: use .mp4, .webm, .ogg or .mp3", f.output)}
	}
	dir := filepath.Dir(abs)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", usageError{fmt.Errorf("-o %q: %w", f.output, err)}
	}
	probe, err := os.CreateTemp(dir, ".tapedeck-*")
	if err != nil {
		return "", usageError{fmt.Errorf("-o %q: cannot be written: %w", f.output, err)}
	}
	return abs, errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// recordLog is quiet beside a live line, where warnings are enough.
func (a *app) recordLog(job recorder.Job, live *liveLine) *zap.Logger {
	if live.on && a.config.Log.Level == "info" {
		a.config.Log.Level = "warn"
	}
	if a.config.Log.Format == "" {
		a.config.Log.Format = "console"
	}
	return a.logger(live, recorder.NewScrubber(job))
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
func (a *app) deliverNow(ctx context.Context, entry recorder.SpoolEntry, rec recorder.Recording, enough <-chan struct{}, f *recordFlags, live *liveLine) error {
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
	if f.json {
		err = json.NewEncoder(a.out).Encode(rec)
	} else {
		err = printSummary(a.out, rec, a.config.Spool)
	}
	if err != nil {
		return err
	}
	if rec.Error != nil {
		if f.json {
			return silentError{rec.Error}
		}
		return rec.Error
	}
	return nil
}
