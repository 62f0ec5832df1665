#!lua flags=allow-oom
-- Pairs of the given handlers that are due now, longest first, except of paused handlers.
-- ARGV: prefix, queue, limit, then handler names
prefix = take()
local queue, limit, ours = take(), take_number(), {}
while has_more() do ours[take()] = true end
for name in pairs(paused_handlers()) do ours[name] = nil end
spread_fresh()
local found, now, first = {}, now_ms(), 0
repeat
  local page = call('ZRANGEBYSCORE', prefix .. 'due:' .. queue, '-inf', now, 'LIMIT', first, limit)
  for _, pair in ipairs(page) do
    if #found < limit and ours[string.match(pair, '^(.*)|%d+$')] then found[#found + 1] = pair end
  end
  first = first + #page
until #found >= limit or #page < limit
return found
