-- Takes receipts of one device, each once: what is new becomes a step in the delivery history.
-- KEYS  1 zset of receipts taken: member -> instant   2 stream of delivery records
-- ARGV  1 most receipts remembered   2 lifetime, ms   3 cap of the stream
--       then for each receipt: member, instant, record
-- A member begins with the push's id and a line's end; the id alone is remembered, too: it arrived.
-- Returns for each receipt 1 (new) or 0 (taken before).
local answers = {}
for i = 4, #ARGV, 3 do
  local is_new = redis.call('ZADD', KEYS[1], 'NX', ARGV[i + 1], ARGV[i])
  if is_new == 1 then
    redis.call('ZADD', KEYS[1], 'NX', ARGV[i + 1], string.match(ARGV[i], '^[^\n]*'))
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', 'r', ARGV[i + 2])
  end
  answers[#answers + 1] = is_new
end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -tonumber(ARGV[1]) - 1)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return answers
