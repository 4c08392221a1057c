-- enqueue stores a new job and its state.
--
-- KEYS[1] {p}:job:<id>   KEYS[2] {p}:jobs   KEYS[3] {p}:jobs-by-time   KEYS[4] {p}:events
-- ARGV[1] id             ARGV[2] job JSON   ARGV[3] redacted job JSON  ARGV[4] recording JSON
-- ARGV[5] created_at ns  ARGV[6] created_at ms                         ARGV[7] operation nonce
-- ARGV[8] events kept    ARGV[9] event type
-- Answer: {'ok', entry}, also when the same operation is repeated; {'exists', status}.
local h = redis.call('HMGET', KEYS[1], 'status', 'born', 'entry')
if h[1] then
  if h[2] == ARGV[7] then
    return { 'ok', h[3] }
  end
  return { 'exists', h[1] }
end
local entry = redis.call('XADD', KEYS[2], '*', 'id', ARGV[1], 'job', ARGV[2])
redis.call('HSET', KEYS[1], 'status', 'queued', 'recording', ARGV[4], 'job', ARGV[3], 'entry', entry,
  'owner', '', 'worker', '', 'fence', '0', 'attempt', '0', 'tries', '0', 'lease_until', '0', 'seq', '0', 'rev', '1',
  'born', ARGV[7], 'created_at', ARGV[5], 'updated_at', ARGV[5])
redis.call('ZADD', KEYS[3], ARGV[6], ARGV[1])
emit(KEYS[4], ARGV[8], ARGV[9], ARGV[1], 'queued', ARGV[5], ARGV[4])
return { 'ok', entry }
