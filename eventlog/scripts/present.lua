#!lua flags=allow-oom
-- A worker process reports what it works on, or that it leaves. It gets the live processes of its queue and what is due.
-- ARGV: prefix, queue, process, life of a beat (ms), its report ('' = it leaves), then 2 values per handler that it
-- serves: name, version
-- Returns: the live processes of this queue (name, age of the beat in ms, report); pairs of these handlers that
-- are due; names of these handlers for which newer code is declared.
prefix = take()
local queue, process, life_ms, says = take(), take(), take_number(), take()
local beats, said, member = prefix .. 'workers:beats', prefix .. 'workers', queue .. '|' .. process
local now = now_ms()
-- A beat from the future is one from before the clock of Redis went back; a live process beats again within a second.
for _, span in ipairs({{'-inf', now - life_ms}, {now + life_ms, '+inf'}}) do
  for _, gone in ipairs(call('ZRANGEBYSCORE', beats, span[1], span[2])) do
    call('ZREM', beats, gone)
    call('HDEL', said, gone)
  end
end
if says == '' then
  call('ZREM', beats, member)
  call('HDEL', said, member)
  return {{}, {}, {}}
end
call('ZADD', beats, now, member)
call('HSET', said, member, says)

local there, ours = {}, queue .. '|'
local all = call('ZRANGE', beats, 0, -1, 'WITHSCORES')
for i = 1, #all, 2 do
  if string.sub(all[i], 1, #ours) == ours then
    there[#there + 1] = {string.sub(all[i], #ours + 1), now - all[i + 1], call('HGET', said, all[i])}
  end
end
local served, outdated = {}, {}
while has_more() do
  local name, version = take(), take()
  served[name] = true
  if call('HGET', prefix .. 'newest', name) ~= version then outdated[#outdated + 1] = name end
end
for name in pairs(paused_handlers()) do served[name] = nil end
spread_fresh()
local due, held = {}, holds(now)
for _, pair in ipairs(call('ZRANGEBYSCORE', prefix .. 'due:' .. queue, '-inf', now)) do
  local name, lane = pair_parts(pair)
  if name and served[name] and not held_in(held, name, lane) then due[#due + 1] = pair end
end
return {there, due, outdated}
