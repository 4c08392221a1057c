-- note keeps short texts beside a running job. A lease numbers its batches, so that one
-- which comes after a batch that Redis lost (a replica that missed it took over) is told.
--
-- KEYS[1] {p}:job:<id>  KEYS[2] {p}:notes:<id>
-- ARGV[1] owner         ARGV[2] fence
-- ARGV[3] number of this batch within the lease
-- ARGV[4] number of the batch before it, -1 for the first of all that the lease noted
-- ARGV[5…] name, text, name, text …; '' removes the name
-- Answer: 1 kept; 2 an earlier batch is missing, begin again; otherwise the standing, see prelude.
local h = redis.call('HMGET', KEYS[1], 'status', 'owner', 'fence', 'noted')
local standing = standing_of(ARGV[1], ARGV[2], h)
if standing ~= 1 then
  return standing
end
if tonumber(h[4] or '0') < tonumber(ARGV[4]) then
  return 2
end
for i = 5, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[2], ARGV[i])
  else
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  end
end
redis.call('HSET', KEYS[1], 'noted', ARGV[3])
return 1
