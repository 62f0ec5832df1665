#!lua flags=allow-oom
-- Announce a handler for which an event of AMPECO's waits for too long, unless it is paused.
-- ARGV: prefix, handler, lanes, how long that is (ms), then the event (4 values)
-- Returns: the queues to wake.
local PAGE, MOST_PAGES = 50, 20 -- what lies before the first wanted event
prefix = take()
local handler, lanes, after_ms = take(), take_number(), take_number()
local text = call('HGET', prefix .. 'wants', handler)
if not text or call('HEXISTS', prefix .. 'paused', handler) == 1 then return {} end
local wants, before_ms = wanted_set(text), now_ms() - after_ms

local function waits(lane, entry)
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 't' then
      local type_name = entry[2][i + 1]
      if not is_wanted(wants, type_name) or (is_internal(type_name) and not is_timer(type_name)) then return false end
    end
  end
  return call('SISMEMBER', prefix .. 'ahead:' .. handler .. ':' .. lane, entry[1]) == 0
    and call('HEXISTS', prefix .. 'open:' .. handler .. ':' .. lane, entry[1]) == 0
end
local function is_behind_on(lane)
  local after = call('HGET', prefix .. 'cur', handler .. '|' .. lane)
  for _ = 1, after and MOST_PAGES or 0 do
    local page = call('XRANGE', prefix .. 'events:' .. lane, '(' .. after, '+', 'COUNT', PAGE)
    for _, entry in ipairs(page) do
      if parts(entry[1]) > before_ms then return false end
      if waits(lane, entry) then return true end
      after = entry[1]
    end
    if #page < PAGE then return false end
  end
  return false
end

for lane = 0, lanes - 1 do
  if is_behind_on(lane) then
    local _, wake = append_internal(unpack(take(4)))
    return wake or {}
  end
end
return {}
