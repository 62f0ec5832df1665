#!lua flags=allow-oom
-- Remove the oldest events of one lane, but none that a registered handler has not settled and none that is too young.
-- If a position is missing, nothing is known to be settled, so nothing is removed.
-- ARGV: prefix, lane, keep (ms that an event is kept at least; '' = any age), most to remove
-- Returns: how many were removed, whether more may be, id of the oldest remaining event ('' = none), how many remain.
prefix = take()
local lane, keep_ms, most = take(), take(), take_number()
local stream = prefix .. 'events:' .. lane

local function answer(removed, more)
  local oldest = call('XRANGE', stream, '-', '+', 'COUNT', 1)
  local id = oldest[1] and oldest[1][1] or ''
  return {removed, more and 1 or 0, id, call('XLEN', stream)}
end

-- The first id after one. Lua cannot count beyond 2^53, so after such a number it is the first one of that time.
local function id_after(id)
  local ms, number = parts(id)
  return string.format('%d-%d', ms, number < 2 ^ 53 and number + 1 or 0)
end

-- The clock went back, so ids are ahead of it and say nothing about age: read when each event arrived.
local PAGE, MOST_PAGES = 100, 20
local function aged_by_arrival(from_ms)
  local from, bound = '-', '0-0'
  for _ = 1, MOST_PAGES do
    local page = call('XRANGE', stream, from, '+', 'COUNT', PAGE)
    for _, entry in ipairs(page) do
      for i = 1, #entry[2], 2 do
        if entry[2][i] == 'r' and count_of(entry[2][i + 1]) >= from_ms then return entry[1], false end
      end
      bound = id_after(entry[1])
    end
    if #page < PAGE then return bound, false end
    from = bound
  end
  return bound, true
end

local low, unread = nil, false
for _, name in ipairs(call('HKEYS', prefix .. 'newest')) do
  local cur = call('HGET', prefix .. 'cur', name .. '|' .. lane)
  if not cur then return answer(0, false) end
  if not low or later(low, cur) then low = cur end
end
local bound = low and id_after(low)
if keep_ms ~= '' then
  local from_ms = math.max(0, now_ms() - tonumber(keep_ms))
  local aged = string.format('%d-0', from_ms)
  local newest = call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  if newest and parts(newest[1]) > now_ms() + 60000 then aged, unread = aged_by_arrival(from_ms) end
  if not bound or later(bound, aged) then bound = aged end
end
if not bound then return answer(0, false) end

-- Whole nodes first, since that can be limited; then exactly, which splits one node.
local removed = call('XTRIM', stream, 'MINID', '~', bound, 'LIMIT', most)
local more = removed * 2 > most or unread
if keep_ms ~= '' and not more then removed = removed + call('XTRIM', stream, 'MINID', '=', bound) end
-- The time up to which events may be gone: a search for what arrived before it may miss events.
if removed > 0 then
  local first = call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  local gone_ms = parts(bound)
  if first then gone_ms = math.min(gone_ms, (parts(first[1]))) end
  if gone_ms > count_of(call('HGET', prefix .. 'tenant', 'trimmed')) then call('HSET', prefix .. 'tenant', 'trimmed', string.format('%d', gone_ms)) end
end
return answer(removed, more)
