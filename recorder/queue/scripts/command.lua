-- command appends to the command stream of a job that did not end.
--
-- KEYS[1] {p}:job:<id>  KEYS[2] {p}:commands:<id>  KEYS[3] {p}:jobs
-- ARGV[1] the job's entry, for one that has no state yet
-- ARGV[2] commands kept ARGV[3…] field, value, field, value …
-- Answer: {'ok', command id}; {'ended', status}; {'gone'} no such job.
local status = redis.call('HGET', KEYS[1], 'status')
if status and ended(status) then
  return { 'ended', status }
end
if not status and not stored(KEYS[3], ARGV[1]) then
  return { 'gone' }
end
local args = { 'XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*' }
for i = 3, #ARGV do
  args[#args + 1] = ARGV[i]
end
return { 'ok', redis.call(unpack(args)) }
