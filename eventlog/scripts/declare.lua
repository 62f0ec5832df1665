#!lua flags=allow-oom
-- A worker declares its handlers. A new handler gets a cursor on every lane. The tables that other scripts read
-- (routes: handlers per type; wants: types per handler) are rebuilt from all declarations.
-- A retired handler returns when a worker starts with it, but not when a running worker renews it. A renamed handler's
-- old name is ignored while the new name exists.
-- ARGV: prefix, lanes, keep (ms a declaration of an older version counts after it was last seen), whether the worker
-- only renews ('1' or ''), then 5 values per handler: name, version, declaration (JSON: types, queue, ...),
-- start (now, oldest), whether the worker serves it ('1') or only has its code ('')
-- Two deployments of one version may put a handler into different queues. The one that started last wins: a renewal, or
-- a worker that does not serve the handler, leaves the queue as it is.
-- Returns: names that were ignored; name and queue of each handler that is in another queue than declared; names of the
-- handlers of which this is a new version that does not want all types of the newest one before it (`unwanted`).
prefix = take()
local lanes, keep_ms, again = take_number(), take_number(), take() == '1'
local now = now_ms()
local registry = prefix .. 'handlers'

local ignored = {}
local function is_ignored(name)
  local note = call('HGET', prefix .. 'retired', name)
  if not note then return false end
  local said = read_record(note)
  local renamed_to = said and said.renamed_to
  if again or (renamed_to and call('HEXISTS', prefix .. 'newest', renamed_to) == 1) then return true end
  call('HDEL', prefix .. 'retired', name)
  return false
end

-- A new version may want less than the newest one so far. What waits of those types, it will not get.
local dropped = {}
local function note_dropped(name, version, types)
  call('HDEL', prefix .. 'unwanted', name)
  local before = call('HGET', prefix .. 'newest', name)
  local record = before and read_declaration(call('HGET', registry, name .. '|' .. before))
  if not record then return end
  local wanted, gone = {}, {}
  for _, type_name in ipairs(types) do wanted[type_name] = true end
  for _, type_name in ipairs(record.declaration.types) do
    local covered = wanted['*'] and not is_internal(type_name)
      or is_timer(type_name) and wanted[TIMER .. name] -- of an earlier name (add_earlier)
    if not wanted[type_name] and not covered then gone[#gone + 1] = type_name end
  end
  if #gone == 0 then return end
  call('HSET', prefix .. 'unwanted', name, cjson.encode({version = version, at = now, types = gone}))
  dropped[#dropped + 1] = name
end

local elsewhere = {}
local function register(name, version, declaration, start, serves)
  local field = name .. '|' .. version
  local known = read_declaration(call('HGET', registry, field))
  declaration = cjson.decode(declaration)
  if not known then note_dropped(name, version, declaration.types) end
  if known and known.declaration.queue ~= declaration.queue then
    if again or not serves then
      elsewhere[#elsewhere + 1] = name
      elsewhere[#elsewhere + 1] = known.declaration.queue
      declaration.queue = known.declaration.queue
    end
  end
  local first_seen = known and known.first_seen or now
  call('HSET', registry, field, cjson.encode({
    v = 1, first_seen = first_seen, last_seen = now, declaration = declaration,
    served = serves and now or (known and known.served) or 0,
  }))
  call('HSETNX', prefix .. 'since', name, first_seen)
  for lane = 0, lanes - 1 do
    local from = '0-0'
    if start == 'now' then
      local last = call('XREVRANGE', prefix .. 'events:' .. lane, '+', '-', 'COUNT', 1)
      if last[1] then from = last[1][1] end
    end
    call('HSETNX', prefix .. 'cur', name .. '|' .. lane, from)
  end
end

while has_more() do
  local name, version, declaration, start, serves = take(), take(), take(), take(), take() == '1'
  if is_ignored(name) then
    ignored[#ignored + 1] = name
  else
    register(name, version, declaration, start, serves)
  end
end

local newest, records = {}, {}
local all = call('HGETALL', registry)
for i = 1, #all, 2 do
  local name, version = string.match(all[i], '^(.-)|(.*)$')
  local record = name and read_declaration(all[i + 1])
  if record then
  -- Times from the future are from before the clock of Redis went back. Such a version would stay the newest.
  if record.last_seen > now or record.first_seen > now then
    record.last_seen, record.first_seen = math.min(record.last_seen, now), math.min(record.first_seen, now - 1)
    call('HSET', registry, all[i], cjson.encode(record))
  end
  -- A version that is gone (rolled back) stops being the newest, but not at once: it may only be restarting.
  local live = record.last_seen >= now - keep_ms
  records[#records + 1] = {name = name, version = version, record = record, field = all[i], live = live}
  local best = newest[name]
  if not best or (live and not best.live) or (live == best.live and (record.first_seen > best.record.first_seen
      or (record.first_seen == best.record.first_seen and version > best.version))) then
    newest[name] = {version = version, record = record, live = live}
  end
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
    call('HDEL', registry, entry.field)
  end
end

-- What a handler's pairs passed was counted by its types. With other types, only a pair at the end of its lane is known;
-- housekeeping counts the others. The raised `gen` makes a drain read again what it read by the earlier types.
local states = {}
local function recount(name, set, counted)
  call('HSET', prefix .. 'counted', name, counted)
  for lane = 0, lanes - 1 do
    local pair, passed = name .. '|' .. lane, passed_key(name, lane)
    local cur = call('HGET', prefix .. 'cur', pair)
    states[lane] = states[lane] or lane_state(lane)
    call('HINCRBY', prefix .. 'gen', pair, 1)
    call('DEL', passed)
    if cur and is_at_end(states[lane], cur) then
      call('HSET', passed, 'n', wanted_sum(set, lane), 'cur', cur, 'beyond', 0,
        'uncounted', states[lane].uncounted)
    end
  end
end

-- A renamed handler also wants the timers that fell due under an earlier name, until its cursors have passed them.
local function add_earlier(name, types)
  local text, kept = call('HGET', prefix .. 'earlier', name), {}
  for type_name, renamed_ms in string.gmatch(text or '', '([^\t\n]+)\t(%d+)\n') do
    for lane = 0, lanes - 1 do
      local cur = call('HGET', prefix .. 'cur', name .. '|' .. lane)
      states[lane] = states[lane] or lane_state(lane)
      if cur and parts(cur) <= tonumber(renamed_ms) and not is_at_end(states[lane], cur) then
        types[type_name] = true
        kept[#kept + 1] = type_name .. '\t' .. renamed_ms .. '\n'
        break
      end
    end
  end
  if text and #kept == 0 then call('HDEL', prefix .. 'earlier', name)
  elseif text then call('HSET', prefix .. 'earlier', name, table.concat(kept)) end
end

local routes = {}
call('DEL', prefix .. 'wants', prefix .. 'newest', prefix .. 'routes')
for name, types in pairs(wants) do
  local list, queue = {}, newest[name].record.declaration.queue
  add_earlier(name, types)
  for type_name in pairs(types) do
    list[#list + 1] = type_name
    routes[type_name] = (routes[type_name] or '') .. queue .. '\t' .. name .. '\n'
  end
  table.sort(list)
  local text = table.concat(list, '\n')
  local _, counted = wanted_set(text)
  call('HSET', prefix .. 'wants', name, text)
  if call('HGET', prefix .. 'counted', name) ~= counted then recount(name, types, counted) end
  call('HSET', prefix .. 'newest', name, newest[name].version)
  call('SADD', prefix .. 'queues', queue)
  -- A pair that is due in the queue of an older version moves to the queue of the newest.
  for _, other in ipairs(call('SMEMBERS', prefix .. 'queues')) do
    for lane = 0, (other ~= queue and lanes or 0) - 1 do
      if call('ZREM', prefix .. 'due:' .. other, name .. '|' .. lane) == 1 then
        call('ZADD', prefix .. 'due:' .. queue, 'LT', now, name .. '|' .. lane)
      end
    end
  end
end
for type_name, route in pairs(routes) do
  call('HSET', prefix .. 'routes', type_name, route)
  call('SREM', prefix .. 'released', type_name)
end
return {ignored, elsewhere, dropped}
