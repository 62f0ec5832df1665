#!lua flags=allow-oom
-- Close a gap: the event, the record of the gap and the new beat together, by the one replica that still sees it.
-- ARGV: prefix, replica, from (ms), to (ms), gap (JSON), then the event (4 values)
-- Returns: id of the event and the queues to wake; false when another replica closed the gap.
prefix = take()
local replica, from_ms, to_ms, gap = take(), take(), take(), take()
local door, last = prefix .. 'door', 0
local beats = call('HGETALL', door)
for i = 2, #beats, 2 do last = math.max(last, tonumber(beats[i])) end
if last ~= tonumber(from_ms) then return false end
local id, wake = append_internal(unpack(take(4)))
call('HSET', prefix .. 'gaps', from_ms, gap)
call('HSET', door, replica, to_ms)
return {id, wake}
