package queue

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// health logs once when Redis goes away and once when it is back, however many
// goroutines notice.
type health struct {
	log  *zap.Logger
	mu   sync.Mutex
	away bool
	last time.Time
}

// noGroup recognises that the group is to be made, from a script too.
func noGroup(err error) bool { return err != nil && strings.Contains(err.Error(), "NOGROUP") }

const awayAgain = 30 * time.Second

func (h *health) note(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err == nil || errors.Is(err, redis.Nil):
		if h.away {
			h.away = false
			h.log.Info("redis answers again")
		}
	case errors.Is(err, context.Canceled), errors.Is(err, redis.ErrClosed), noGroup(err):
	default:
		if !h.away || time.Since(h.last) > awayAgain {
			h.last = time.Now()
			h.log.Warn("redis does not answer as it should, trying again", zap.Error(err))
		}
		h.away = true
	}
}

// backoff doubles from its first value to its last.
type backoff struct {
	first, last, now time.Duration
}

func (b *backoff) next() time.Duration {
	if b.now == 0 {
		b.now = b.first
	} else {
		b.now = min(2*b.now, b.last)
	}
	return b.now
}

func (b *backoff) reset() { b.now = 0 }
