-- Settles entries of one shard, and adds new ones: each takes its new place in the same step in
-- which it leaves the old one.
-- KEYS: active set, delayed, delayed bodies, then streams. ARGV: group, then operations:
--   done    stream n id...                        the entries leave
--   delay   stream id push_id due_ms body         the entry waits in the delayed set
--   requeue stream id member n payload...         payloads join the stream in place of the entry
--   bury    stream id grave cap lane reason payload   the entry goes to the dead letters
-- An empty id adds without taking anything away. Nothing is added for an entry that somebody else
-- has settled already. Answers how many entries were settled or added.
local group = ARGV[1]
local cursor, settled = 2, 0

local function argument()
  cursor = cursor + 1
  return ARGV[cursor - 1]
end

local function take(stream, id)
  if id ~= '' then
    if redis.call('XACK', stream, group, id) == 0 then return false end
    redis.call('XDEL', stream, id)
  end
  settled = settled + 1
  return true
end

local operations = {}

function operations.done(stream)
  local n = tonumber(argument())
  local ids = {}
  for i = 1, n do ids[i] = argument() end
  settled = settled + redis.call('XACK', stream, group, unpack(ids))
  redis.call('XDEL', stream, unpack(ids))
end

function operations.delay(stream)
  local id, push, due, body = argument(), argument(), argument(), argument()
  if take(stream, id) then
    redis.call('HSET', KEYS[3], push, body)
    redis.call('ZADD', KEYS[2], due, push)
  end
end

function operations.requeue(stream)
  local id, member, n = argument(), argument(), tonumber(argument())
  local is_taken = take(stream, id)
  for _ = 1, n do
    local payload = argument()
    if is_taken then redis.call('XADD', stream, '*', 'p', payload) end
  end
  if is_taken then redis.call('SADD', KEYS[1], member) end
end

function operations.bury(stream)
  local id, grave, cap = argument(), KEYS[3 + tonumber(argument())], argument()
  local lane, reason, payload = argument(), argument(), argument()
  if take(stream, id) then
    redis.call('XADD', grave, 'MAXLEN', '~', cap, '*', 'p', payload, 'lane', lane, 'reason', reason)
  end
end

while cursor <= #ARGV do
  local operation = operations[argument()]
  operation(KEYS[3 + tonumber(argument())])
end
return settled
