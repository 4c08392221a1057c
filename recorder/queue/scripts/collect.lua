-- collect moves what the events mean to receivers into their lists, and the cursor
-- behind those events, in one step.
--
-- KEYS[1] {p}:outbox:<name>  KEYS[2] {p}:outbox-due:<name> and the lists {p}:outbox:<name>:<job>:<receiver>
-- ARGV[1] cursor seen        ARGV[2] new cursor      ARGV[3] ms that entries are kept
-- ARGV[4…] list, entry, list, entry …: the lists by what follows {p}:outbox:<name>:
-- Answer: 'ok'; 'changed' somebody moved these before.
if redis.call('HGET', KEYS[1], 'cursor') ~= ARGV[1] then
  return 'changed'
end
local now = whole(now_ms())
for i = 4, #ARGV, 2 do
  local list = KEYS[1] .. ':' .. ARGV[i]
  redis.call('RPUSH', list, ARGV[i + 1])
  redis.call('PEXPIRE', list, ARGV[3])
  redis.call('ZADD', KEYS[2], 'NX', now, ARGV[i])
end
redis.call('HSET', KEYS[1], 'cursor', ARGV[2])
return 'ok'
