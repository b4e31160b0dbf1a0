-- Takes over entries that were claimed and never settled.
-- KEYS: streams. ARGV: group, consumer, least idle ms, limit, owner ('' for every consumer).
-- Answers a flat list: stream number (from 1), entry id, payload, times delivered, ...
local group, consumer, idle, owner = ARGV[1], ARGV[2], ARGV[3], ARGV[5]
local left = tonumber(ARGV[4])
local out = {}
for i = 1, #KEYS do
  if left <= 0 then break end
  local query = {'XPENDING', KEYS[i], group, 'IDLE', idle, '-', '+', left}
  if owner ~= '' then query[#query + 1] = owner end
  local pending = redis.pcall(unpack(query))
  if pending.err then
    if string.sub(pending.err, 1, 7) ~= 'NOGROUP' then return pending end
    pending = {}
  end
  for _, row in ipairs(pending) do
    local id = row[1]
    local claimed = redis.call('XCLAIM', KEYS[i], group, consumer, idle, id)
    local entry = claimed[1]
    if entry then
      out[#out + 1] = i
      out[#out + 1] = id
      out[#out + 1] = entry[2][2]
      out[#out + 1] = row[4] + 1
      left = left - 1
    elseif #redis.call('XRANGE', KEYS[i], id, id) == 0 then
      redis.call('XACK', KEYS[i], group, id)
    end
  end
end
return out
