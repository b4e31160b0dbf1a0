-- Forgets devices whose record is still the one judged: KEYS 1 state hash, 2 timers zset;
-- ARGV pairs of field and record. Returns how many were forgotten.

local forgotten = 0
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    redis.call('HDEL', KEYS[1], ARGV[i])
    redis.call('ZREM', KEYS[2], ARGV[i])
    forgotten = forgotten + 1
  end
end
return forgotten
