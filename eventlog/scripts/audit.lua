#!lua flags=allow-oom
-- Write down an act of an operator.
-- ARGV: prefix, how many acts are kept, the act (JSON), '1' if its effect is counted as it goes on
-- Returns: its id.
prefix = take()
local most, act, is_counted = take(), take(), take() == '1'
local acts, done = prefix .. 'audit', prefix .. 'audit:done'
local id = call('XADD', acts, 'MAXLEN', '=', most, '*', 'd', act)
local oldest = call('XRANGE', acts, '-', '+', 'COUNT', 1)[1][1]
for _, known in ipairs(call('HKEYS', done)) do
  if later(oldest, known) then call('HDEL', done, known) end
end
if is_counted then call('HSET', done, id, 0) end
return id
