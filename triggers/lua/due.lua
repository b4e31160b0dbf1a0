-- Claims due timers: KEYS 1 timers zset, 2 state hash; ARGV 1 now, 2 limit, 3 lease end (epoch ms).
-- A claimed timer is due again at the lease end, so a crash between claim and commit loses nothing.
-- Returns {fields, records}; a field without a record is dropped from the timers.

local fields = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
if #fields == 0 then
  return { {}, {} }
end
local records = redis.call('HMGET', KEYS[2], unpack(fields))
local claimed, states = {}, {}
for i, field in ipairs(fields) do
  if records[i] then
    redis.call('ZADD', KEYS[1], ARGV[3], field)
    claimed[#claimed + 1], states[#states + 1] = field, records[i]
  else
    redis.call('ZREM', KEYS[1], field)
  end
end
return { claimed, states }
