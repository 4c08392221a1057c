-- deliver claims the list that is due first, for a while: whoever dies over it
-- leaves it to others then.
--
-- KEYS[1] {p}:outbox:<name>  KEYS[2] {p}:outbox-due:<name>  KEYS[3] {p}:outbox-tries:<name>
-- KEYS[4] {p}:events         and the lists {p}:outbox:<name>:<job>:<receiver>
-- ARGV[1] ms it is held      ARGV[2] claim nonce     ARGV[3] ms that all of it is kept when nobody asks any more
-- ARGV[4] the cursor this process saw last, '' for none
-- Answer: {'ok', list, entry, tries, first try in ms}; {'wait', ms or -1 for nothing due, cursor}.
local now = now_ms()
local cursor = redis.call('HGET', KEYS[1], 'cursor')
if not cursor then
  cursor = ARGV[4]
  if cursor == '' then -- the first start ever: from now on
    local last = redis.call('XREVRANGE', KEYS[4], '+', '-', 'COUNT', '1')
    cursor = last[1] and last[1][1] or '0-0'
  end
  redis.call('HSET', KEYS[1], 'cursor', cursor)
end
for i = 1, 3 do
  redis.call('PEXPIRE', KEYS[i], ARGV[3])
end
while true do
  local due = redis.call('ZRANGE', KEYS[2], '0', '0', 'WITHSCORES')
  local list, at = due[1], tonumber(due[2] or '0')
  if not list then
    return { 'wait', -1, cursor }
  end
  if at > now then
    return { 'wait', at - now, cursor }
  end
  local entry = redis.call('LINDEX', KEYS[1] .. ':' .. list, '0')
  if entry then
    local tries, first = 0, now
    local known = redis.call('HGET', KEYS[3], list)
    if known then
      local t, f = string.match(known, '^%S+ (%d+) (%d+)$')
      tries, first = tonumber(t), tonumber(f)
    end
    tries = tries + 1
    redis.call('HSET', KEYS[3], list, ARGV[2] .. ' ' .. whole(tries) .. ' ' .. whole(first))
    redis.call('ZADD', KEYS[2], whole(now + tonumber(ARGV[1])), list)
    return { 'ok', list, entry, tries, first }
  end
  redis.call('ZREM', KEYS[2], list) -- it expired
  redis.call('HDEL', KEYS[3], list)
end
