-- settle says what became of a delivery.
--
-- KEYS[1] {p}:outbox:<name>:<job>:<receiver>  KEYS[2] {p}:outbox-due:<name>  KEYS[3] {p}:outbox-tries:<name>
-- ARGV[1] list               ARGV[2] event id        ARGV[3] claim nonce
-- ARGV[4] -1 for done, else ms until the next try
-- Answer: 2 settled, and the list has more that is due; 1 settled, or was before; 0 somebody else has it.
local entry = redis.call('LINDEX', KEYS[1], '0')
local head = ARGV[2] .. ' '
if not entry or string.sub(entry, 1, #head) ~= head then
  return 1
end
-- Done counts from whoever says so: a receiver that takes longer than the claim
-- would be told the same for ever.
if ARGV[4] == '-1' then
  redis.call('LPOP', KEYS[1])
  redis.call('HDEL', KEYS[3], ARGV[1])
  if redis.call('EXISTS', KEYS[1]) == 1 then
    redis.call('ZADD', KEYS[2], whole(now_ms()), ARGV[1])
    return 2
  end
  redis.call('ZREM', KEYS[2], ARGV[1])
  return 1
end
local nonce = string.match(redis.call('HGET', KEYS[3], ARGV[1]) or '', '^(%S+) ')
if nonce ~= ARGV[3] then
  return 0
end
redis.call('ZADD', KEYS[2], whole(now_ms() + tonumber(ARGV[4])), ARGV[1])
return 1
