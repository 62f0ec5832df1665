#!lua flags=allow-oom
-- A paused handler goes on: every lane is due, since while it was paused nobody was told what arrived.
-- ARGV: prefix, handler, lanes
local prefix, handler, lanes = ARGV[1], ARGV[2], tonumber(ARGV[3])
local version = redis.call('HGET', prefix .. 'newest', handler)
if not version then return 'unknown' end
if redis.call('HDEL', prefix .. 'paused', handler) == 0 then return 'running' end
local record = redis.call('HGET', prefix .. 'handlers', handler .. '|' .. version)
local due = prefix .. 'due:' .. cjson.decode(record).declaration.queue
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
for lane = 0, lanes - 1 do
  if redis.call('EXISTS', prefix .. 'lease:' .. handler .. ':' .. lane) == 0 then
    redis.call('ZADD', due, 'LT', now_ms, handler .. '|' .. lane)
  end
end
return 'resumed'
