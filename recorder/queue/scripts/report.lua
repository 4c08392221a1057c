-- report stores the state of a running job.
--
-- KEYS[1] {p}:job:<id>  KEYS[2] {p}:events
-- ARGV[1] owner         ARGV[2] fence        ARGV[3] number of this report within the lease
-- ARGV[4] status        ARGV[5] recording    ARGV[6] updated_at ns
-- ARGV[7] event type, '' for none            ARGV[8] id        ARGV[9] events kept
-- Answer: 1 stored, or was before; 0 another owner has it, or it ended; -1 forgotten, see renew.
local h = redis.call('HMGET', KEYS[1], 'status', 'owner', 'fence', 'seq')
if not h[1] then
  return -1
end
if ended(h[1]) then
  return 0
end
if h[2] ~= ARGV[1] or h[3] ~= ARGV[2] then
  if tonumber(h[3]) < tonumber(ARGV[2]) then
    return -1
  end
  return 0
end
if tonumber(h[4] or '0') >= tonumber(ARGV[3]) then
  return 1
end
redis.call('HSET', KEYS[1], 'status', ARGV[4], 'recording', ARGV[5], 'updated_at', ARGV[6], 'seq', ARGV[3])
redis.call('HINCRBY', KEYS[1], 'rev', 1)
emit(KEYS[2], ARGV[9], ARGV[7], ARGV[8], ARGV[4], ARGV[6], ARGV[5])
return 1
