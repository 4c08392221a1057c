-- expired lists entries whose lease was not renewed, oldest first, and marks
-- that somebody is there to see it.
--
-- KEYS[1] {p}:jobs   KEYS[2] {p}:pulse
-- ARGV[1] group      ARGV[2] lease ms    ARGV[3] first entry id   ARGV[4] how many
-- Answer: entry ids; error NOGROUP when the group is not there.
resting(KEYS[2], now_ms(), tonumber(ARGV[2]))
if redis.call('HGET', KEYS[2], 'back') then
  -- By a clock that was put back, what was held before will not have been idle for hours to
  -- come: until then its idle time is negative.
  local from = '-'
  repeat
    local page = redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', '-315360000000', from, '+', '1000')
    for _, p in ipairs(page) do
      hold(KEYS[1], ARGV[1], p[2], p[1], 0)
      from = p[1]
    end
  until #page < 1000
  redis.call('HDEL', KEYS[2], 'back')
end
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[2], ARGV[3], '+', ARGV[4])
local ids = {}
for i, p in ipairs(pending) do
  ids[i] = p[1]
end
return ids
