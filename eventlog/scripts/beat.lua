#!lua flags=allow-oom
-- Note that a receiver is open and can write. If none was for too long, note nothing and return the hole.
-- ARGV: prefix, replica, hole (ms)
-- Returns: empty, or the last beat and now (ms).
prefix = take()
local replica, hole_ms, now = take(), take_number(), now_ms()
local door, last = prefix .. 'door', 0
local beats = call('HGETALL', door)
-- A beat from the future is one from before the clock of Redis went back: it would hide every hole until then.
for i = 2, #beats, 2 do
  local at = tonumber(beats[i]) or 0
  if at <= now + hole_ms then last = math.max(last, at) end
end
if last > 0 and now - last > hole_ms then return {string.format('%d', last), string.format('%d', now)} end
for i = 1, #beats, 2 do
  if beats[i] ~= replica and math.abs(now - (tonumber(beats[i + 1]) or 0)) > hole_ms then call('HDEL', door, beats[i]) end
end
call('HSET', door, replica, string.format('%d', now))
return {}
