package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"tapedeck/recorder"
	"tapedeck/recorder/queue"
	"tapedeck/recorder/upload"
)

// pushFlags say which entries are pushed, and how.
type pushFlags struct {
	ids                 []string
	all                 bool
	olderThan, patience time.Duration
	outputDir           string
}

func (a *app) spoolPushCommand() *cobra.Command {
	var f pushFlags
	cmd := &cobra.Command{
		Use:   "push [ID…]",
		Short: "Deliver what nobody works on: to where it was meant to go",
		Long: `Deliver entries of the spool that no running process works on: to where their
files were meant to go, under a numbered name where another worker stored one
meanwhile. Without arguments those that "record" left; with ids (of jobs, or of
entries as "spool ls" names them), --older-than or --all also what belongs to
workers, whose jobs in Redis are told. What is not delivered stays in the spool.

Exit codes: 0 all was delivered; 1 something was not, with ids and --all also for a
running process works on it; 2 wrong usage, or no such entry.`,
		Example: `  tapedeck spool push
  tapedeck spool push EG_abc
  tapedeck spool push --older-than 1h`,
		RunE: func(cmd *cobra.Command, args []string) error {
			f.ids = args
			if f.all && len(args) > 0 {
				return usageError{errors.New("--all: ids are given as well: leave one of them out")}
			}
			if err := notNegative("--older-than", f.olderThan); err != nil {
				return err
			}
			if err := a.redisConfig(cmd); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return a.spoolPush(ctx, f)
		},
	}
	redisFlag(cmd)
	cmd.Flags().BoolVar(&f.all, "all", false, "everything, also what belongs to workers")
	cmd.Flags().DurationVar(&f.olderThan, "older-than", 0, "everything that was not written to for so long, such as 10m")
	cmd.Flags().DurationVar(&f.patience, "patience", 10*time.Minute, "how long storages that fail are tried again")
	cmd.Flags().StringVar(&f.outputDir, "output-dir", "", "where files go that name no storage (default: the configuration's)")
	return cmd
}

// pushing is how many entries are delivered at once: a storage that is away holds up
// no other.
const pushing = 4

func (a *app) spoolPush(ctx context.Context, f pushFlags) (err error) {
	storage, err := a.storage(f.outputDir)
	if err != nil {
		return err
	}
	log := a.logger(a.err, recorder.NewScrubber(recorder.Job{}, a.config.secrets()...))
	opts, err := a.spoolOptions(storage, zap.NewNop()) // what fails is told below
	if err != nil {
		return err
	}
	spool, err := a.openSpool(opts)
	if err != nil {
		return err
	}
	if spool == nil && len(f.ids) == 0 {
		return nil
	}
	held, err := f.choose(spool, a.out)
	if err != nil {
		return err
	}
	p := &pusher{spool: spool, out: a.out, told: map[string]string{}}
	var opened *queue.Queue
	defer func() {
		if opened != nil {
			err = errors.Join(err, opened.Close())
		}
	}()
	p.queue = sync.OnceValues(func() (q *queue.Queue, err error) {
		opened, err = a.openQueue(context.WithoutCancel(ctx), "", log)
		return opened, err
	})
	ctx, cancel := context.WithTimeout(ctx, f.patience)
	defer cancel()
	var work errgroup.Group
	work.SetLimit(pushing)
	var mu sync.Mutex
	for _, h := range held {
		work.Go(func() error {
			one := p.push(ctx, h, len(f.ids) > 0 || f.all)
			mu.Lock()
			defer mu.Unlock()
			err = errors.Join(err, one)
			return nil
		})
	}
	return errors.Join(work.Wait(), err)
}

// asksForMore reports whether what belongs to workers is asked for.
func (f pushFlags) asksForMore() bool { return len(f.ids) > 0 || f.all || f.olderThan > 0 }

// choose gives the entries that are asked for. An id that is in the spool nowhere is
// wrong usage.
func (f pushFlags) choose(spool *upload.Spool, out io.Writer) ([]upload.Held, error) {
	var all []upload.Held
	if spool != nil {
		var err error
		if all, err = spool.Survey(); err != nil {
			return nil, err
		}
	}
	var chosen []upload.Held
	found := map[string]bool{}
	for _, h := range all {
		id, name := h.Task.Job.ID, filepath.Base(h.Task.Dir)
		named := slices.Contains(f.ids, id) || slices.Contains(f.ids, name)
		found[id], found[name] = true, true
		switch worker := h.Task.Recording.Worker; {
		case len(f.ids) > 0 && !named, f.olderThan > 0 && time.Since(h.Written) < f.olderThan:
		case worker != "" && !f.asksForMore() && spool.Busy(h.Task.Dir):
			fmt.Fprintf(out, "%s: a running process works on it\n", name)
		case worker != "" && !f.asksForMore():
			fmt.Fprintf(out, "%s: left to worker %s (--all delivers it now)\n", name, worker)
		default:
			chosen = append(chosen, h)
		}
	}
	for _, id := range f.ids {
		if !found[id] {
			return nil, usageError{fmt.Errorf("%q: no such job or entry in the spool: see `tapedeck spool ls`", id)}
		}
	}
	return chosen, nil
}

// pusher delivers entries and tells their jobs.
type pusher struct {
	spool *upload.Spool
	queue func() (*queue.Queue, error) // connects once it is needed

	mu   sync.Mutex
	out  io.Writer
	told map[string]string // the last line of each output
}

func (p *pusher) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, format+"\n", args...)
}

// push delivers one entry, and frees it once everybody knows.
func (p *pusher) push(ctx context.Context, h upload.Held, missed bool) error {
	name := filepath.Base(h.Task.Dir)
	e, err := p.spool.Take(h.Task.Dir)
	if err != nil {
		return recorder.Errorf(recorder.CodeUpload, "%s is damaged and kept as it is: %w", name, err)
	}
	if e == nil {
		p.say("%s: a running process works on it", name)
		if missed {
			return recorder.Errorf(recorder.CodeConflict, "%s was not delivered: whoever works on it delivers it", name)
		}
		return nil
	}
	if p.awaited(ctx, h) {
		err := recorder.Errorf(recorder.CodeConflict, "%s was not delivered: it was cut off %s ago, and a worker may record on: "+
			"once its job has ended, or %s after the cut, it can be pushed", name, time.Since(h.Written).Round(time.Second), recorder.ResumeWithin)
		return errors.Join(err, e.Close())
	}
	rec := salvaged(e)
	before := rec.Clone()
	if err := e.Save(rec); err != nil {
		return errors.Join(err, e.Close())
	}
	rec.Orphan = rec.Worker != "" // its job may be another worker's; that of `record` has one name
	rec = e.Deliver(ctx, rec, func(r recorder.Recording) { p.progress(name, before, r) })
	p.progress(name, before, rec)
	told := p.tell(ctx, name, rec)
	if !arrived(rec) {
		return errors.Join(e.Close(), recorder.Errorf(recorder.CodeUpload, "%s was not delivered: the spool keeps it", name))
	}
	if !told {
		return e.Close()
	}
	return e.Free()
}

// awaited reports whether an entry is what a worker goes on from: delivered now it would be
// the end of the recording.
func (p *pusher) awaited(ctx context.Context, h upload.Held) bool {
	if h.Damaged != nil || h.Task.Recording.Worker == "" || !h.Task.CutOff(time.Now()) {
		return false
	}
	q, err := p.queue()
	if err != nil {
		return true
	}
	found, err := q.List(ctx, recorder.Filter{IDs: []string{h.Task.Job.ID}})
	return err != nil || len(found) == 1 && !found[0].Status.Ended() && found[0].Worker == h.Task.Recording.Worker
}

// salvaged accounts for a recording that was cut off.
func salvaged(e recorder.SpoolEntry) recorder.Recording {
	task := e.Task()
	rec := task.Recording
	if rec.Accounted() {
		return rec
	}
	code, reason := recorder.CodeChildDied, recorder.EndChildDied
	if rec.Worker != "" {
		code, reason = recorder.CodeWorkerLost, recorder.EndWorkerLost
	}
	cause := recorder.Errorf(code, "the recording was interrupted; this is what there was until then")
	return recorder.Salvage(rec, task.Dir, cause, reason, cmp.Or(rec.UpdatedAt, time.Now().UnixNano()))
}

// arrived reports whether nothing of it has to stay in the spool.
func arrived(rec recorder.Recording) bool {
	there := func(s recorder.FileState) bool { return s == recorder.FileDelivered || s == recorder.FileEmpty }
	return !slices.ContainsFunc(rec.Files, func(f recorder.FileResult) bool { return !there(f.State) }) &&
		!slices.ContainsFunc(seriesOf(rec), func(s recorder.Series) bool { return !there(s.State) })
}

// progress tells each change of an output.
func (p *pusher) progress(entry string, before, rec recorder.Recording) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range outputsOf(before, rec) {
		line := o.text()
		key := entry + "/" + o.name
		if p.told[key] != line {
			p.told[key] = line
			fmt.Fprintf(p.out, "%s: %s\n", entry, line)
		}
	}
}

// tell adds what arrived to the job's result. False while that is to be told later.
func (p *pusher) tell(ctx context.Context, name string, rec recorder.Recording) bool {
	if rec.Worker == "" {
		return true // of `record`: there is no job
	}
	late, some := rec.Late()
	if !some {
		return true
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellTimeout) // what took its time is told all the same
	defer cancel()
	q, err := p.queue()
	if err == nil {
		err = q.Amend(ctx, rec.ID, late)
	}
	switch {
	case err == nil:
		p.say("%s: job %s was told", name, rec.ID)
		return true
	case errors.Is(err, recorder.ErrNotFound):
		p.say("%s: Redis does not know job %s any more", name, rec.ID)
		return true
	case errors.Is(err, recorder.ErrConflict):
		p.say("%s: job %s is told later, by a worker on this spool or another push: %s", name, rec.ID, recorder.ScrubText(err.Error()))
	default:
		p.say("%s: job %s was not told, for Redis does not answer: a worker on this spool or another push does it later", name, rec.ID)
	}
	return false
}

// tellTimeout is how long Redis may take to be told.
const tellTimeout = 5 * time.Second
