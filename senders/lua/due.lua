-- Which delayed entries are due, and where each belongs.
-- KEYS: delayed, delayed bodies. ARGV: now ms, limit. Answers a flat list: push id, member, ...;
-- the member is empty where the body is missing.
local out = {}
for _, push in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])) do
  local body = redis.call('HGET', KEYS[2], push)
  out[#out + 1] = push
  out[#out + 1] = body and string.match(body, '^[^\n]*') or ''
end
return out
