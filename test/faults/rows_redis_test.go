package faults

import (
	"time"

	"github.com/stretchr/testify/require"
)

// redisRows take the queue away, from everybody or from one node.
func redisRows() []row {
	return []row{
		{name: "Redis", done: "kill -9, started again at once with its data", play: func(s *stage) {
			s.at(breakAt)
			s.redis.Restart()
			s.stopAt(stopAt)
		}},
		{name: "Redis is away", done: "kill -9, started again 20 s later with its data", play: func(s *stage) {
			s.at(breakAt)
			s.redis.Kill()
			s.at(breakAt + 20*time.Second)
			s.redis.Start()
			s.stopAt(breakAt + 28*time.Second)
		}},
		{name: "Redis forgets", done: "all its keys are deleted", play: func(s *stage) {
			s.at(breakAt)
			require.NoError(s, s.client.FlushAll(s.Context()).Err())
			s.stopAt(stopAt)
		}},
		{name: "Redis, for one worker", done: "the network between w1 and Redis is cut, and healed 12 s later", short: true, play: func(s *stage) {
			s.at(breakAt)
			s.w1.redis.cut()
			s.at(breakAt + 12*time.Second)
			s.w1.redis.heal()
			s.stopAt(breakAt + 18*time.Second)
		}},
		{name: "the node's network", lost: true, done: "all of it is cut (Redis, S3), and healed 20 s later", play: func(s *stage) {
			s.at(breakAt)
			s.w1.redis.cut()
			s.w1.store.cut()
			s.at(breakAt + 20*time.Second)
			s.w1.redis.heal()
			s.w1.store.heal()
			s.stopAt(breakAt + 28*time.Second)
		}},
	}
}
