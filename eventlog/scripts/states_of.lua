#!lua flags=allow-oom,no-writes
-- What some events of one lane are to one handler.
-- ARGV: prefix, handler, lane, then the stream ids of the events
-- Returns, for each: the state of its open record, or 'waiting', or 'settled'.
prefix = take()
local handler, lane = take(), take()
local pair = handler .. ':' .. lane
local cursor = call('HGET', prefix .. 'cur', handler .. '|' .. lane) or '0-0'
local states = {}
while has_more() do
  local id = take()
  local record = call('HGET', prefix .. 'open:' .. pair, id)
  if record then
    states[#states + 1] = string.match(record, '^{"v":%d+,"state":"(%a+)"') or 'open'
  elseif later(id, cursor) and call('SISMEMBER', prefix .. 'ahead:' .. pair, id) == 0 then
    states[#states + 1] = 'waiting'
  else
    states[#states + 1] = 'settled'
  end
end
return states
