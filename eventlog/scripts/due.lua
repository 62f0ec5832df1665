#!lua flags=allow-oom
-- Pairs of the given handlers that are due now, except of paused handlers.
-- ARGV: prefix, queue, limit, then handler names
prefix = take()
local queue, limit, ours = take(), take_number(), {}
while has_more() do ours[take()] = true end
for name in pairs(paused_handlers()) do ours[name] = nil end
local found = {}
for _, pair in ipairs(call('ZRANGEBYSCORE', prefix .. 'due:' .. queue, '-inf', now_ms())) do
  if ours[string.match(pair, '^(.*)|%d+$')] then
    found[#found + 1] = pair
    if #found >= limit then break end
  end
end
return found
