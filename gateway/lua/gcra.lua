-- Generic cell rate algorithm, for many subjects of one limit at once.
-- KEYS   one key a subject: string, the theoretical arrival time in microseconds
-- ARGV   1: emission interval in microseconds (the time one unit takes to come back)
--        2: burst in units
--        3..: the cost of each subject, in the order of KEYS
-- Answers, a subject: retry after in microseconds (0: allowed and spent), units left.
local now_parts = redis.call('TIME')
local now = now_parts[1] * 1000000 + now_parts[2]
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local window = interval * burst
local answer = {}
for i, key in ipairs(KEYS) do
  local cost = interval * tonumber(ARGV[2 + i])
  local arrival = math.max(tonumber(redis.call('GET', key) or 0), now)
  -- More than the burst can never fit: it is let through when everything is left, and then paid off.
  local wait = math.max(0, arrival + math.min(cost, window) - now - window)
  if wait == 0 then
    arrival = arrival + cost
    redis.call('SET', key, string.format('%.0f', arrival), 'PX', math.ceil((arrival - now) / 1000) + 1)
  end
  answer[2 * i - 1] = math.ceil(wait)
  answer[2 * i] = math.max(0, math.floor((now + window - arrival) / interval))
end
return answer
