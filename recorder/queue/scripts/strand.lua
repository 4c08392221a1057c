-- strand says of a job that its worker is lost and that nobody goes on with it: it is
-- ending, and waits for whoever can rescue what was recorded. Its lease stays as it is.
--
-- KEYS[1] {p}:job:<id>  KEYS[2] {p}:events
-- ARGV[1] revision seen ARGV[2] recording    ARGV[3] updated_at ns
-- ARGV[4] event type    ARGV[5] id           ARGV[6] events kept
-- Answer: 'ok'; 'changed' another revision.
if redis.call('HGET', KEYS[1], 'rev') ~= ARGV[1] then
  return 'changed'
end
redis.call('HSET', KEYS[1], 'status', 'ending', 'recording', ARGV[2], 'updated_at', ARGV[3])
redis.call('HINCRBY', KEYS[1], 'rev', 1)
emit(KEYS[2], ARGV[6], ARGV[4], ARGV[5], 'ending', ARGV[3], ARGV[2])
return 'ok'
