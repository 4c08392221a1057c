package queue

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"tapedeck/recorder"
)

// OutboxHold is how long an event that Next gave is left to whoever got it: one
// try at a delivery should take less.
const OutboxHold = 30 * time.Second

// OutboxOptions of an Outbox.
type OutboxOptions struct {
	// Name tells outboxes of a pool apart, 1 to 32 characters of [A-Za-z0-9_-]. The
	// processes that work on one must have the same options.
	Name string
	// Receivers are who every event goes to, by names that are no secrets.
	Receivers []string
	// Webhooks has each event go to the Webhooks of its job, too.
	Webhooks bool
	// Hold is how long an event is left to whoever got it; OutboxHold when 0.
	Hold time.Duration
}

// Outbox is a recorder.Outbox in Redis. Events from before the first process ever
// opened it, and those that the event stream dropped before one was there to see
// them, are not in it. What nobody could deliver is kept for Options.Retention.
type Outbox struct {
	q    *Queue
	opts OutboxOptions
	// known are the ends of the lists of Receivers.
	known map[string]bool

	cursor chan string // one value: the event that this process last saw collected
	more   *signal     // a list has more that is due
}

// Outbox opens one whose events go to receivers.
func (q *Queue) Outbox(name string, receivers ...string) (*Outbox, error) {
	return q.OpenOutbox(OutboxOptions{Name: name, Receivers: receivers})
}

// OpenOutbox opens an Outbox. Redis may be away: then it begins when Next is asked
// and Redis is back.
func (q *Queue) OpenOutbox(opts OutboxOptions) (*Outbox, error) {
	if !recorder.ValidID(opts.Name) || len(opts.Name) > 32 {
		return nil, recorder.Errorf(recorder.CodeInvalid, "outbox: %q: use 1 to 32 characters of A-Z a-z 0-9 _ -", opts.Name)
	}
	opts.Hold = cmp.Or(opts.Hold, OutboxHold)
	o := &Outbox{q: q, opts: opts, known: map[string]bool{}, cursor: make(chan string, 1), more: newSignal()}
	for _, name := range opts.Receivers {
		o.known[listEnd(recorder.Receiver{Name: name})] = true
	}
	o.cursor <- ""
	q.health.note(o.begin(q.life))
	return o, nil
}

// begin puts the cursor of an outbox that never was behind the last event.
func (o *Outbox) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, o.q.opTimeout())
	defer cancel()
	last, err := o.q.rdb.XRevRangeN(ctx, o.q.keys.events(), "+", "-", 1).Result()
	if err != nil {
		return err
	}
	cursor := "0-0"
	if len(last) > 0 {
		cursor = last[0].ID
	}
	_, err = o.q.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.HSetNX(ctx, o.hash(), "cursor", cursor)
		p.PExpire(ctx, o.hash(), o.q.opts.Retention)
		return nil
	})
	return err
}

// listEnd tells the receivers of a job apart without naming them.
func listEnd(r recorder.Receiver) string {
	kind := "n"
	if r.Webhook.URL != "" {
		kind = "w"
	}
	sum := sha256.Sum256([]byte(compose(r)))
	return kind + hex.EncodeToString(sum[:8])
}

// letter is what a list holds of one event, after its id and a space.
type letter struct {
	Type      recorder.EventType `json:"type"`
	At        int64              `json:"at"`
	Recording json.RawMessage    `json:"recording"`
	Receiver  recorder.Receiver  `json:"receiver"`
}

// Next waits for an event that is due. Redis being away makes it wait longer.
func (o *Outbox) Next(ctx context.Context) (recorder.Delivery, error) {
	retry := backoff{first: 50 * time.Millisecond, last: 2 * time.Second}
	for {
		switch {
		case ctx.Err() != nil:
			return nil, ended(ctx)
		case o.q.life.Err() != nil:
			return nil, errClosed
		}
		d, err := o.look(ctx)
		switch {
		case d != nil:
			return d, nil
		case err == nil:
			retry.reset()
		case ctx.Err() == nil:
			o.q.health.note(err)
			pause(ctx, retry.next())
		}
	}
}

// look claims a delivery, or waits a moment for events and collects them. A claim
// that nobody waits for any more is put back.
func (o *Outbox) look(ctx context.Context) (*delivery, error) {
	more := o.more.next() // before the claim: what comes after it is not missed
	d, wait, cursor, err := o.claim(context.WithoutCancel(ctx))
	if err != nil {
		return nil, err
	}
	if d != nil {
		if ctx.Err() != nil {
			o.q.task(func(life context.Context) { _ = d.Later(life, 0) })
			return nil, ended(ctx)
		}
		return d, nil
	}
	block := o.q.wait()
	if wait >= 0 {
		block = min(block, max(wait, time.Millisecond))
	}
	reading, stop := until(ctx, more)
	defer stop()
	page, _, err := o.q.watchOnce(reading, cursor, block)
	if len(page) == 0 && ctx.Err() == nil && reading.Err() != nil {
		return nil, nil
	}
	if err != nil || len(page) == 0 {
		return nil, err
	}
	return nil, o.collect(ctx, cursor, page)
}

// claim runs deliver.lua. Of receivers that this process does not know (its
// configuration is another one's) it leaves the claim to end by itself.
func (o *Outbox) claim(ctx context.Context) (*delivery, time.Duration, string, error) {
	for {
		mark := nonce()
		seen := <-o.cursor
		o.cursor <- seen
		answer, err := o.q.run(ctx, o.q.scripts.deliver,
			[]string{o.hash(), o.q.keys.outboxDue(o.opts.Name), o.q.keys.outboxTries(o.opts.Name), o.q.keys.events()},
			o.opts.Hold.Milliseconds(), mark, o.q.opts.Retention.Milliseconds(), seen)
		if err != nil {
			return nil, 0, "", err
		}
		parts, _ := answer.([]any)
		word, _ := verdict(answer)
		switch {
		case word == "wait" && len(parts) == 3:
			cursor, _ := parts[2].(string)
			o.saw(cursor)
			return nil, time.Duration(integer(parts[1])) * time.Millisecond, cursor, nil
		case word != "ok" || len(parts) != 5:
			return nil, 0, "", errors.New("deliver.lua answers something else")
		}
		if d, ok := o.open(mark, parts); ok {
			return d, 0, "", nil
		}
	}
}

// saw remembers the cursor for a Redis that forgets it: its new events are later.
func (o *Outbox) saw(cursor string) {
	<-o.cursor
	o.cursor <- cursor
}

// open makes a delivery of deliver.lua's answer.
func (o *Outbox) open(mark string, parts []any) (*delivery, bool) {
	list, _ := parts[1].(string)
	text, _ := parts[2].(string)
	id, body, _ := strings.Cut(text, " ")
	_, end, _ := strings.Cut(list, ":")
	if webhook := strings.HasPrefix(end, "w"); !o.known[end] && (!webhook || !o.opts.Webhooks) {
		o.q.log.Debug("an event for a receiver that is not this process's", zap.String("outbox", o.opts.Name), zap.String("event", id))
		return nil, false
	}
	var l letter
	// A list somebody tampered with is delivered as far as it can be read.
	_ = json.Unmarshal([]byte(body), &l)
	e := recorder.Event{ID: id, Type: l.Type, At: l.At}
	_ = json.Unmarshal(l.Recording, &e.Recording)
	return &delivery{
		o: o, list: list, mark: mark, event: e, receiver: l.Receiver,
		tries: int(integer(parts[3])), since: time.UnixMilli(integer(parts[4])),
	}, true
}

func (o *Outbox) hash() string { return o.q.keys.outbox(o.opts.Name) }

// collect puts events into the lists of their receivers. Whoever else did that
// before is not disturbed.
func (o *Outbox) collect(ctx context.Context, cursor string, page []redis.XMessage) error {
	hooks, err := o.webhooks(ctx, page)
	if err != nil {
		return err
	}
	last := page[len(page)-1].ID
	args := []any{cursor, last, o.q.opts.Retention.Milliseconds()}
	for _, m := range page {
		job, _ := m.Values["id"].(string)
		if !recorder.ValidID(job) {
			continue // added by hand, and no event
		}
		for _, r := range o.receivers(hooks[job]) {
			args = append(args, job+":"+listEnd(r), m.ID+" "+compose(letterOf(m, r)))
		}
	}
	answer, err := o.q.run(context.WithoutCancel(ctx), o.q.scripts.collect,
		[]string{o.hash(), o.q.keys.outboxDue(o.opts.Name)}, args...)
	if err != nil {
		return err
	}
	if word, _ := verdict(answer); word == "ok" {
		o.saw(last)
	}
	return nil
}

func letterOf(m redis.XMessage, r recorder.Receiver) letter {
	e := parseEvent(m)
	text, _ := m.Values["recording"].(string)
	if !json.Valid([]byte(text)) {
		text = composeRecording(e.Recording)
	}
	return letter{Type: e.Type, At: e.At, Recording: json.RawMessage(text), Receiver: r}
}

func (o *Outbox) receivers(hooks []recorder.Webhook) []recorder.Receiver {
	var all []recorder.Receiver
	for _, name := range o.opts.Receivers {
		all = append(all, recorder.Receiver{Name: name})
	}
	seen := map[recorder.Webhook]bool{}
	for _, h := range hooks {
		if !seen[h] {
			seen[h] = true
			all = append(all, recorder.Receiver{Webhook: h})
		}
	}
	return all
}

// webhooks reads those of the jobs that events are about.
func (o *Outbox) webhooks(ctx context.Context, page []redis.XMessage) (map[string][]recorder.Webhook, error) {
	found := map[string][]recorder.Webhook{}
	if !o.opts.Webhooks {
		return found, nil
	}
	ctx, cancel := context.WithTimeout(ctx, o.q.opTimeout())
	defer cancel()
	cmds := map[string]*redis.StringCmd{}
	_, err := o.q.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, m := range page {
			if id, _ := m.Values["id"].(string); recorder.ValidID(id) && cmds[id] == nil {
				cmds[id] = p.Get(ctx, o.q.keys.hooks(id))
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	for id, c := range cmds {
		if errors.Is(c.Err(), redis.Nil) {
			continue
		}
		if c.Err() != nil {
			return nil, c.Err()
		}
		var hooks []recorder.Webhook
		if json.Unmarshal([]byte(c.Val()), &hooks) == nil {
			found[id] = hooks
		}
	}
	return found, nil
}
