#!lua flags=allow-oom
-- Record a gap and append its event, together. An outage of the receivers is recorded by the one replica that still
-- sees it, with its new beat; any other gap unless one of its reason that begins at the same moment is recorded.
-- ARGV: prefix, replica ('' = no outage), from (ms), to (ms), reason, gap (JSON), then the event (4 values)
-- Returns: id of the event and the queues to wake; false when the gap is recorded already.
prefix = take()
local replica, from_ms, to_ms, reason, gap = take(), take_number(), take_number(), take(), take()
local event, gaps = take(4), prefix .. 'gaps'
local function field() return string.format('%d', from_ms) end
local AHEAD_MS = 5000 -- the beat of another replica that closed the gap is by the clock of Redis
if replica ~= '' and last_beat(now_ms() + AHEAD_MS) ~= from_ms then return false end
while true do
  local recorded = call('HGET', gaps, field())
  if not recorded then break end
  local other = read_record(recorded)
  if replica == '' and other and other.reason == reason then return false end
  from_ms = from_ms + 1
end
local id, wake = append_internal(unpack(event))
-- The id is known only now. cjson would write an empty list of types as an object, so the text is completed.
call('HSET', gaps, field(), string.sub(gap, 1, -2) .. ',"event":"' .. event[1] .. '-' .. id .. '"}')
if replica ~= '' then call('HSET', prefix .. 'door', replica, string.format('%d', to_ms)) end
return {id, wake}
