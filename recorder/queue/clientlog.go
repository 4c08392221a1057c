package queue

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"tapedeck/recorder"
)

// LogClient makes go-redis's own log lines, one for every dial that failed, debug
// lines of log. That log belongs to the whole process, so this is for cmd to call.
func LogClient(log *zap.Logger) { redis.SetLogger(clientLog{log}) }

type clientLog struct{ log *zap.Logger }

// Printf is what go-redis logs with.
func (c clientLog) Printf(_ context.Context, format string, args ...any) {
	c.log.Debug(recorder.ScrubText(fmt.Sprintf(format, args...)))
}
