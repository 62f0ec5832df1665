#!lua
-- Close a gap: the event, the record of the gap and the new beat together, by the one replica that still sees it.
-- ARGV: prefix, replica, from (ms), to (ms), lane, type, key, body, gap (JSON)
-- Returns: id of the event and the queues to wake; false when another replica closed the gap.
prefix = take()
local replica, from_ms, to_ms, lane = take(), take(), take(), take()
local type_name, key, body, gap = take(), take(), take(), take()
local door, last = prefix .. 'door', 0
local beats = call('HGETALL', door)
for i = 2, #beats, 2 do last = math.max(last, tonumber(beats[i])) end
if last ~= tonumber(from_ms) then return false end
local id = call('XADD', prefix .. 'events:' .. lane, '*', 'v', '1', 't', type_name, 'k', key, 'b', body,
  'r', to_ms, 's', '', 'm', '')
for _, name in ipairs({type_name, ''}) do call('HINCRBY', prefix .. 'added', lane .. '|' .. name, 1) end
call('HSET', prefix .. 'gaps', from_ms, gap)
call('HSET', door, replica, to_ms)
call('HINCRBY', prefix .. 'counts', 'internal:' .. type_name, 1)
local now, paused, wake = now_ms(), paused_handlers(), {}
for _, name in ipairs({type_name, '*'}) do
  for queue, handler in each_route(call('HGET', prefix .. 'routes', name)) do
    if not paused[handler] and mark_due(queue, handler, lane, now) then wake[#wake + 1] = queue end
  end
end
return {id, wake}
