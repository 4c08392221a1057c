-- enqueue stores a new job and its state.
--
-- KEYS[1] {p}:job:<id>   KEYS[2] {p}:jobs   KEYS[3] {p}:jobs-by-time   KEYS[4] {p}:events
-- KEYS[5] {p}:hooks:<id> and the set {p}:same:<fingerprint>
-- ARGV[1] id             ARGV[2] job JSON   ARGV[3] redacted job JSON  ARGV[4] recording JSON
-- ARGV[5] created_at ns  ARGV[6] created_at ms                         ARGV[7] operation nonce
-- ARGV[8] events kept    ARGV[9] event type
-- ARGV[10] key of a state without its id  ARGV[11] key of a set without its fingerprint
-- ARGV[12] fingerprint   ARGV[13] '1' to refuse a twin                 ARGV[14] webhooks JSON, '' for none
-- ARGV[15] s a set is kept
-- Answer: {'ok', entry}, also when the same operation is repeated; {'exists', status};
-- {'twin', id} another job with the fingerprint did not end.
local h = redis.call('HMGET', KEYS[1], 'status', 'born', 'entry')
if h[1] then
  if h[2] == ARGV[7] then
    return { 'ok', h[3] }
  end
  return { 'exists', h[1] }
end
if ARGV[13] == '1' then
  local other = twin(ARGV[11] .. ARGV[12], ARGV[10])
  if other then
    return { 'twin', other }
  end
end
local entry = redis.call('XADD', KEYS[2], '*', 'id', ARGV[1], 'job', ARGV[2])
redis.call('HSET', KEYS[1], 'status', 'queued', 'recording', ARGV[4], 'job', ARGV[3], 'entry', entry,
  'owner', '', 'worker', '', 'fence', '0', 'attempt', '0', 'tries', '0', 'lease_until', '0', 'seq', '0', 'rev', '1',
  'born', ARGV[7], 'created_at', ARGV[5], 'updated_at', ARGV[5])
enlist(KEYS[1], KEYS[5], ARGV[11], ARGV[12], ARGV[1], ARGV[14], ARGV[15])
redis.call('ZADD', KEYS[3], ARGV[6], ARGV[1])
emit(KEYS[4], ARGV[8], ARGV[9], ARGV[1], 'queued', ARGV[5], ARGV[4])
return { 'ok', entry }
