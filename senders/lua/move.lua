-- Moves due entries from the delayed set into their streams.
-- KEYS: active set, delayed, delayed bodies, then streams. ARGV: now ms, then per entry: push id,
-- member, stream number (0: there is no body, drop it). What is no longer due or has changed its
-- place since it was looked up is left alone. Answers how many were moved.
local now = tonumber(ARGV[1])
local moved = 0
for i = 2, #ARGV, 3 do
  local push, member, stream = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local due = redis.call('ZSCORE', KEYS[2], push)
  local body = redis.call('HGET', KEYS[3], push)
  if due and tonumber(due) <= now then
    local head = member .. '\n'
    if not body then
      redis.call('ZREM', KEYS[2], push)
    elseif stream > 0 and string.sub(body, 1, #head) == head then
      redis.call('XADD', KEYS[3 + stream], '*', 'p', string.sub(body, #head + 1))
      redis.call('SADD', KEYS[1], member)
      redis.call('ZREM', KEYS[2], push)
      redis.call('HDEL', KEYS[3], push)
      moved = moved + 1
    end
  end
end
return moved
