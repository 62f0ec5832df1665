#!lua flags=allow-oom
-- Everything the log knows of a handler goes over to another name. The ledger goes before, key by key, while the
-- handler is paused: its keys can be too many for one script.
-- ARGV: prefix, old name, new name, lanes, note for the old name (JSON), what was paused before ('' = nothing)
local prefix, old, new, lanes = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local version = redis.call('HGET', prefix .. 'newest', old)
if not version then return 'unknown' end
if redis.call('HEXISTS', prefix .. 'newest', new) == 1 then return 'taken' end
if redis.call('HEXISTS', prefix .. 'paused', old) == 0 then return 'running' end
for lane = 0, lanes - 1 do
  if redis.call('EXISTS', prefix .. 'lease:' .. old .. ':' .. lane) == 1 then return 'busy' end
end

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local record = redis.call('HGET', prefix .. 'handlers', old .. '|' .. version)
local due = prefix .. 'due:' .. cjson.decode(record).declaration.queue
local function move_field(hash, from, to)
  local value = redis.call('HGET', prefix .. hash, from)
  redis.call('HDEL', prefix .. hash, from)
  if value then redis.call('HSET', prefix .. hash, to, value) end
end
local function move_key(from, to)
  if redis.call('EXISTS', prefix .. from) == 1 then redis.call('RENAME', prefix .. from, prefix .. to) end
end

for lane = 0, lanes - 1 do
  for _, hash in ipairs({'cur', 'runto', 'gen'}) do move_field(hash, old .. '|' .. lane, new .. '|' .. lane) end
  for _, kind in ipairs({'ahead:', 'open:', 'opendue:', 'history:'}) do
    move_key(kind .. old .. ':' .. lane, kind .. new .. ':' .. lane)
  end
  redis.call('ZREM', due, old .. '|' .. lane)
  redis.call('ZADD', due, now_ms, new .. '|' .. lane)
end
move_key('dead:' .. old, 'dead:' .. new)
move_key('stats:' .. old, 'stats:' .. new)
for _, hash in ipairs({'newest', 'wants', 'replays', 'since'}) do move_field(hash, old, new) end
for _, field in ipairs(redis.call('HKEYS', prefix .. 'handlers')) do
  local name, of = string.match(field, '^(.-)|(.*)$')
  if name == old then move_field('handlers', field, new .. '|' .. of) end
end
local routes = redis.call('HGETALL', prefix .. 'routes')
for i = 1, #routes, 2 do
  local lines = {}
  for queue, name in string.gmatch(routes[i + 1], '([^\t\n]+)\t([^\t\n]+)') do
    lines[#lines + 1] = queue .. '\t' .. (name == old and new or name) .. '\n'
  end
  redis.call('HSET', prefix .. 'routes', routes[i], table.concat(lines))
end
redis.call('HDEL', prefix .. 'paused', old)
if ARGV[6] ~= '' then redis.call('HSET', prefix .. 'paused', new, ARGV[6]) end
redis.call('HSET', prefix .. 'retired', old, ARGV[5])
redis.call('HDEL', prefix .. 'retired', new)
return 'renamed'
