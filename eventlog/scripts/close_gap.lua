#!lua
-- Record a gap and append its event, together. An outage of the receivers is recorded by the one replica that still
-- sees it, with its new beat; any other gap unless one of its reason that begins at the same moment is recorded.
-- ARGV: prefix, replica ('' = no outage), from (ms), to (ms), reason, lane, type, key, body, gap (JSON)
-- Returns: id of the event and the queues to wake; false when the gap is recorded already.
prefix = take()
local replica, from_ms, to_ms, reason, lane = take(), take_number(), take_number(), take(), take()
local type_name, key, body, gap = take(), take(), take(), take()
local door, gaps, now = prefix .. 'door', prefix .. 'gaps', now_ms()
local function field() return string.format('%d', from_ms) end
if replica ~= '' then
  local beats, last = call('HGETALL', door), 0
  for i = 2, #beats, 2 do last = math.max(last, tonumber(beats[i])) end
  if last ~= from_ms then return false end
end
while true do
  local recorded = call('HGET', gaps, field())
  if not recorded then break end
  local is_known, other = pcall(cjson.decode, recorded)
  if replica == '' and is_known and type(other) == 'table' and other.reason == reason then return false end
  from_ms = from_ms + 1
end
local id = call('XADD', prefix .. 'events:' .. lane, '*', 'v', '1', 't', type_name, 'k', key, 'b', body,
  'r', string.format('%d', to_ms), 's', '', 'm', '')
for _, name in ipairs({type_name, ''}) do call('HINCRBY', prefix .. 'added', lane .. '|' .. name, 1) end
-- The id is known only now. cjson would write an empty list of types as an object, so the text is completed.
call('HSET', gaps, field(), string.sub(gap, 1, -2) .. ',"event":"' .. lane .. '-' .. id .. '"}')
if replica ~= '' then call('HSET', door, replica, string.format('%d', to_ms)) end
call('HINCRBY', prefix .. 'counts', 'internal:' .. type_name, 1)
local paused, wake = paused_handlers(), {}
for _, name in ipairs({type_name, '*'}) do
  for queue, handler in each_route(call('HGET', prefix .. 'routes', name)) do
    if not paused[handler] and mark_due(queue, handler, lane, now) then wake[#wake + 1] = queue end
  end
end
return {id, wake}
