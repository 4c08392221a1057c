-- renew is the heartbeat of a lease.
--
-- KEYS[1] {p}:job:<id>  KEYS[2] {p}:jobs  KEYS[3] {p}:pulse
-- ARGV[1] owner  ARGV[2] fence  ARGV[3] lease ms  ARGV[4] group  ARGV[5] worker  ARGV[6] entry
-- ARGV[7] number of the batch of notes that must be there   ARGV[8] tries that count, '' for as many as before
-- Answer: 1 renewed; 2 renewed, but notes are missing (see note); otherwise the standing (see prelude), -1 also when the entry is gone.
local h = redis.call('HMGET', KEYS[1], 'status', 'owner', 'fence', 'noted', 'lease_until')
local now, ttl = now_ms(), tonumber(ARGV[3])
resting(KEYS[3], now, ttl)
local standing = standing_of(ARGV[1], ARGV[2], h)
if standing ~= 1 then
  return standing
end
if tonumber(h[5] or '0') <= now then
  redis.call('HINCRBY', KEYS[1], 'rev', 1) -- or whoever found it expired would end the job on this lease's owner
end
redis.call('HSET', KEYS[1], 'lease_until', whole(now + ttl), 'lease', whole(ttl))
if ARGV[8] ~= '' then
  redis.call('HSET', KEYS[1], 'tries', ARGV[8])
end
if not stored(KEYS[2], ARGV[6]) then
  return -1
end
hold(KEYS[2], ARGV[4], ARGV[5], ARGV[6], 0)
if tonumber(h[4] or '0') < tonumber(ARGV[7]) then
  return 2
end
return 1
