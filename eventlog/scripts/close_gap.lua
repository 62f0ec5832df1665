#!lua
-- Close a gap: the event, the record of the gap and the new beat together, by the one replica that still sees it.
-- ARGV: prefix, replica, from (ms), to (ms), lane, type, key, body, gap (JSON)
local prefix, replica, from_ms, to_ms, lane = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local door = prefix .. 'door'
local last = 0
local beats = redis.call('HGETALL', door)
for i = 2, #beats, 2 do last = math.max(last, tonumber(beats[i])) end
if last ~= tonumber(from_ms) then return false end
local id = redis.call('XADD', prefix .. 'events:' .. lane, '*', 'v', '1', 't', ARGV[6], 'k', ARGV[7], 'b', ARGV[8],
  'r', to_ms, 's', '', 'm', '')
redis.call('HSET', prefix .. 'gaps', from_ms, ARGV[9])
redis.call('HSET', door, replica, to_ms)
redis.call('HINCRBY', prefix .. 'counts', 'internal:' .. ARGV[6], 1)
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local wake = {}
for _, name in ipairs({ARGV[6], '*'}) do
  local route = redis.call('HGET', prefix .. 'routes', name) or ''
  for queue, handler in string.gmatch(route, '([^\t\n]+)\t([^\t\n]+)') do
    if redis.call('HEXISTS', prefix .. 'paused', handler) == 0
        and redis.call('EXISTS', prefix .. 'lease:' .. handler .. ':' .. lane) == 0 then
      redis.call('ZADD', prefix .. 'due:' .. queue, 'LT', now_ms, handler .. '|' .. lane)
      wake[#wake + 1] = queue
    end
  end
end
return {id, wake}
