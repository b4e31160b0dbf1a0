-- spend(push_id, spends, now) takes from every budget or from none.
-- Returns nil when all were free, else the result that the first empty budget names.
-- A budget of 1 is a string holding the push id, gone after the window; up to 1,000 a sorted set of
-- push ids by the instant they were taken; above, a plain counter. Taking twice for one push counts
-- once (for plain counters: at most once too often, the safe direction).

local PLAIN_COUNTER_FROM = 1000

local function is_free(push_id, key, limit, window_ms, now)
  if limit == 1 then
    local holder = redis.call('GET', key)
    return not holder or holder == push_id
  elseif limit <= PLAIN_COUNTER_FROM then
    if window_ms > 0 then
      redis.call('ZREMRANGEBYSCORE', key, '-inf', tonumber(now) - window_ms)
    end
    return redis.call('ZSCORE', key, push_id) or redis.call('ZCARD', key) < limit
  end
  return tonumber(redis.call('GET', key) or '0') < limit
end

local function take(push_id, key, limit, window_ms, now)
  if limit == 1 then
    if redis.call('SET', key, push_id, 'NX') and window_ms > 0 then
      redis.call('PEXPIRE', key, window_ms)
    end
    return
  end
  if limit <= PLAIN_COUNTER_FROM then
    redis.call('ZADD', key, 'NX', now, push_id)
  else
    redis.call('INCR', key)
  end
  if window_ms > 0 then
    redis.call('PEXPIRE', key, window_ms)
  end
end

local function spend(push_id, spends, now)
  for _, budget in ipairs(spends) do
    if not is_free(push_id, budget[1], budget[2], budget[3], now) then
      return budget[4]
    end
  end
  for _, budget in ipairs(spends) do
    take(push_id, budget[1], budget[2], budget[3], now)
  end
end
