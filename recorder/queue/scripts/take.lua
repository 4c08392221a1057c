-- take gives a job to an owner. What it stores was computed from the state of
-- revision ARGV[6]; anything newer makes it answer 'changed'.
--
-- KEYS[1] {p}:job:<id>  KEYS[2] {p}:jobs  KEYS[3] {p}:jobs-by-time
-- KEYS[4] {p}:events    KEYS[5] {p}:dead  KEYS[6] {p}:pulse
-- KEYS[7] {p}:hooks:<id> and the set {p}:same:<fingerprint>
-- ARGV[1] group         ARGV[2] worker (the consumer)         ARGV[3] owner: worker and nonce of its life
-- ARGV[4] entry         ARGV[5] operation nonce               ARGV[6] revision seen, '' for no state
-- ARGV[7] lease ms      ARGV[8] most tries                    ARGV[9] ms until an ending job is given up
-- ARGV[10] ms this life still leaves earlier ones' recordings to Adopt
-- ARGV[11] id           ARGV[12] new status                   ARGV[13] recording JSON
-- ARGV[14] redacted job ARGV[15] updated_at ns                ARGV[16] created_at ns
-- ARGV[17] created ms   ARGV[18] event type                   ARGV[19] events kept
-- ARGV[20] 'claim' or 'adopt'   ARGV[21] attempt              ARGV[22] scrubbed payload for a dead letter
-- ARGV[23] dead letters kept                                  ARGV[24] key of a set without its fingerprint
-- ARGV[25] fingerprint  ARGV[26] webhooks JSON, each '' when not known               ARGV[27] s a set is kept
-- ARGV[28] '1' to refuse a twin of a job that has no state yet                      ARGV[29] key of a state without its id
-- ARGV[30] recording JSON of a job that has no state yet, as it was queued
-- Answer: {'ok', fence}; {'changed'} look again; {'gone'} the entry is not there any more;
-- {'ended'} the job ended, entry removed; {'duplicate'} dead-lettered; {'owned'} somebody has it;
-- {'later'} not to be had yet; {'exhausted'} tried too often, nothing changed;
-- {'twin', id} another job with the fingerprint did not end, nothing changed.
local job, jobs, group, worker, entry = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[4]
local ttl, adopt = tonumber(ARGV[7]), ARGV[20] == 'adopt'
local h = redis.call('HMGET', job, 'status', 'owner', 'fence', 'entry', 'lease_until', 'worker', 'rev', 'op', 'tries', 'lease')
local status, owner, fence, known = h[1], h[2] or '', tonumber(h[3] or '0'), h[4] or ''
local expiry, tries = tonumber(h[5] or '0'), tonumber(h[9] or '0')
local now = now_ms()
if h[8] == ARGV[5] then
  return { 'ok', fence }
end
local there = stored(jobs, entry)
if not there and not adopt then
  redis.call('XACK', jobs, group, entry)
  return { 'gone' }
end
if (h[7] or '') ~= ARGV[6] then
  return { 'changed' }
end
if owner ~= '' and expiry > now + tonumber(h[10] or '3600000') then
  expiry = now -- the clock was put back: its end is counted from now on, unless its owner renews it
  redis.call('HSET', job, 'lease_until', whole(expiry))
end
local live = owner ~= '' and now < expiry
if status and known ~= entry and (ended(status) or live or stored(jobs, known)) then
  drop(jobs, group, entry)
  bury(KEYS[5], ARGV[23], entry, ARGV[11], 'duplicate id', ARGV[22])
  return { 'duplicate' }
end
if status and ended(status) then
  if there then
    drop(jobs, group, entry)
  end
  return { 'ended' }
end
local mine = h[6] == worker
if adopt then
  if owner == ARGV[3] or owner == '' or (live and not mine) then
    return { 'owned' }
  end
  if not live and not mine and resting(KEYS[6], now, ttl) then
    return { 'later' }
  end
elseif live then
  hold(jobs, group, h[6], entry, 0)
  return { 'owned' }
elseif owner ~= '' then
  if resting(KEYS[6], now, ttl) then
    return { 'later' }
  end
  local recorded = status == 'active' or status == 'ending'
  if mine and recorded and (now < expiry + 3 * ttl or tonumber(ARGV[10]) > 0) then
    return { 'later' }
  end
  if not mine and status == 'ending' and now < expiry + tonumber(ARGV[9]) then
    return { 'later' }
  end
end
if not adopt then
  tries = tries + 1
  local most = tonumber(ARGV[8])
  if status == 'ending' or ARGV[12] == 'ending' then
    most = most + 1 -- it is only taken to be ended
  end
  if tries > most then
    return { 'exhausted' }
  end
end
if not status and ARGV[28] == '1' then
  local other = twin(ARGV[24] .. ARGV[25], ARGV[29])
  if other then
    return { 'twin', other }
  end
end
fence = fence + 1
redis.call('HSET', job, 'status', ARGV[12], 'recording', ARGV[13], 'job', ARGV[14], 'entry', entry,
  'owner', ARGV[3], 'worker', worker, 'fence', whole(fence), 'attempt', ARGV[21], 'tries', whole(tries),
  'lease_until', whole(now + ttl), 'lease', whole(ttl), 'seq', '0', 'noted', '0', 'op', ARGV[5], 'created_at', ARGV[16], 'updated_at', ARGV[15])
redis.call('HINCRBY', job, 'rev', 1)
enlist(job, KEYS[7], ARGV[24], ARGV[25], ARGV[11], ARGV[26], ARGV[27])
redis.call('ZADD', KEYS[3], ARGV[17], ARGV[11])
if there then
  hold(jobs, group, worker, entry, 0)
end
if not status then
  emit(KEYS[4], ARGV[19], 'recording_queued', ARGV[11], 'queued', ARGV[15], ARGV[30]) -- whoever added it could not
end
emit(KEYS[4], ARGV[19], ARGV[18], ARGV[11], ARGV[12], ARGV[15], ARGV[13])
return { 'ok', fence }
