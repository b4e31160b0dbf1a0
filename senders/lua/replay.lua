-- Brings dead letters back into their streams. KEYS: active set, dead letters, then streams.
-- ARGV per letter: its id, stream number (from 1), member, payload. A letter that is gone is left
-- out. Answers how many came back.
local replayed = 0
for i = 1, #ARGV, 4 do
  if redis.call('XDEL', KEYS[2], ARGV[i]) == 1 then
    redis.call('XADD', KEYS[2 + tonumber(ARGV[i + 1])], '*', 'p', ARGV[i + 3])
    redis.call('SADD', KEYS[1], ARGV[i + 2])
    replayed = replayed + 1
  end
end
return replayed
