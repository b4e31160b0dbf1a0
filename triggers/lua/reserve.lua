-- Takes budgets at dispatch: KEYS the budgets, ARGV 1 push id, 2 msgpack spends, 3 now (epoch ms).
-- Returns '' when all were free, else the result of the first empty budget.

-- SPEND

return spend(ARGV[1], cmsgpack.unpack(ARGV[2]), ARGV[3]) or ''
