-- Forgets consumers that own nothing and have been silent. KEYS: streams. ARGV: group, own name,
-- least idle ms. Looking and forgetting are one step: a consumer that owns entries must stay.
local forgotten = 0
for _, stream in ipairs(KEYS) do
  local rows = redis.pcall('XINFO', 'CONSUMERS', stream, ARGV[1])
  if not rows.err then
    for _, row in ipairs(rows) do
      local fields = {}
      for i = 1, #row, 2 do fields[row[i]] = row[i + 1] end
      local is_silent = fields.idle >= tonumber(ARGV[3])
      if fields.pending == 0 and is_silent and fields.name ~= ARGV[2] then
        redis.call('XGROUP', 'DELCONSUMER', stream, ARGV[1], fields.name)
        forgotten = forgotten + 1
      end
    end
  end
end
return forgotten
