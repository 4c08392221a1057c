package pipeline

import (
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"

	"tapedeck/recorder"
)

// StreamTiming bounds the life of connections to ingest servers. Zero means the default.
type StreamTiming struct {
	Connect    time.Duration // until a server takes media; default 10 s
	Stall      time.Duration // without progress while data waits; default 10 s
	Steady     time.Duration // a connection that was up for less has failed all along; default 10 s
	BackoffMin time.Duration // before the first new attempt; default 1 s
	BackoffMax time.Duration // doubled up to this; default 30 s
	Flush      time.Duration // for what waits when a stream ends; default 3 s
}

func (t StreamTiming) withDefaults() StreamTiming {
	setDefault(&t.Connect, 10*time.Second)
	setDefault(&t.Stall, 10*time.Second)
	setDefault(&t.Steady, 10*time.Second)
	setDefault(&t.BackoffMin, time.Second)
	setDefault(&t.BackoffMax, 30*time.Second)
	setDefault(&t.Flush, 3*time.Second)
	return t
}

// backoff gives the wait before attempt n, counted from 1, with a jitter of half: servers
// that come back are not met by everybody at once.
func (t StreamTiming) backoff(n int) time.Duration {
	d := t.BackoffMax
	if n < 16 {
		d = min(d, t.BackoffMin<<(n-1))
	}
	return d/2 + rand.N(d/2+1)
}

// stream is one ingest URL for as long as it is asked for. Its connections come
// and go (rtmp_connection.go); one goroutine, run, makes and ends them.
type stream struct {
	id, url    string
	codecs     []codec
	giveUp     time.Duration
	timing     StreamTiming
	requestKey func()
	release    func()
	log        *zap.Logger
	scrub      recorder.Scrubber

	quit     chan struct{}   // closed by end
	cut      <-chan struct{} // set before quit is closed: closed means no flush
	quitOnce sync.Once
	done     chan struct{} // closed when run returned
	started  chan struct{} // closed by start

	mu      sync.Mutex
	current *connection
	result  recorder.StreamResult
	before  tally // of connections that ended
}

// tally is what connections sent.
type tally struct {
	bytes, dropped int64
	sent           time.Duration
}

func (t *tally) add(o tally) {
	t.bytes += o.bytes
	t.dropped += o.dropped
	t.sent += o.sent
}

func newStream(o recorder.Output, codecs []codec, timing StreamTiming, requestKey, release func(), log *zap.Logger) *stream {
	return &stream{
		id: o.ID, url: o.URL, codecs: codecs, giveUp: o.GiveUp, timing: timing, requestKey: requestKey, release: release,
		log:   log.With(zap.String("stream", o.ID)),
		scrub: recorder.Scrubber{}.With(recorder.Job{}, o.URL),
		quit:  make(chan struct{}), done: make(chan struct{}), started: make(chan struct{}),
		result: recorder.StreamResult{ID: o.ID, URL: recorder.RedactStreamURL(o.URL), State: recorder.StreamConnecting},
	}
}

// start lets run begin, in a goroutine of its own.
func (s *stream) start(begun <-chan struct{}) {
	close(s.started)
	go s.run(begun)
}

// run keeps the stream connected from the first frame until end, or until it was down for giveUp.
func (s *stream) run(begun <-chan struct{}) {
	defer close(s.done)
	defer s.release()
	select {
	case <-begun:
	case <-s.quit:
		s.conclude(recorder.StreamFinished)
		return
	}
	down := time.Now()
	for attempt := 1; ; attempt++ {
		steady, err := s.live()
		if err == nil {
			s.conclude(recorder.StreamFinished)
			return
		}
		if steady {
			down, attempt = time.Now(), 1
		}
		s.setback(err)
		wait := s.timing.backoff(attempt)
		if s.giveUp > 0 && time.Since(down)+wait > s.giveUp {
			s.conclude(recorder.StreamFailed)
			return
		}
		select {
		case <-time.After(wait):
			s.retry()
		case <-s.quit:
			s.conclude(recorder.StreamFinished)
			return
		}
	}
}

// live is one connection from start to end. steady reports whether the server took media
// for a while: some take a wrong key, too, and hang up then. err is nil only when the
// stream was ended.
func (s *stream) live() (steady bool, err error) {
	c, err := newConnection(s.url, s.codecs, s.timing, s.log)
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	s.current = c
	s.mu.Unlock()
	s.requestKey()
	var since time.Time
	err = c.watch(s.quit, func() {
		since = time.Now()
		s.activate()
	})
	steady = !since.IsZero() && time.Since(since) >= s.timing.Steady
	s.mu.Lock()
	s.current = nil // accept leaves it alone from here on
	s.mu.Unlock()
	if err == nil {
		c.flush(s.timing.Flush, s.cut)
	}
	c.close()
	s.mu.Lock()
	s.before.add(c.account())
	s.mu.Unlock()
	return steady, err
}

// accept hands a packet to the connection there is, and never waits.
func (s *stream) accept(p packet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil {
		s.current.accept(p)
	} else if p.codec.video() && s.result.StartedAt != 0 && s.result.EndedAt == 0 {
		s.before.dropped++
	}
}

func (s *stream) activate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result.State, s.result.Error = recorder.StreamActive, ""
	if s.result.StartedAt == 0 {
		s.result.StartedAt = time.Now().UnixNano()
	}
	s.log.Info("stream is live", zap.String("url", s.result.URL), zap.Int("retries", s.result.Retries))
}

func (s *stream) setback(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result.State = recorder.StreamRetrying
	s.result.Error = s.scrub.Text(err.Error())
	s.log.Warn("stream is down", zap.String("url", s.result.URL), zap.String("error", s.result.Error), zap.Int("retries", s.result.Retries))
}

func (s *stream) retry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result.Retries++
	s.result.LastRetryAt = time.Now().UnixNano()
}

// conclude sets the last state. A stream that ends while it is down keeps the
// error; one that never sent anything has not finished but failed.
func (s *stream) conclude(state recorder.StreamState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.result.StartedAt == 0 && s.result.Error != "" {
		state = recorder.StreamFailed
	}
	s.result.State, s.result.EndedAt = state, time.Now().UnixNano()
}

// end closes the stream, flushed unless cut is closed, and returns when it is.
func (s *stream) end(cut <-chan struct{}) {
	s.quitOnce.Do(func() {
		s.cut = cut
		close(s.quit)
	})
	select {
	case <-s.started:
		<-s.done
	default: // Run never came so far
		s.conclude(recorder.StreamFinished)
	}
}

func (s *stream) over() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

func (s *stream) snapshot() recorder.StreamResult {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, t := s.result, s.before
	if s.current != nil {
		t.add(s.current.account())
	}
	r.Bytes, r.Dropped, r.Duration = t.bytes, t.dropped, int64(t.sent)
	return r
}
