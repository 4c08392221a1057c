-- bury moves an entry that is no valid job to the dead-letter stream, and tells
-- the control plane that its job ended.
--
-- KEYS[1] {p}:dead      KEYS[2] {p}:jobs     KEYS[3] {p}:job:<id>
-- KEYS[4] {p}:jobs-by-time                   KEYS[5] {p}:events   KEYS[6] {p}:commands:<id>
-- KEYS[7] {p}:hooks:<id>                      KEYS[8] {p}:notes:<id>
-- ARGV[1] group         ARGV[2] entry        ARGV[3] reason
-- ARGV[4] scrubbed payload                   ARGV[5] dead letters kept
-- ARGV[6] id            ARGV[7] recording    ARGV[8] updated ns
-- ARGV[9] created ns    ARGV[10] created ms  ARGV[11] retention s   ARGV[12] events kept
-- Answer: 1 buried; 0 somebody did it before.
if not stored(KEYS[2], ARGV[2]) then
  redis.call('XACK', KEYS[2], ARGV[1], ARGV[2])
  return 0
end
drop(KEYS[2], ARGV[1], ARGV[2])
bury(KEYS[1], ARGV[5], ARGV[2], ARGV[6], ARGV[3], ARGV[4])
local h = redis.call('HMGET', KEYS[3], 'status', 'entry')
if h[1] and (ended(h[1]) or h[2] ~= ARGV[2]) then
  return 1
end
redis.call('HSET', KEYS[3], 'status', 'failed', 'recording', ARGV[7], 'job', '{}', 'entry', ARGV[2],
  'owner', '', 'lease_until', '0', 'created_at', ARGV[9], 'updated_at', ARGV[8])
redis.call('HINCRBY', KEYS[3], 'rev', 1)
redis.call('DEL', KEYS[6])
redis.call('EXPIRE', KEYS[3], ARGV[11])
redis.call('EXPIRE', KEYS[7], ARGV[11])
redis.call('EXPIRE', KEYS[8], ARGV[11])
redis.call('ZADD', KEYS[4], ARGV[10], ARGV[6])
emit(KEYS[5], ARGV[12], 'recording_ended', ARGV[6], 'failed', ARGV[8], ARGV[7])
return 1
