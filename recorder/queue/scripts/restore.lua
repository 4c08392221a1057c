-- restore writes a running job's state again after Redis lost its memory, or
-- fell back to a time before the claim: the higher fence wins.
--
-- KEYS[1] {p}:job:<id>  KEYS[2] {p}:jobs  KEYS[3] {p}:jobs-by-time  KEYS[4] {p}:pulse
-- KEYS[5] {p}:hooks:<id> and the set {p}:same:<fingerprint>
-- ARGV[1] owner         ARGV[2] fence     ARGV[3] lease ms          ARGV[4] group
-- ARGV[5] worker        ARGV[6] entry     ARGV[7] id                ARGV[8] job JSON, '' for not known
-- ARGV[9] redacted job  ARGV[10] status   ARGV[11] recording JSON   ARGV[12] updated_at ns
-- ARGV[13] created ns   ARGV[14] created ms                         ARGV[15] attempt
-- ARGV[16] tries        ARGV[17] key of a set without its fingerprint                  ARGV[18] fingerprint
-- ARGV[19] webhooks JSON, each '' when not known         ARGV[20] s a set is kept
-- Answer: {'ok', entry}; {'lost'} another owner has it, or it ended.
local h = redis.call('HMGET', KEYS[1], 'status', 'owner', 'fence', 'entry')
if h[1] then
  local same = h[2] == ARGV[1] and h[3] == ARGV[2]
  if ended(h[1]) or (not same and tonumber(h[3]) >= tonumber(ARGV[2])) then
    return { 'lost' }
  end
end
local now, ttl = now_ms(), tonumber(ARGV[3])
resting(KEYS[4], now, ttl)
local entry = ARGV[6]
if not stored(KEYS[2], entry) then
  if stored(KEYS[2], h[4]) then
    entry = h[4]
  elseif ARGV[8] ~= '' then
    entry = redis.call('XADD', KEYS[2], '*', 'id', ARGV[7], 'job', ARGV[8])
  end
end
redis.call('HSET', KEYS[1], 'status', ARGV[10], 'recording', ARGV[11], 'job', ARGV[9], 'entry', entry,
  'owner', ARGV[1], 'worker', ARGV[5], 'fence', ARGV[2], 'attempt', ARGV[15], 'tries', ARGV[16],
  'lease_until', whole(now + ttl), 'lease', whole(ttl), 'seq', '0', 'noted', '0', 'created_at', ARGV[13], 'updated_at', ARGV[12])
redis.call('HINCRBY', KEYS[1], 'rev', 1)
enlist(KEYS[1], KEYS[5], ARGV[17], ARGV[18], ARGV[7], ARGV[19], ARGV[20])
redis.call('ZADD', KEYS[3], ARGV[14], ARGV[7])
if stored(KEYS[2], entry) then
  hold(KEYS[2], ARGV[4], ARGV[5], entry, 0)
end
return { 'ok', entry }
