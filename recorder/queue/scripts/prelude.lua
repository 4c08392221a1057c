-- What the other scripts share. It is put in front of each of them.

-- now gives Redis's own clock in ms: the only clock that leases are judged by.
local function now_ms()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

local function whole(n)
  return string.format('%.0f', n)
end

local function ended(status)
  return status == 'complete' or status == 'failed' or status == 'aborted' or status == 'limit_reached'
end

-- standing_of compares the owner and the fence of a lease with a job's {status,
-- owner, fence}: 1 the job is this lease's; 0 another owner has it, or it ended;
-- -1 Redis forgot the state or this claim (a lower fence is stored): restore it.
local function standing_of(owner, fence, h)
  if not h[1] then
    return -1
  end
  if ended(h[1]) then
    return 0
  end
  if h[2] == owner and h[3] == fence then
    return 1
  end
  if tonumber(h[3]) < tonumber(fence) then
    return -1
  end
  return 0
end

local function stored(jobs, entry)
  if not entry or entry == '' then
    return false
  end
  return #redis.call('XRANGE', jobs, entry, entry) > 0
end

-- hold puts an entry into the consumer's pending list with the given idle time,
-- also when the group was lost or never delivered the entry.
local function hold(jobs, group, consumer, entry, idle)
  local args = { 'XCLAIM', jobs, group, consumer, '0', entry, 'IDLE', whole(idle), 'FORCE', 'JUSTID' }
  local answer = redis.pcall(unpack(args))
  if type(answer) == 'table' and answer.err then
    redis.call('XGROUP', 'CREATE', jobs, group, '0', 'MKSTREAM')
    redis.call(unpack(args))
  end
end

local function drop(jobs, group, entry)
  redis.call('XACK', jobs, group, entry)
  redis.call('XDEL', jobs, entry)
end

-- twin gives the id of a job that did not end and is one of the set of those with
-- the same fingerprint; what it finds there that ended, or is gone, it removes.
local function twin(same, states)
  while true do
    local id = redis.call('SRANDMEMBER', same)
    if not id then
      return nil
    end
    local status = redis.call('HGET', states .. id, 'status')
    if status and not ended(status) then
      return id
    end
    redis.call('SREM', same, id)
  end
end

-- enlist notes what a job has beside its state: its fingerprint and its webhooks,
-- each unless it is empty. Both are there already when a job is taken over.
local function enlist(job, hooks, same, fingerprint, id, webhooks, kept)
  if fingerprint ~= '' then
    redis.call('SADD', same .. fingerprint, id)
    redis.call('EXPIRE', same .. fingerprint, kept)
    redis.call('HSET', job, 'same', fingerprint)
  end
  if webhooks ~= '' then
    redis.call('SET', hooks, webhooks, 'NX')
  end
end

-- emit appends to the event stream unless the type is empty.
local function emit(events, maxlen, kind, id, status, at, recording)
  if kind ~= '' then
    redis.call('XADD', events, 'MAXLEN', '~', maxlen, '*',
      'type', kind, 'id', id, 'status', status, 'at', at, 'recording', recording)
  end
end

local function bury(dead, maxlen, entry, id, reason, payload)
  redis.call('XADD', dead, 'MAXLEN', '~', maxlen, '*',
    'entry', entry, 'id', id, 'reason', reason, 'job', payload)
end

-- resting reports whether Redis was away a moment ago: claims and heartbeats
-- leave their mark in the pulse, so a gap in it means that nobody could renew.
-- Until the owners had time for a heartbeat no lease counts as expired. So it is when
-- the clock jumps: ahead by more than that looks the same, and a jump back is marked for
-- expired, which is the one to look at idle times.
local function resting(pulse, now, ttl)
  local p = redis.call('HMGET', pulse, 'at', 'resumed')
  local at, resumed = tonumber(p[1] or '0'), tonumber(p[2] or '0')
  if math.abs(now - at) > ttl / 2 then
    resumed = now
  end
  if at - now > ttl / 2 then
    redis.call('HSET', pulse, 'back', '1')
  end
  redis.call('HSET', pulse, 'at', whole(now), 'resumed', whole(resumed))
  return now - resumed < ttl * 2 / 3
end
