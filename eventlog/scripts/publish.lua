#!lua flags=allow-oom
-- A receiver says which keys and URL it has, or that it leaves, and when which key verified events.
-- ARGV: prefix, replica, life of what it says (ms), what it says ('' = it leaves), most entries of `heard`, then 2
-- values per entry: name, ms
-- Returns: now (ms), and the ids of keys that a rotation dropped (comma separated).
prefix = take()
local replica, life_ms, says, most = take(), take_number(), take(), take_number()
local replicas, heard, now = prefix .. 'replicas', prefix .. 'heard', now_ms()
local known = call('HGETALL', replicas)
for i = 1, #known, 2 do
  local at = tonumber(string.match(known[i + 1], '^(%d+)|')) or 0
  if math.abs(now - at) > life_ms then call('HDEL', replicas, known[i]) end
end
if says == '' then
  call('HDEL', replicas, replica)
else
  call('HSET', replicas, replica, string.format('%d|', now) .. says)
end
while has_more() do
  local name, at = take(), math.min(take_number(), now)
  local before = call('HGET', heard, name)
  if before and tonumber(before) < at or not before and call('HLEN', heard) < most then
    call('HSET', heard, name, string.format('%d', at))
  end
end
return {now, call('HGET', prefix .. 'registration', 'dropped') or ''}
