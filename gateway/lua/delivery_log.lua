-- Appends records to streams of one shard, and notes decisions in their device's trail.
-- KEYS: streams and trails. ARGV: trail cap, trail lifetime ms, then per record: stream number,
-- field, cap, record, trail number (0: none).
for i = 3, #ARGV, 5 do
  local stream, trail = KEYS[tonumber(ARGV[i])], KEYS[tonumber(ARGV[i + 4])]
  local id = redis.call('XADD', stream, 'MAXLEN', '~', ARGV[i + 2], '*', ARGV[i + 1], ARGV[i + 3])
  if trail then
    redis.call('RPUSH', trail, ARGV[i + 1] .. id)
    redis.call('LTRIM', trail, -tonumber(ARGV[1]), -1)
    redis.call('PEXPIRE', trail, ARGV[2])
  end
end
return 1
