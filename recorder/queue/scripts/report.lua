-- report stores the state of a running job.
--
-- KEYS[1] {p}:job:<id>  KEYS[2] {p}:events
-- ARGV[1] owner         ARGV[2] fence        ARGV[3] number of this report within the lease
-- ARGV[4] status        ARGV[5] recording    ARGV[6] updated_at ns
-- ARGV[7] event type, '' for none            ARGV[8] id        ARGV[9] events kept
-- Answer: 1 stored, or was before; otherwise the standing, see prelude.
local h = redis.call('HMGET', KEYS[1], 'status', 'owner', 'fence', 'seq')
local standing = standing_of(ARGV[1], ARGV[2], h)
if standing ~= 1 then
  return standing
end
if tonumber(h[4] or '0') >= tonumber(ARGV[3]) then
  return 1
end
redis.call('HSET', KEYS[1], 'status', ARGV[4], 'recording', ARGV[5], 'updated_at', ARGV[6], 'seq', ARGV[3])
redis.call('HINCRBY', KEYS[1], 'rev', 1)
emit(KEYS[2], ARGV[9], ARGV[7], ARGV[8], ARGV[4], ARGV[6], ARGV[5])
return 1
