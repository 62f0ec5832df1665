#!lua flags=allow-oom
-- A receiver publishes its keys and its URL, or that it leaves, and when which key verified events.
-- ARGV: prefix, replica, life of its record (ms), its record ('' = it leaves), most entries of `heard`, how long
-- they are kept when there are so many (ms), then 2 values per entry: name, ms. There is always room for a key without
-- a type.
-- Returns: now (ms), and the ids of keys that a rotation dropped (comma separated).
prefix = take()
local replica, life_ms, says, most, keep_ms = take(), take_number(), take(), take_number(), take_number()
local replicas, heard, now = prefix .. 'replicas', prefix .. 'heard', now_ms()
local known = call('HGETALL', replicas)
for i = 1, #known, 2 do
  local at = count_of(string.match(known[i + 1], '^(%d+)|'))
  if math.abs(now - at) > life_ms then call('HDEL', replicas, known[i]) end
end
if says == '' then
  call('HDEL', replicas, replica)
else
  call('HSET', replicas, replica, string.format('%d|', now) .. says)
end
if call('HLEN', heard) >= most then
  local entries = call('HGETALL', heard)
  for i = 2, #entries, 2 do
    if count_of(entries[i]) < now - keep_ms then call('HDEL', heard, entries[i - 1]) end
  end
end
while has_more() do
  local name, at = take(), math.min(take_number(), now)
  local before = call('HGET', heard, name)
  local has_room = before or string.sub(name, -1) == '|' or call('HLEN', heard) < most
  if has_room and count_of(before) < at then
    call('HSET', heard, name, string.format('%d', at))
  end
end
return {now, call('HGET', prefix .. 'registration', 'dropped') or ''}
