-- Commits the effects of one micro-batch on one shard, all or nothing per device.
--
-- KEYS  1 state hash   field -> record
--       2 timers zset  field -> due instant, epoch ms
--       3 active set   outbox streams that may hold entries
--       4 delayed zset push id -> due instant, epoch ms
--       5 delayed body hash push id -> payload
--       6.. every stream, trail, counter and budget that the devices below name
-- ARGV  1 now, epoch ms   2 events cap   3 decisions cap   4 trail cap   5 trail lifetime, ms
--       6, 7, 8 fields, old records, new records of the devices whose record alone changes, each a
--         run of strings with a 16-bit length before (an empty old record: none is stored)
--       9 how many those are
--       10 msgpack list of devices with effects; strings in it are numbers of arguments (ARGV is
--         binary-safe, the msgpack of Redis 6.2 is not)
--
-- A device with effects is
--   {field, old, new, due, events_key, decisions_key, trail_key, events, decisions, pushes, counters,
--    extras, once, told}
--   new: 0 leaves the record alone; due: -1 leaves the timer, 0 clears it; events, decisions: payloads;
--   pushes: {id, spends, accepted, refusals, outbox_key, member, payload, not_before}
--     spends: {key, limit, window_ms, refused}; refusals: refused -> decision payload
--   counters: {key, name, lifetime_ms}; extras: {key, field, payload, cap} appended to other streams
--   once: '' or {key, lifetime_ms}: the device conflicts if this was committed before
--   told: '' or {key, member, at, cap, lifetime_ms}: what the tenant's back end told of a user
-- Returns {conflicts of ARGV 6, conflicts of ARGV 10 (both 0-based), push ids refused, their results}.
-- No write happens before a device's compare; nothing after a write can fail but out of memory,
-- which Redis refuses before the script starts.

local now = ARGV[1]
local count = tonumber(ARGV[9])
local CHUNK = 500
local RUN = '<' .. string.rep('I2c0', CHUNK)
local conflicts, device_conflicts, refused_ids, refused_results = {}, {}, {}, {}

-- The next `size` strings of a run, from `at`; the last value returned is where the rest begins.
local function strings(run, at, size)
  local format = size == CHUNK and RUN or '<' .. string.rep('I2c0', size)
  return { struct.unpack(format, run, at) }
end

local at_field, at_old, at_new = 1, 1, 1
for base = 0, count - 1, CHUNK do
  local size = math.min(CHUNK, count - base)
  local fields = strings(ARGV[6], at_field, size)
  local olds = strings(ARGV[7], at_old, size)
  local news = strings(ARGV[8], at_new, size)
  at_field, at_old, at_new = fields[size + 1], olds[size + 1], news[size + 1]
  local stored = redis.call('HMGET', KEYS[1], unpack(fields, 1, size))
  local write, length = {}, 0
  for i = 1, size do
    if (stored[i] or '') == olds[i] then
      write[length + 1], write[length + 2] = fields[i], news[i]
      length = length + 2
    else
      conflicts[#conflicts + 1] = base + i - 1
    end
  end
  if length > 0 then
    redis.call('HSET', KEYS[1], unpack(write))
  end
end

local function append(stream, name, payload, cap, trail, mark)
  local id = redis.call('XADD', stream, 'MAXLEN', '~', cap, '*', name, payload)
  redis.call('RPUSH', trail, mark .. id)
end

-- SPEND

local function take_push(push, device)
  local refused = spend(push[1], push[2], now)
  if refused then
    append(device[6], 'd', ARGV[push[4][refused]], ARGV[3], device[7], 'd')
    refused_ids[#refused_ids + 1], refused_results[#refused_results + 1] = push[1], refused
    return
  end
  append(device[6], 'd', ARGV[push[3]], ARGV[3], device[7], 'd')
  if push[8] > tonumber(now) then
    redis.call('ZADD', KEYS[4], push[8], push[1])
    redis.call('HSET', KEYS[5], push[1], push[6] .. '\n' .. ARGV[push[7]])
  else
    redis.call('XADD', push[5], '*', 'p', ARGV[push[7]])
    redis.call('SADD', KEYS[3], push[6])
  end
end

local function remember(told)
  redis.call('ZADD', told[1], told[3], told[2])
  redis.call('ZREMRANGEBYRANK', told[1], 0, -told[4] - 1)
  redis.call('PEXPIRE', told[1], told[5])
end

-- Whether the effects of this device may happen; marks a `once` as taken.
local function is_current(device)
  local once = device[13]
  if once ~= '' then
    return redis.call('SET', once[1], '1', 'NX', 'PX', once[2])
  end
  return (redis.call('HGET', KEYS[1], device[1]) or '') == ARGV[device[2]]
end

local function apply(device)
  if device[3] > 0 then
    redis.call('HSET', KEYS[1], device[1], ARGV[device[3]])
  end
  if device[4] > 0 then
    redis.call('ZADD', KEYS[2], device[4], device[1])
  elseif device[4] == 0 then
    redis.call('ZREM', KEYS[2], device[1])
  end
  for _, payload in ipairs(device[8]) do
    append(device[5], 'e', ARGV[payload], ARGV[2], device[7], 'e')
  end
  for _, payload in ipairs(device[9]) do
    append(device[6], 'd', ARGV[payload], ARGV[3], device[7], 'd')
  end
  for _, push in ipairs(device[10]) do
    take_push(push, device)
  end
  for _, counter in ipairs(device[11]) do
    redis.call('HINCRBY', counter[1], counter[2], 1)
    redis.call('PEXPIRE', counter[1], counter[3])
  end
  for _, extra in ipairs(device[12]) do
    redis.call('XADD', extra[1], 'MAXLEN', '~', extra[4], '*', extra[2], ARGV[extra[3]])
  end
  if device[14] ~= '' then
    remember(device[14])
  end
  if #device[8] + #device[9] + #device[10] > 0 then
    redis.call('LTRIM', device[7], -tonumber(ARGV[4]), -1)
    redis.call('PEXPIRE', device[7], ARGV[5])
  end
end

if ARGV[10] ~= '' then
  for index, device in ipairs(cmsgpack.unpack(ARGV[10])) do
    if is_current(device) then
      apply(device)
    else
      device_conflicts[#device_conflicts + 1] = index - 1
    end
  end
end

return { conflicts, device_conflicts, refused_ids, refused_results }
