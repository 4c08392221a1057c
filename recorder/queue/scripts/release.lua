-- release gives a job back. Its entry stays pending and looks expired after the
-- delay, so that id, attempts and commands are kept and it comes before new work. Nobody has it:
-- lease_until is since when.
--
-- KEYS[1] {p}:job:<id>     KEYS[2] {p}:jobs    KEYS[3] {p}:events
-- ARGV[1] owner            ARGV[2] fence       ARGV[3] operation nonce
-- ARGV[4] lease ms         ARGV[5] delay ms    ARGV[6] group      ARGV[7] worker
-- ARGV[8] entry            ARGV[9] recording   ARGV[10] updated ns
-- ARGV[11] id              ARGV[12] events kept   ARGV[13] '1' when this try does not count
-- ARGV[14] status: queued, or ending for a job that is only to be ended
-- Answer: 1 given back, or was before; otherwise the standing (see prelude),
-- -1 also when the entry is gone.
local h = redis.call('HMGET', KEYS[1], 'status', 'owner', 'fence', 'op', 'tries')
if h[1] and h[4] == ARGV[3] then
  return 1
end
local standing = standing_of(ARGV[1], ARGV[2], h)
if standing ~= 1 then
  return standing
end
if not stored(KEYS[2], ARGV[8]) then
  return -1
end
local tries = tonumber(h[5] or '0')
if ARGV[13] == '1' and tries > 0 then
  tries = tries - 1
end
redis.call('HSET', KEYS[1], 'status', ARGV[14], 'owner', '', 'lease_until', whole(now_ms()), 'recording', ARGV[9],
  'updated_at', ARGV[10], 'op', ARGV[3], 'tries', whole(tries))
redis.call('HINCRBY', KEYS[1], 'rev', 1)
hold(KEYS[2], ARGV[6], ARGV[7], ARGV[8], math.max(0, tonumber(ARGV[4]) - tonumber(ARGV[5])))
emit(KEYS[3], ARGV[12], 'recording_updated', ARGV[11], ARGV[14], ARGV[10], ARGV[9])
return 1
