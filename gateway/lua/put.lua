-- Stores documents, each only if it is at the version that the caller expects.
--
-- KEYS  1 hash field -> record   2 zset of ids, score 0   3 version counter   4 set of tenants
--       5 change stream (may be missing)   6 zset of removed ids (may be missing)
-- ARGV  1 now, epoch ms   2 tenant   3 kind   4 prefix of a hash field
--       then for each document: id, expected, bytes
--       expected: '' whatever is there, 'absent', 'present', or a version
-- A record is three 64-bit integers (version, created_at, updated_at), then the bytes.
-- Returns for each document: its version and created_at and updated_at; for a refused one: minus the
-- stored version (0: nothing stored), 0, 0. Bytes equal to what is stored change nothing.

local now = tonumber(ARGV[1])
local HEADER = '<i8i8i8'
local answers, changed = {}, {}

local function is_expected(expected, version)
  if expected == '' then return true end
  if expected == 'absent' then return version == 0 end
  if expected == 'present' then return version > 0 end
  return version == tonumber(expected)
end

local function answer(version, created_at, updated_at)
  local n = #answers
  answers[n + 1], answers[n + 2], answers[n + 3] = version, created_at, updated_at
end

for at = 5, #ARGV, 3 do
  local id, expected, bytes = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local field = ARGV[4] .. id
  local stored = redis.call('HGET', KEYS[1], field)
  local version, created_at, updated_at = 0, now, now
  if stored then version, created_at, updated_at = struct.unpack(HEADER, stored) end
  if not is_expected(expected, version) then
    answer(-version, 0, 0)
  elseif stored and string.sub(stored, 25) == bytes then
    answer(version, created_at, updated_at)
  else
    version = redis.call('INCR', KEYS[3])
    redis.call('HSET', KEYS[1], field, struct.pack(HEADER, version, created_at, now) .. bytes)
    redis.call('ZADD', KEYS[2], 0, id)
    if KEYS[6] then redis.call('ZREM', KEYS[6], id) end
    changed[#changed + 1] = version .. ' ' .. id
    answer(version, created_at, now)
  end
end

if #changed > 0 then
  redis.call('SADD', KEYS[4], ARGV[2])
  if KEYS[5] then
    -- Each entry names the one before it, so that a follower notices what was trimmed away.
    local last = redis.call('XREVRANGE', KEYS[5], '+', '-', 'COUNT', 1)[1]
    redis.call('XADD', KEYS[5], 'MAXLEN', '~', 100000, '*', 'after', last and last[1] or '0-0',
      'tenant', ARGV[2], 'kind', ARGV[3], 'changed', table.concat(changed, '\n'))
  end
end
return answers
