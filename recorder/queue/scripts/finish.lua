-- finish ends a job: the final state, the recording_ended event, the
-- acknowledgement and the removal of whatever held secrets are one step.
--
-- KEYS[1] {p}:job:<id>      KEYS[2] {p}:jobs      KEYS[3] {p}:jobs-by-time
-- KEYS[4] {p}:events        KEYS[5] {p}:commands:<id>   KEYS[6] {p}:dead
-- KEYS[7] {p}:hooks:<id>    KEYS[8] {p}:notes:<id> and the set {p}:same:<fingerprint>
-- ARGV[1] 'lease' (owner and fence decide) or 'rev' (the revision seen decides)
-- ARGV[2] owner             ARGV[3] fence         ARGV[4] revision seen, '' for no state
-- ARGV[5] operation nonce   ARGV[6] group         ARGV[7] entry
-- ARGV[8] id                ARGV[9] status        ARGV[10] recording JSON
-- ARGV[11] redacted job     ARGV[12] updated ns   ARGV[13] created ns
-- ARGV[14] created ms       ARGV[15] retention s  ARGV[16] events kept
-- ARGV[17] reason of a dead letter, '' for none   ARGV[18] its scrubbed payload
-- ARGV[19] dead letters kept                      ARGV[20] worker    ARGV[21] attempt
-- ARGV[22] key of a set without its fingerprint         ARGV[23] webhooks JSON, '' for none or not known
-- Answer: 'ok', also when the same operation is repeated; 'lost' another owner has it, or it
-- ended; 'changed' another revision, or the entry is gone.
local h = redis.call('HMGET', KEYS[1], 'status', 'owner', 'fence', 'rev', 'op', 'entry', 'same')
if h[1] and h[5] == ARGV[5] then
  return 'ok'
end
if ARGV[1] == 'lease' then
  if h[1] then
    local same = h[2] == ARGV[2] and h[3] == ARGV[3]
    if ended(h[1]) or (not same and tonumber(h[3]) >= tonumber(ARGV[3])) then
      return 'lost'
    end
  end
elseif (h[4] or '') ~= ARGV[4] or (not h[1] and not stored(KEYS[2], ARGV[7])) then
  return 'changed'
end
redis.call('HSET', KEYS[1], 'status', ARGV[9], 'recording', ARGV[10], 'job', ARGV[11], 'entry', ARGV[7],
  'owner', ARGV[2], 'worker', ARGV[20], 'fence', ARGV[3], 'attempt', ARGV[21], 'lease_until', '0',
  'op', ARGV[5], 'created_at', ARGV[13], 'updated_at', ARGV[12])
redis.call('HINCRBY', KEYS[1], 'rev', 1)
redis.call('ZADD', KEYS[3], ARGV[14], ARGV[8])
redis.call('EXPIRE', KEYS[1], ARGV[15])
emit(KEYS[4], ARGV[16], 'recording_ended', ARGV[8], ARGV[9], ARGV[12], ARGV[10])
drop(KEYS[2], ARGV[6], ARGV[7])
if h[6] and h[6] ~= ARGV[7] and h[6] ~= '' then
  drop(KEYS[2], ARGV[6], h[6])
end
redis.call('DEL', KEYS[5])
if h[7] then
  redis.call('SREM', ARGV[22] .. h[7], ARGV[8])
end
enlist(KEYS[1], KEYS[7], '', '', '', ARGV[23], '')
redis.call('EXPIRE', KEYS[7], ARGV[15])
redis.call('EXPIRE', KEYS[8], ARGV[15])
if ARGV[17] ~= '' then
  bury(KEYS[6], ARGV[19], ARGV[7], ARGV[8], ARGV[17], ARGV[18])
end
return 'ok'
