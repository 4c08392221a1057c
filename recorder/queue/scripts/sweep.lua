-- sweep removes consumers that hold nothing and were not heard of for long;
-- deciding and removing are one step, for a removed consumer takes its pending
-- entries with it.
--
-- KEYS[1] {p}:jobs
-- ARGV[1] group   ARGV[2] idle ms
-- Answer: how many.
local n = 0
for _, c in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local info = {}
  for i = 1, #c, 2 do
    info[c[i]] = c[i + 1]
  end
  if info.pending == 0 and info.idle > tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], info.name)
    n = n + 1
  end
end
return n
