#!lua flags=allow-oom
-- Remove the oldest events of one lane, but none that a registered handler has not settled and none that is too young.
-- If a position is missing, nothing is known to be settled, so nothing is removed.
-- ARGV: prefix, lane, keep (ms that an event is kept at least; '' = any age), most to remove
-- Returns: how many were removed, whether more may be, the handler that is furthest behind ('' = none is registered), its
--   position, id of the oldest remaining event ('' = none), how many remain.
prefix = take()
local lane, keep_ms, most = take(), take(), take_number()
local stream = prefix .. 'events:' .. lane

local function answer(removed, more, handler, position)
  local oldest = call('XRANGE', stream, '-', '+', 'COUNT', 1)
  local id = oldest[1] and oldest[1][1] or ''
  return {removed, more and 1 or 0, handler, position, id, call('XLEN', stream)}
end

local behind, low = '', nil
for _, name in ipairs(call('HKEYS', prefix .. 'newest')) do
  local cur = call('HGET', prefix .. 'cur', name .. '|' .. lane)
  if not cur then return answer(0, false, name, '') end
  if not low or later(low, cur) then behind, low = name, cur end
end
local bound
if low then
  local ms, seq = parts(low)
  bound = string.format('%d-%d', ms, seq + 1)
end
if keep_ms ~= '' then
  local from_ms = math.max(0, now_ms() - tonumber(keep_ms))
  local aged = string.format('%d-0', from_ms)
  if not bound or later(bound, aged) then bound = aged end
end
if not bound then return answer(0, false, '', '') end

-- Whole nodes first, since that can be limited; then exactly, which splits one node.
local removed = call('XTRIM', stream, 'MINID', '~', bound, 'LIMIT', most)
local more = removed * 2 > most
if keep_ms ~= '' and not more then removed = removed + call('XTRIM', stream, 'MINID', '=', bound) end
return answer(removed, more, behind, low or '')
