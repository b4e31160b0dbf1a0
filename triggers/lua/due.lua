-- Claims due timers: KEYS 1 timers zset, 2 state hash; ARGV 1 now, 2 limit, 3 lease end (epoch ms).
-- A claimed timer is due again at the lease end, so a crash between claim and commit loses nothing.
-- Returns {fields, records, when they were due}; a field without a record is dropped from the timers.

local found = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local fields, instants = {}, {}
for i = 1, #found, 2 do
  fields[#fields + 1], instants[#instants + 1] = found[i], found[i + 1]
end
if #fields == 0 then
  return { {}, {}, {} }
end
local records = redis.call('HMGET', KEYS[2], unpack(fields))
local claimed, states, dues = {}, {}, {}
for i, field in ipairs(fields) do
  if records[i] then
    redis.call('ZADD', KEYS[1], ARGV[3], field)
    claimed[#claimed + 1], states[#states + 1], dues[#dues + 1] = field, records[i], instants[i]
  else
    redis.call('ZREM', KEYS[1], field)
  end
end
return { claimed, states, dues }
