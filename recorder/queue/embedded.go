package queue

import (
	"net"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"

	"tapedeck/recorder"
)

// Embedded is a Redis inside this process, for trying things out. It forgets
// everything when the process ends.
type Embedded struct {
	redis *miniredis.Miniredis
	stop  chan struct{}
	done  sync.WaitGroup
	once  sync.Once
}

// embeddedTick is how exact the embedded Redis expires keys.
const embeddedTick = time.Second

// StartEmbedded serves a Redis on a loopback address; "" is a free port of 127.0.0.1.
func StartEmbedded(addr string) (*Embedded, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, recorder.Errorf(recorder.CodeInvalid, "embedded redis: %q: use host:port, such as 127.0.0.1:6379", addr)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, recorder.Errorf(recorder.CodeInvalid,
			"embedded redis: %q: it has no password, so it listens on loopback addresses only, such as 127.0.0.1", addr)
	}
	e := &Embedded{redis: miniredis.NewMiniRedis(), stop: make(chan struct{})}
	if err := e.redis.StartAddr(addr); err != nil {
		return nil, recorder.Errorf(recorder.CodeUnavailable, "embedded redis: %w", err)
	}
	e.done.Go(e.tick)
	return e, nil
}

// tick makes keys expire: miniredis leaves the passing of time to its user.
func (e *Embedded) tick() {
	t := time.NewTicker(embeddedTick)
	defer t.Stop()
	last := time.Now()
	for {
		select {
		case <-e.stop:
			return
		case now := <-t.C:
			e.redis.FastForward(now.Sub(last))
			last = now
		}
	}
}

// Addr is where it listens, as host:port.
func (e *Embedded) Addr() string { return e.redis.Addr() }

// URL is what Open takes.
func (e *Embedded) URL() string { return "redis://" + e.redis.Addr() + "/0" }

// Close stops serving and forgets everything.
func (e *Embedded) Close() error {
	e.once.Do(func() {
		close(e.stop)
		e.done.Wait()
		e.redis.Close()
	})
	return nil
}
