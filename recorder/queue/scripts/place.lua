-- place stores a new job and gives it to an owner in one step: its entry is born
-- in the owner's pending list. The group may deliver it to somebody all the same;
-- take gives it back to a live owner, and the owner's heartbeat does.
--
-- KEYS[1] {p}:job:<id>   KEYS[2] {p}:jobs   KEYS[3] {p}:jobs-by-time   KEYS[4] {p}:events
-- KEYS[5] {p}:hooks:<id> and the set {p}:same:<fingerprint>
-- ARGV[1] id             ARGV[2] job JSON   ARGV[3] redacted job JSON
-- ARGV[4] recording JSON, queued            ARGV[5] recording JSON, starting
-- ARGV[6] created_at ns  ARGV[7] created_at ms                         ARGV[8] operation nonce
-- ARGV[9] events kept    ARGV[10] event type of the first recording    ARGV[11] of the second
-- ARGV[12] group         ARGV[13] worker    ARGV[14] owner             ARGV[15] lease ms
-- ARGV[16] key of a state without its id    ARGV[17] key of a set without its fingerprint
-- ARGV[18] fingerprint   ARGV[19] '1' to refuse a twin                 ARGV[20] webhooks JSON, '' for none
-- ARGV[21] s a set is kept
-- Answer: {'ok', entry}, also when the same operation is repeated, the fence is 1; {'exists', status};
-- {'twin', id} another job with the fingerprint did not end.
local h = redis.call('HMGET', KEYS[1], 'status', 'born', 'entry')
if h[1] then
  if h[2] == ARGV[8] then
    return { 'ok', h[3] }
  end
  return { 'exists', h[1] }
end
if ARGV[19] == '1' then
  local other = twin(ARGV[17] .. ARGV[18], ARGV[16])
  if other then
    return { 'twin', other }
  end
end
local entry = redis.call('XADD', KEYS[2], '*', 'id', ARGV[1], 'job', ARGV[2])
redis.call('HSET', KEYS[1], 'status', 'starting', 'recording', ARGV[5], 'job', ARGV[3], 'entry', entry,
  'owner', ARGV[14], 'worker', ARGV[13], 'fence', '1', 'attempt', '1', 'tries', '1',
  'lease_until', whole(now_ms() + tonumber(ARGV[15])), 'lease', ARGV[15], 'seq', '0', 'rev', '1',
  'born', ARGV[8], 'op', ARGV[8], 'created_at', ARGV[6], 'updated_at', ARGV[6])
enlist(KEYS[1], KEYS[5], ARGV[17], ARGV[18], ARGV[1], ARGV[20], ARGV[21])
redis.call('ZADD', KEYS[3], ARGV[7], ARGV[1])
hold(KEYS[2], ARGV[12], ARGV[13], entry, 0)
emit(KEYS[4], ARGV[9], ARGV[10], ARGV[1], 'queued', ARGV[6], ARGV[4])
emit(KEYS[4], ARGV[9], ARGV[11], ARGV[1], 'starting', ARGV[6], ARGV[5])
return { 'ok', entry }
