#!lua flags=allow-oom
-- Move all that the log knows about a handler to another name. The caller moves the ledger before, key by key, while
-- the handler is paused, since its keys can be too many for one script.
-- ARGV: prefix, old name, new name, lanes, note for the old name (JSON), the pause before (JSON, '' = none)
prefix = take()
local old, new, lanes, note, pause_before = take(), take(), take_number(), take(), take()
local version = call('HGET', prefix .. 'newest', old)
if not version then return 'unknown' end
if call('HEXISTS', prefix .. 'newest', new) == 1 then return 'taken' end
if call('HEXISTS', prefix .. 'paused', old) == 0 then return 'running' end
for lane = 0, lanes - 1 do
  if is_leased(old, lane) then return 'busy' end
end

local now = now_ms()
local due = prefix .. 'due:' .. queue_of(old, version)
local function move_field(hash, from, to)
  local value = call('HGET', prefix .. hash, from)
  call('HDEL', prefix .. hash, from)
  if value then call('HSET', prefix .. hash, to, value) end
end
local function move_key(from, to)
  if call('EXISTS', prefix .. from) == 1 then call('RENAME', prefix .. from, prefix .. to) end
end

for lane = 0, lanes - 1 do
  for _, hash in ipairs({'cur', 'runto', 'gen', 'asking'}) do move_field(hash, old .. '|' .. lane, new .. '|' .. lane) end
  for _, kind in ipairs({'ahead:', 'open:', 'opendue:', 'history:', 'passed:', 'timers:', 'timersdue:'}) do
    move_key(kind .. old .. ':' .. lane, kind .. new .. ':' .. lane)
  end
  local timers_ms = call('ZSCORE', prefix .. 'timers', old .. '|' .. lane)
  if timers_ms then
    call('ZREM', prefix .. 'timers', old .. '|' .. lane)
    call('ZADD', prefix .. 'timers', timers_ms, new .. '|' .. lane)
  end
  call('HDEL', prefix .. 'held', old .. '|' .. lane)
  call('ZREM', due, old .. '|' .. lane)
  call('ZADD', due, now, new .. '|' .. lane)
end
move_key('dead:' .. old, 'dead:' .. new)
move_key('stats:' .. old, 'stats:' .. new)
-- Timers that fell due under the old name lie in lanes with it: the new name wants them, too (declare.lua).
if wanted_set(call('HGET', prefix .. 'wants', old))[TIMER .. old] then
  local earlier = call('HGET', prefix .. 'earlier', old) or ''
  call('HSET', prefix .. 'earlier', old, earlier .. string.format('%s%s\t%d\n', TIMER, old, now))
end
for _, hash in ipairs({'newest', 'wants', 'counted', 'replays', 'since', 'unwanted', 'earlier'}) do
  move_field(hash, old, new)
end
for _, field in ipairs(call('HKEYS', prefix .. 'handlers')) do
  local name, of = string.match(field, '^(.-)|(.*)$')
  if name == old then move_field('handlers', field, new .. '|' .. of) end
end
local routes = call('HGETALL', prefix .. 'routes')
for i = 1, #routes, 2 do
  local lines = {}
  for queue, name in each_route(routes[i + 1]) do
    lines[#lines + 1] = queue .. '\t' .. (name == old and new or name) .. '\n'
  end
  call('HSET', prefix .. 'routes', routes[i], table.concat(lines))
end
call('HDEL', prefix .. 'paused', old)
call('HDEL', prefix .. 'held', old) -- its next failure holds the new name
if pause_before ~= '' then call('HSET', prefix .. 'paused', new, pause_before) end
call('HSET', prefix .. 'retired', old, note)
call('HDEL', prefix .. 'retired', new)
return 'renamed'
