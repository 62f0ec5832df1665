#!lua flags=allow-oom
-- Note that a receiver is open and can write. If none was for too long, note nothing and return the hole.
-- ARGV: prefix, replica, hole (ms)
-- Returns: empty, or the last beat and now (ms).
prefix = take()
local replica, hole_ms, now = take(), take_number(), now_ms()
local door, last = prefix .. 'door', last_beat(now + hole_ms)
if last > 0 and now - last > hole_ms then return {string.format('%d', last), string.format('%d', now)} end
local beats = call('HGETALL', door)
for i = 1, #beats, 2 do
  if beats[i] ~= replica and math.abs(now - count_of(beats[i + 1])) > hole_ms then call('HDEL', door, beats[i]) end
end
call('HSET', door, replica, string.format('%d', now))
return {}
