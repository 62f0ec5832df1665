#!lua flags=allow-oom
-- Which queues have a pair that is due with nobody on it, is not paused, and were not woken lately.
-- ARGV: prefix, wake throttle (ms)
local prefix, throttle_ms = ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local wake, paused = {}, {}
for _, name in ipairs(redis.call('HKEYS', prefix .. 'paused')) do paused[name] = true end
for _, queue in ipairs(redis.call('SMEMBERS', prefix .. 'queues')) do
  for _, pair in ipairs(redis.call('ZRANGEBYSCORE', prefix .. 'due:' .. queue, '-inf', now_ms)) do
    local name, lane = string.match(pair, '^(.*)|(%d+)$')
    if not paused[name] and redis.call('EXISTS', prefix .. 'lease:' .. name .. ':' .. lane) == 0 then
      if redis.call('SET', prefix .. 'wake:' .. queue, '1', 'NX', 'PX', throttle_ms) then
        wake[#wake + 1] = queue
      end
      break
    end
  end
end
return wake
