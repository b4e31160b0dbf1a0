-- Removes delayed entries. KEYS: delayed, delayed bodies. ARGV: push ids. Answers those it removed.
local out = {}
for _, push in ipairs(ARGV) do
  if redis.call('ZREM', KEYS[1], push) == 1 then out[#out + 1] = push end
  redis.call('HDEL', KEYS[2], push)
end
return out
