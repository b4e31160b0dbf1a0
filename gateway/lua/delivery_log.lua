-- Appends records to streams of one shard, and notes decisions in their devices' trails.
-- KEYS: streams and trails. ARGV: trail cap, trail lifetime ms, then per stream: its number, field,
-- cap, its records as a run of strings with a 16-bit length before each, and the numbers of their
-- trails as a run of 32-bit numbers (empty: none).
local function note(trail, mark)
  redis.call('RPUSH', trail, mark)
  redis.call('LTRIM', trail, -tonumber(ARGV[1]), -1)
  redis.call('PEXPIRE', trail, ARGV[2])
end

for i = 3, #ARGV, 5 do
  local stream, field, cap, run, trails = unpack(ARGV, i, i + 4)
  local at, trail_at, record, trail = 1, 1, nil, nil
  while at <= #run do
    record, at = struct.unpack('<I2c0', run, at)
    local id = redis.call('XADD', KEYS[tonumber(stream)], 'MAXLEN', '~', cap, '*', field, record)
    if trail_at <= #trails then
      trail, trail_at = struct.unpack('<I4', trails, trail_at)
      note(KEYS[trail], field .. id)
    end
  end
end
return 1
