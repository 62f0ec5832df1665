#!lua flags=allow-oom
-- Record a gap and append its event, together. An outage of the receivers is recorded by the one replica that still
-- sees it, with its new beat; any other gap unless one of its reason that begins at the same moment is recorded.
-- ARGV: prefix, replica ('' = no outage), from (ms), to (ms), reason, gap (JSON), then the event (4 values)
-- Returns: id of the event and the queues to wake; false when the gap is recorded already.
prefix = take()
local replica, from_ms, to_ms, reason, gap = take(), take_number(), take_number(), take(), take()
local event, door, gaps = take(4), prefix .. 'door', prefix .. 'gaps'
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
local id, wake = append_internal(unpack(event))
-- The id is known only now. cjson would write an empty list of types as an object, so the text is completed.
call('HSET', gaps, field(), string.sub(gap, 1, -2) .. ',"event":"' .. event[1] .. '-' .. id .. '"}')
if replica ~= '' then call('HSET', door, replica, string.format('%d', to_ms)) end
return {id, wake}
