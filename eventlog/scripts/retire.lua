#!lua flags=allow-oom
-- Remove a handler: its position, open records and dead letters. Types that only it wanted are stored, because the
-- notification subscription drops only those. The caller removes its ledger afterwards, key by key.
-- ARGV: prefix, handler, lanes, note (JSON)
prefix = take()
local handler, lanes, note = take(), take_number(), take()
if call('HEXISTS', prefix .. 'newest', handler) == 0 then return 'unknown' end
for lane = 0, lanes - 1 do
  if is_leased(handler, lane) then return 'busy' end
end

local queues = call('SMEMBERS', prefix .. 'queues')
for lane = 0, lanes - 1 do
  local pair = handler .. '|' .. lane
  for _, hash in ipairs({'cur', 'runto', 'gen', 'held', 'asking'}) do call('HDEL', prefix .. hash, pair) end
  call('ZREM', prefix .. 'timers', pair)
  for _, kind in ipairs({'ahead:', 'open:', 'opendue:', 'history:', 'passed:', 'timers:', 'timersdue:'}) do
    call('UNLINK', prefix .. kind .. handler .. ':' .. lane)
  end
  for _, queue in ipairs(queues) do call('ZREM', prefix .. 'due:' .. queue, pair) end
end
call('UNLINK', prefix .. 'dead:' .. handler, prefix .. 'stats:' .. handler)
for _, hash in ipairs({'newest', 'wants', 'counted', 'replays', 'paused', 'since', 'held', 'unwanted', 'earlier'}) do
  call('HDEL', prefix .. hash, handler)
end
for _, field in ipairs(call('HKEYS', prefix .. 'handlers')) do
  if string.match(field, '^(.-)|') == handler then call('HDEL', prefix .. 'handlers', field) end
end
local routes = call('HGETALL', prefix .. 'routes')
for i = 1, #routes, 2 do
  local others, was_ours = {}, false
  for queue, name in each_route(routes[i + 1]) do
    if name == handler then was_ours = true else others[#others + 1] = queue .. '\t' .. name .. '\n' end
  end
  if was_ours and #others == 0 then
    call('HDEL', prefix .. 'routes', routes[i])
    call('SADD', prefix .. 'released', routes[i])
  elseif was_ours then
    call('HSET', prefix .. 'routes', routes[i], table.concat(others))
  end
end
call('HSET', prefix .. 'retired', handler, note)
return 'retired'
