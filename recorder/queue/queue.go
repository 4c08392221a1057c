package queue

import (
	"context"
	"crypto/rand"
	"errors"
	"math/big"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"tapedeck/recorder"
)

// The defaults of Options.
const (
	DefaultPrefix       = "tapedeck"
	DefaultLeaseTTL     = 6 * time.Second
	DefaultMaxAttempts  = 3
	DefaultRetention    = 7 * 24 * time.Hour
	DefaultAbandonAfter = 10 * time.Minute
	DefaultRescueWithin = 24 * time.Hour
	DefaultRetryDelay   = time.Second
)

// How much the streams keep, about.
const (
	eventsKept   = 10000
	deadKept     = 1000
	commandsKept = 1000
)

// Options of a Queue. Zero means the default.
type Options struct {
	// Worker is the stable id of this worker. A Queue without one can enqueue,
	// stop, list and watch, but not claim.
	Worker string
	// Prefix names the pool: what workers and control planes have in common.
	Prefix string
	// LeaseTTL is how long a worker may be silent before others take its jobs.
	LeaseTTL time.Duration
	// MaxAttempts is how often a job is tried.
	MaxAttempts int
	// Retention is how long the state of an ended job is kept.
	Retention time.Duration
	// AbandonAfter is how long a job whose recording is in a lost worker's spool
	// waits for that worker, from the end of its lease on.
	AbandonAfter time.Duration
	// RescueWithin is how long a job that was recorded waits for a worker that can rescue
	// what the lost one uploaded, from the end of its lease on, before it is ended without.
	RescueWithin time.Duration
	// RetryDelay is the pause before a released job may be claimed again; it
	// doubles with every try, up to LeaseTTL.
	RetryDelay time.Duration
	// Now is the clock of timestamps. Leases are judged by Redis's own.
	Now func() time.Time
	Log *zap.Logger
}

func (o Options) withDefaults() Options {
	or := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	or(&o.LeaseTTL, DefaultLeaseTTL)
	or(&o.Retention, DefaultRetention)
	or(&o.AbandonAfter, DefaultAbandonAfter)
	or(&o.RescueWithin, DefaultRescueWithin)
	or(&o.RetryDelay, DefaultRetryDelay)
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if o.MaxAttempts <= 0 {
		o.MaxAttempts = DefaultMaxAttempts
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return o
}

// Queue is one pool's jobs. Safe for concurrent use.
type Queue struct {
	opts    Options
	keys    keys
	scripts scripts
	log     *zap.Logger
	// rdb never waits for data; reads that do have their own connections, so that
	// no number of watchers keeps a heartbeat waiting for one.
	rdb, blocking redis.UniversalClient
	opened        []redis.UniversalClient // closed by Close

	owner  string // Worker and a nonce of this process's life
	born   time.Time
	life   context.Context //nolint:containedctx // ends what runs in the background when Close is called
	end    context.CancelFunc
	tasks  sync.WaitGroup
	health health
	mux    commandReader
	beat   func(*lease) // the heartbeat; a model's tests have their own
	reaper reaper       // of Reap

	mu     sync.Mutex
	closed bool
}

var (
	_ recorder.Queue      = (*Queue)(nil)
	_ recorder.Placer     = (*Queue)(nil)
	_ recorder.Reaper     = (*Queue)(nil)
	_ recorder.Controller = (*Queue)(nil)
	_ recorder.Lease      = (*lease)(nil)
)

var errClosed = errors.New("the queue is closed")

// New makes a Queue of a client that stays the caller's. Reads that wait hold
// one of its connections each: one per claim, one for commands, one per Watch.
// ctx lends its values; it may end before the Queue.
func New(ctx context.Context, client redis.UniversalClient, opts Options) (*Queue, error) {
	return newQueue(ctx, client, client, opts)
}

func newQueue(ctx context.Context, rdb, blocking redis.UniversalClient, opts Options) (*Queue, error) {
	opts = opts.withDefaults()
	if err := checkPrefix(opts.Prefix); err != nil {
		return nil, err
	}
	q := &Queue{
		opts: opts, keys: newKeys(opts.Prefix), scripts: newScripts(),
		log: opts.Log, rdb: rdb, blocking: blocking, born: opts.Now(),
		owner: opts.Worker + "/" + nonce(),
	}
	q.health.log = opts.Log
	q.life, q.end = context.WithCancel(context.WithoutCancel(ctx))
	q.mux.init(q)
	q.beat = (*lease).heartbeat
	q.reaper.q = q
	if opts.Worker != "" {
		q.task(q.tidy)
	}
	return q, nil
}

// Close ends every lease without changing its job, as Abandon does, and returns
// when nothing of the queue runs any more.
func (q *Queue) Close() error {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.end()
	q.tasks.Wait()
	var errs []error
	for _, c := range q.opened {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// task runs f in the background until Close; false when that was called.
func (q *Queue) task(f func(ctx context.Context)) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.tasks.Go(func() { f(q.life) })
	return true
}

// opTimeout bounds one exchange with Redis but for the heartbeat's, which has less: within a
// lease's time there must be room for a hung one and its repetition. A short lease is no
// reason to give up on a job that somebody asks for while a machine is busy.
func (q *Queue) opTimeout() time.Duration {
	return min(max(q.opts.LeaseTTL/3, 2*time.Second), 5*time.Second)
}

// wait is how long a read may block: it bounds how late an expired lease or the
// end of a context is noticed.
func (q *Queue) wait() time.Duration {
	return min(max(q.opts.LeaseTTL/4, 20*time.Millisecond), 500*time.Millisecond)
}

func (q *Queue) run(ctx context.Context, s *redis.Script, keys []string, args ...any) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, q.opTimeout())
	defer cancel()
	answer, err := s.Run(ctx, q.rdb, keys, args...).Result()
	q.health.note(err)
	return answer, err
}

// ended gives what a call answers when its context is done.
func ended(ctx context.Context) error { return context.Cause(ctx) }

// unavailable is what a caller sees when Redis does not answer.
func unavailable(doing string, err error) error {
	return recorder.Errorf(recorder.CodeUnavailable, "%s: redis: %w", doing, err)
}

// pause waits d; false when ctx is done before.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// nonce is 16 random characters: more than 95 bits.
func nonce() string {
	b := make([]byte, 16)
	for i := range b {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(alphabet))))
		if err != nil {
			panic(err) // crypto/rand never fails on a system that works
		}
		b[i] = alphabet[n.Int64()]
	}
	return string(b)
}
