-- amend changes the recording of a job that ended.
--
-- KEYS[1] {p}:job:<id>  KEYS[2] {p}:events
-- ARGV[1] revision seen ARGV[2] recording  ARGV[3] updated ns  ARGV[4] id  ARGV[5] events kept
-- Answer: 'ok', 'changed', 'gone'.
local h = redis.call('HMGET', KEYS[1], 'status', 'rev')
if not h[1] then
  return 'gone'
end
if h[2] ~= ARGV[1] then
  return 'changed'
end
redis.call('HSET', KEYS[1], 'recording', ARGV[2], 'updated_at', ARGV[3])
redis.call('HINCRBY', KEYS[1], 'rev', 1)
emit(KEYS[2], ARGV[5], 'recording_amended', ARGV[4], h[1], ARGV[3], ARGV[2])
return 'ok'
