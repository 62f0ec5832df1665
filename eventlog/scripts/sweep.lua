#!lua flags=allow-oom
-- Queues to wake: each has a due pair without a drain, is not paused, and was not woken recently.
-- ARGV: prefix, wake throttle (ms)
prefix = take()
local throttle_ms, now, paused, wake = take_number(), now_ms(), paused_handlers(), {}
spread_fresh()
for _, queue in ipairs(call('SMEMBERS', prefix .. 'queues')) do
  for _, pair in ipairs(call('ZRANGEBYSCORE', prefix .. 'due:' .. queue, '-inf', now)) do
    local name, lane = string.match(pair, '^(.*)|(%d+)$')
    if not paused[name] and not is_leased(name, lane) then
      if call('SET', prefix .. 'wake:' .. queue, '1', 'NX', 'PX', throttle_ms) then wake[#wake + 1] = queue end
      break
    end
  end
end
return wake
