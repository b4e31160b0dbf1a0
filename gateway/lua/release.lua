-- Gives up what somebody holds: HDEL of KEYS[1] ARGV[1], if its value is ARGV[2]. Returns 1 if so.

if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then
  return redis.call('HDEL', KEYS[1], ARGV[1])
end
return 0
