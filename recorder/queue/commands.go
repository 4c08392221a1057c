package queue

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"tapedeck/recorder"
)

// inbox is where a lease's commands wait for the recording.
type inbox struct {
	mu     sync.Mutex
	out    chan recorder.Command
	closed bool
}

// A read brings so many commands at most, and there is room for more.
const (
	commandBatch = 16
	commandRoom  = 4 * commandBatch
)

func newInbox() *inbox { return &inbox{out: make(chan recorder.Command, commandRoom)} }

// room reports whether a whole batch fits: put never waits.
func (b *inbox) room() bool { return cap(b.out)-len(b.out) >= commandBatch }

func (b *inbox) put(c recorder.Command) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.out <- c
	}
}

func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.closed = true
		close(b.out)
	}
}

// commandReader reads the command streams of all leases over one connection.
type commandReader struct {
	q       *Queue
	mu      sync.Mutex
	leases  map[*lease]string // to the id of the last command read
	running bool
}

func (r *commandReader) init(q *Queue) { r.q, r.leases = q, map[*lease]string{} }

// add makes the reader read a lease's commands from the first on. What is
// there already does not wait for the read that is going on.
func (r *commandReader) add(l *lease) {
	r.q.task(func(context.Context) { r.begin(l) })
}

func (r *commandReader) begin(l *lease) {
	retry := backoff{first: 50 * time.Millisecond, last: time.Second}
	last := "0-0"
	for {
		err := r.read(l.life, map[*lease]string{l: last}, -1, func(_ *lease, id string) { last = id })
		if err == nil {
			break
		}
		if !pause(l.life, retry.next()) {
			return
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if l.life.Err() != nil {
		return
	}
	r.leases[l] = last
	if !r.running {
		r.running = r.q.task(r.loop)
	}
}

func (r *commandReader) remove(l *lease) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.leases, l)
}

// loop reads until there is no lease any more.
func (r *commandReader) loop(ctx context.Context) {
	retry := backoff{first: 50 * time.Millisecond, last: time.Second}
	for ctx.Err() == nil {
		r.mu.Lock()
		if len(r.leases) == 0 {
			r.running = false
			r.mu.Unlock()
			return
		}
		ready := map[*lease]string{}
		for l, last := range r.leases {
			if l.commands.room() {
				ready[l] = last
			}
		}
		r.mu.Unlock()
		if len(ready) == 0 {
			pause(ctx, r.q.wait())
			continue
		}
		err := r.read(ctx, ready, min(r.q.wait(), 500*time.Millisecond), r.advance)
		if err != nil {
			pause(ctx, retry.next())
			continue
		}
		retry.reset()
	}
}

func (r *commandReader) advance(l *lease, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.leases[l]; ok {
		r.leases[l] = id
	}
}

// read hands over what is in the streams after the given ids, waiting for block.
func (r *commandReader) read(ctx context.Context, from map[*lease]string, block time.Duration, advance func(*lease, string)) error {
	byKey := map[string]*lease{}
	var streams, ids []string
	for l, last := range from {
		key := r.q.keys.commands(l.before.ID)
		byKey[key] = l
		streams, ids = append(streams, key), append(ids, last)
	}
	ctx, cancel := context.WithTimeout(ctx, max(block, 0)+r.q.opTimeout())
	defer cancel()
	answer, err := r.q.blocking.XRead(ctx, &redis.XReadArgs{
		Streams: append(streams, ids...), Count: commandBatch, Block: block,
	}).Result()
	if errors.Is(err, redis.Nil) {
		return nil
	}
	r.q.health.note(err)
	if err != nil {
		return err
	}
	for _, stream := range answer {
		l := byKey[stream.Stream]
		if l == nil {
			continue
		}
		for _, m := range stream.Messages {
			if c, err := parseCommand(m.Values); err != nil {
				l.log.Warn("a command is not understood", zap.String("command", m.ID), zap.Error(err))
			} else {
				l.learn(c.Update)
				l.commands.put(c)
			}
			advance(l, m.ID)
		}
	}
	return nil
}

// Fields of a command.
const (
	fieldCommand = "command"
	fieldReason  = "reason"
	fieldNow     = "now"
	fieldAdd     = "add_stream_urls"
	fieldRemove  = "remove_stream_urls"
	fieldLayout  = "layout"
	fieldPause   = "pause"
)

func parseCommand(values map[string]any) (recorder.Command, error) {
	text := func(field string) string {
		s, _ := values[field].(string)
		return s
	}
	c := recorder.Command{
		Kind: recorder.CommandKind(text(fieldCommand)), Reason: recorder.EndReason(text(fieldReason)),
		Now: text(fieldNow) == "1" || text(fieldNow) == "true",
	}
	switch c.Kind {
	case recorder.CommandStop:
		if !c.Reason.OfClient() {
			c.Reason = recorder.EndStopped
		}
		return c, nil
	case recorder.CommandUpdate:
		c.Reason = ""
		var err error
		if c.Update.AddStreamURLs, err = urlList(text(fieldAdd)); err != nil {
			return c, recorder.Errorf(recorder.CodeInvalid, "%s: %w", fieldAdd, err)
		}
		if c.Update.RemoveStreamURLs, err = urlList(text(fieldRemove)); err != nil {
			return c, recorder.Errorf(recorder.CodeInvalid, "%s: %w", fieldRemove, err)
		}
		if c.Update.Pause, err = truth(text(fieldPause)); err != nil {
			return c, recorder.Errorf(recorder.CodeInvalid, "%s: %w", fieldPause, err)
		}
		c.Update.Layout = text(fieldLayout)
		return c, recorder.ValidateUpdate(c.Update)
	default:
		return c, recorder.Errorf(recorder.CodeInvalid, "command: use %q or %q", recorder.CommandStop, recorder.CommandUpdate)
	}
}

// truth reads what may be left out.
func truth(s string) (*bool, error) {
	switch s {
	case "":
		return nil, nil
	case "1", "true":
		on := true
		return &on, nil
	case "0", "false":
		return new(bool), nil
	default:
		return nil, errors.New("use 1 to pause, 0 to go on")
	}
}

// urlList reads a JSON list of texts, or URLs with spaces between them.
func urlList(s string) ([]string, error) {
	if strings.HasPrefix(strings.TrimSpace(s), "[") {
		var urls []string
		if json.Unmarshal([]byte(s), &urls) != nil {
			return nil, errors.New("not a JSON list of URLs")
		}
		return urls, nil
	}
	if s == "" {
		return nil, nil
	}
	return strings.Fields(s), nil
}
