#!lua flags=allow-oom
-- The door is open and can write: note the moment, or find that it was shut for too long and note nothing yet.
-- ARGV: prefix, replica, hole (ms)
local prefix, replica, hole_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])
local door = prefix .. 'door'
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local last = 0
local beats = redis.call('HGETALL', door)
for i = 2, #beats, 2 do last = math.max(last, tonumber(beats[i])) end
if last > 0 and now_ms - last > hole_ms then
  return {string.format('%d', last), string.format('%d', now_ms)}
end
for i = 1, #beats, 2 do
  if beats[i] ~= replica and now_ms - tonumber(beats[i + 1]) > hole_ms then
    redis.call('HDEL', door, beats[i])
  end
end
redis.call('HSET', door, replica, string.format('%d', now_ms))
return {}
