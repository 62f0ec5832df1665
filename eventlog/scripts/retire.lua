#!lua flags=allow-oom
-- Forget a handler: its position, what is open and what is dead. Types that only it wanted are written down, because
-- the notification subscription gives up no others. Its ledger goes afterwards, key by key.
-- ARGV: prefix, handler, lanes, note (JSON)
local prefix, handler, lanes = ARGV[1], ARGV[2], tonumber(ARGV[3])
if redis.call('HEXISTS', prefix .. 'newest', handler) == 0 then return 'unknown' end
for lane = 0, lanes - 1 do
  if redis.call('EXISTS', prefix .. 'lease:' .. handler .. ':' .. lane) == 1 then return 'busy' end
end

local queues = redis.call('SMEMBERS', prefix .. 'queues')
for lane = 0, lanes - 1 do
  local pair = handler .. '|' .. lane
  for _, hash in ipairs({'cur', 'runto', 'gen'}) do redis.call('HDEL', prefix .. hash, pair) end
  for _, kind in ipairs({'ahead:', 'open:', 'opendue:', 'history:'}) do
    redis.call('UNLINK', prefix .. kind .. handler .. ':' .. lane)
  end
  for _, queue in ipairs(queues) do redis.call('ZREM', prefix .. 'due:' .. queue, pair) end
end
redis.call('UNLINK', prefix .. 'dead:' .. handler, prefix .. 'stats:' .. handler)
for _, hash in ipairs({'newest', 'wants', 'replays', 'paused', 'since'}) do redis.call('HDEL', prefix .. hash, handler) end
for _, field in ipairs(redis.call('HKEYS', prefix .. 'handlers')) do
  if string.match(field, '^(.-)|') == handler then redis.call('HDEL', prefix .. 'handlers', field) end
end
local routes = redis.call('HGETALL', prefix .. 'routes')
for i = 1, #routes, 2 do
  local others, was_ours = {}, false
  for queue, name in string.gmatch(routes[i + 1], '([^\t\n]+)\t([^\t\n]+)') do
    if name == handler then was_ours = true else others[#others + 1] = queue .. '\t' .. name .. '\n' end
  end
  if was_ours and #others == 0 then
    redis.call('HDEL', prefix .. 'routes', routes[i])
    redis.call('SADD', prefix .. 'released', routes[i])
  elseif was_ours then
    redis.call('HSET', prefix .. 'routes', routes[i], table.concat(others))
  end
end
redis.call('HSET', prefix .. 'retired', handler, ARGV[4])
return 'retired'
