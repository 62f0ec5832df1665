#!lua flags=allow-oom
-- Give up the oldest events of one lane: none that a registered handler has not settled, none younger than asked.
-- Where a position is missing, nothing is known to be settled, so nothing goes.
-- ARGV: prefix, lane, keep (ms that an event is kept at least; '' = however young), most to remove
-- Returns: how many went, whether more may go, the handler that is furthest behind ('' = none is registered), its
--   position, id of the oldest event that is left ('' = none), how many are left.
local prefix, lane, keep_ms, most = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local stream = prefix .. 'events:' .. lane

local function answer(removed, more, handler, position)
  local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)
  local id = oldest[1] and oldest[1][1] or ''
  return {removed, more and 1 or 0, handler, position, id, redis.call('XLEN', stream)}
end

local behind, low = '', nil
for _, name in ipairs(redis.call('HKEYS', prefix .. 'newest')) do
  local cur = redis.call('HGET', prefix .. 'cur', name .. '|' .. lane)
  if not cur then return answer(0, false, name, '') end
  if not low or later(low, cur) then behind, low = name, cur end
end
local bound
if low then
  local ms, seq = parts(low)
  bound = string.format('%d-%d', ms, seq + 1)
end
if keep_ms ~= '' then
  local time = redis.call('TIME')
  local from_ms = math.max(0, time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(keep_ms))
  local aged = string.format('%d-0', from_ms)
  if not bound or later(bound, aged) then bound = aged end
end
if not bound then return answer(0, false, '', '') end

-- By whole nodes first, since that can be bounded; then exactly, which splits one node.
local removed = redis.call('XTRIM', stream, 'MINID', '~', bound, 'LIMIT', most)
local more = removed * 2 > most
if keep_ms ~= '' and not more then removed = removed + redis.call('XTRIM', stream, 'MINID', '=', bound) end
return answer(removed, more, behind, low or '')
