package queue

import (
	"github.com/redis/go-redis/v9"
)

// Connect gives a client of the Redis that a URL names as for Open, for what else
// lives there: livekit-server's message bus. It dials when it is first used.
func Connect(rawURL string) (redis.UniversalClient, error) {
	connect, err := dialer(rawURL)
	if err != nil {
		return nil, err
	}
	return connect(0), nil
}
