-- expired lists entries whose lease was not renewed, oldest first, and marks
-- that somebody is there to see it.
--
-- KEYS[1] {p}:jobs   KEYS[2] {p}:pulse
-- ARGV[1] group      ARGV[2] lease ms    ARGV[3] first entry id   ARGV[4] how many
-- Answer: entry ids; error NOGROUP when the group is not there.
resting(KEYS[2], now_ms(), tonumber(ARGV[2]))
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[2], ARGV[3], '+', ARGV[4])
local ids = {}
for i, p in ipairs(pending) do
  ids[i] = p[1]
end
return ids
