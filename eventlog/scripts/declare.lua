#!lua flags=allow-oom
-- A worker says which handlers it has. New handlers get a cursor on every lane; the tables that the other
-- scripts read (routes: who wants a type; wants: what a handler wants) are made anew from what is known.
-- A retired handler begins anew when a worker starts with it, and is ignored by one that was there before; a name
-- that was given up for another is ignored as long as that one is there.
-- ARGV: prefix, lanes, keep (ms a declaration of an older version counts after it was last seen), whether the worker
-- was there before ('1' or ''), then 4 values per handler: name, version, declaration (JSON: types, queue, ...),
-- start (now, oldest)
-- Returns: names that were ignored.
local prefix, lanes, keep_ms, again = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1'
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local registry = prefix .. 'handlers'

local ignored = {}
local function is_ignored(name)
  local note = redis.call('HGET', prefix .. 'retired', name)
  if not note then return false end
  local renamed_to = cjson.decode(note).renamed_to
  if again or (renamed_to and redis.call('HEXISTS', prefix .. 'newest', renamed_to) == 1) then return true end
  redis.call('HDEL', prefix .. 'retired', name)
  return false
end

local function register(at)
  local name, version, start = ARGV[at], ARGV[at + 1], ARGV[at + 3]
  local field = name .. '|' .. version
  local known = redis.call('HGET', registry, field)
  local first_seen = known and cjson.decode(known).first_seen or now_ms
  redis.call('HSET', registry, field, cjson.encode({
    v = 1, first_seen = first_seen, last_seen = now_ms, declaration = cjson.decode(ARGV[at + 2]),
  }))
  redis.call('HSETNX', prefix .. 'since', name, first_seen)
  for lane = 0, lanes - 1 do
    local from = '0-0'
    if start == 'now' then
      local last = redis.call('XREVRANGE', prefix .. 'events:' .. lane, '+', '-', 'COUNT', 1)
      if last[1] then from = last[1][1] end
    end
    redis.call('HSETNX', prefix .. 'cur', name .. '|' .. lane, from)
  end
end

for at = 5, #ARGV, 4 do
  if is_ignored(ARGV[at]) then ignored[#ignored + 1] = ARGV[at] else register(at) end
end

local newest, records = {}, {}
local all = redis.call('HGETALL', registry)
for i = 1, #all, 2 do
  local name, version = string.match(all[i], '^(.-)|(.*)$')
  local record = cjson.decode(all[i + 1])
  -- A version that is gone (rolled back) stops being the newest, but not at once: it may only be restarting.
  local live = record.last_seen >= now_ms - keep_ms
  records[#records + 1] = {name = name, version = version, record = record, field = all[i], live = live}
  local best = newest[name]
  if not best or (live and not best.live) or (live == best.live and (record.first_seen > best.record.first_seen
      or (record.first_seen == best.record.first_seen and version > best.version))) then
    newest[name] = {version = version, record = record, live = live}
  end
end
local wants, versions = {}, {}
for _, entry in ipairs(records) do
  local is_newest = newest[entry.name].version == entry.version
  if is_newest or entry.live then
    wants[entry.name] = wants[entry.name] or {}
    for _, type_name in ipairs(entry.record.declaration.types) do
      wants[entry.name][type_name] = true
    end
  else
    redis.call('HDEL', registry, entry.field)
  end
end

local routes = {}
redis.call('DEL', prefix .. 'wants', prefix .. 'newest', prefix .. 'routes')
for name, types in pairs(wants) do
  local list, queue = {}, newest[name].record.declaration.queue
  for type_name in pairs(types) do
    list[#list + 1] = type_name
    routes[type_name] = (routes[type_name] or '') .. queue .. '\t' .. name .. '\n'
  end
  redis.call('HSET', prefix .. 'wants', name, table.concat(list, '\n'))
  redis.call('HSET', prefix .. 'newest', name, newest[name].version)
  redis.call('SADD', prefix .. 'queues', queue)
  -- What was due where an older version had its queue, is due where the newest has it.
  for _, other in ipairs(redis.call('SMEMBERS', prefix .. 'queues')) do
    for lane = 0, (other ~= queue and lanes or 0) - 1 do
      if redis.call('ZREM', prefix .. 'due:' .. other, name .. '|' .. lane) == 1 then
        redis.call('ZADD', prefix .. 'due:' .. queue, 'LT', now_ms, name .. '|' .. lane)
      end
    end
  end
end
for type_name, route in pairs(routes) do
  redis.call('HSET', prefix .. 'routes', type_name, route)
  redis.call('SREM', prefix .. 'released', type_name)
end
return ignored
