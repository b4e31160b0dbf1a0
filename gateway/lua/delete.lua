-- Deletes documents, each only if it is at the version that the caller expects.
--
-- KEYS and ARGV 1 to 4 as in put.lua, then for each document: id, expected.
-- Returns for each document 1 (deleted), 0 (there was none) or minus the stored version (refused).
-- With KEYS[6] the id is remembered there with the instant of its removal.

local HEADER = '<i8i8i8'
local answers, changed = {}, {}

for at = 5, #ARGV, 2 do
  local id, expected = ARGV[at], ARGV[at + 1]
  local field = ARGV[4] .. id
  local stored = redis.call('HGET', KEYS[1], field)
  local version = stored and struct.unpack(HEADER, stored) or 0
  if version == 0 then
    answers[#answers + 1] = 0
  elseif expected ~= '' and expected ~= 'present' and version ~= tonumber(expected) then
    answers[#answers + 1] = -version
  else
    redis.call('HDEL', KEYS[1], field)
    redis.call('ZREM', KEYS[2], id)
    if KEYS[6] then redis.call('ZADD', KEYS[6], ARGV[1], id) end
    changed[#changed + 1] = -redis.call('INCR', KEYS[3]) .. ' ' .. id
    answers[#answers + 1] = 1
  end
end

-- The set names tenants that have documents; where removals are remembered, it keeps those, too.
if #changed > 0 and not KEYS[6] and redis.call('ZCARD', KEYS[2]) == 0 then
  redis.call('SREM', KEYS[4], ARGV[2])
end

if #changed > 0 and KEYS[5] then
  local last = redis.call('XREVRANGE', KEYS[5], '+', '-', 'COUNT', 1)[1]
  redis.call('XADD', KEYS[5], 'MAXLEN', '~', 100000, '*', 'after', last and last[1] or '0-0',
    'tenant', ARGV[2], 'kind', ARGV[3], 'changed', table.concat(changed, '\n'))
end
return answers
