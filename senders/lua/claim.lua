-- Takes new entries from many streams of one shard for one consumer.
-- KEYS: active set, then streams. ARGV: group, consumer, then per stream: its member name in the
-- active set, how many to take.
-- Answers a flat list: stream number (from 1), entry id, payload, ...
-- A stream without entries leaves the active set here: whoever adds an entry adds the member in the
-- same script, so no entry can be forgotten.
local group, consumer = ARGV[1], ARGV[2]
local out = {}
for i = 2, #KEYS do
  local stream, member, count = KEYS[i], ARGV[2 * i - 1], ARGV[2 * i]
  if redis.call('XLEN', stream) == 0 then
    redis.call('SREM', KEYS[1], member)
  else
    local read = {'XREADGROUP', 'GROUP', group, consumer, 'COUNT', count, 'STREAMS', stream, '>'}
    local reply = redis.pcall(unpack(read))
    if reply and reply.err then
      if string.sub(reply.err, 1, 7) ~= 'NOGROUP' then return reply end
      redis.call('XGROUP', 'CREATE', stream, group, '0')
      reply = redis.call(unpack(read))
    end
    if reply then
      for _, entry in ipairs(reply[1][2]) do
        out[#out + 1] = i - 1
        out[#out + 1] = entry[1]
        out[#out + 1] = entry[2][2]
      end
    end
  end
end
return out
