-- beat notes that a worker lives, and forgets those that have not for a day.
--
-- KEYS[1] {p}:workers  KEYS[2] {p}:workers-seen
-- ARGV[1] worker       ARGV[2] its account as JSON
-- Answer: 1.
local now = now_ms()
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], whole(now), ARGV[1])
local old = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', whole(now - 86400000))
for _, worker in ipairs(old) do
  redis.call('HDEL', KEYS[1], worker)
  redis.call('ZREM', KEYS[2], worker)
end
return 1
