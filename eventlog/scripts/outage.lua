#!lua flags=allow-oom
-- Record a report about a service that handlers need, and what follows for the handlers: a service is away after some
-- failures in a row. Then each handler that fails on it is held, and one event of it tries when the hold is over.
-- ARGV: prefix, lanes, service, verb, first pause, longest pause, time for a probe (all ms), then by verb:
--   failed: handler, why, failures and entities that make it away, whether a probe ends it ('1') or an event (''),
--     pause that was asked for (ms), then a short hash of the entity for each failure
--   answered: how long ago (ms), handler whose trial went well ('' = none)
--   probed: whether it answered ('1' or ''), why not, pause that was asked for (ms)
-- Returns: since when it is away (ms; 0 = it is not), until when the handler is held (ms; 0 = it is not), now (ms)
prefix = take()
local lanes, service, verb = take_number(), take(), take()
local first_ms, longest_ms, probe_ms = take_number(), take_number(), take_number()
local FORGET_MS, MOST_SERVICES, KEPT_TIMES = 3600000, 50, 20
local away_key, held_key, now = prefix .. 'away', prefix .. 'held', now_ms()

local function text(number) return string.format('%d', number) end

-- Authors name services, so these are bounded: the one that failed longest ago makes room, unless it is away. AMPECO
-- always has room, and keeps it.
local OTHERS = 'dependency:'
local function is_named_by_authors(name) return string.sub(name, 1, #OTHERS) == OTHERS end
-- What is not an outage counts as none: another client may have written it.
local function read_outage(text)
  local record = read_record(text)
  if not record or type(record.n) ~= 'number' or type(record.last) ~= 'number' then return nil end
  for _, field in ipairs({'first', 'away', 'next', 'since', 'pause'}) do
    if record[field] ~= nil and type(record[field]) ~= 'number' then return nil end
  end
  for _, list in ipairs({'who', 'handlers', 'past'}) do
    if type(record[list]) ~= 'table' then return nil end
  end
  for _, span in ipairs(record.past) do
    if type(span) ~= 'table' or type(span[1]) ~= 'number' or type(span[2]) ~= 'number' then return nil end
  end
  return record
end
local function make_room()
  if not is_named_by_authors(service) then return end
  if call('HEXISTS', away_key, service) == 1 or call('HLEN', away_key) < MOST_SERVICES then return end
  local all, oldest, at = call('HGETALL', away_key), nil, nil
  for i = 1, #all, 2 do
    local record = read_outage(all[i + 1])
    local may_go = is_named_by_authors(all[i]) and not (record and record.away)
    local last = record and record.last or 0
    if record and #record.past > 0 then last = now + last end -- events may still need to know how long it was away
    if may_go and (not at or last < at) then oldest, at = all[i], last end
  end
  if oldest then call('HDEL', away_key, oldest) else service = OTHERS .. '(other)' end
end
if verb == 'failed' then make_room() end

local found = call('HGET', away_key, service)
local record = read_outage(found or nil)
  or {v = 1, n = 0, first = now, last = now, who = {}, handlers = {}, past = {}}
for _, field in ipairs({'first', 'last', 'away', 'next'}) do -- in the future only if the clock of Redis went back
  if record[field] and record[field] > now + longest_ms then record[field] = now end
end
local function save() call('HSET', away_key, service, cjson.encode(record)) end

local function has(list, value)
  for _, each in ipairs(list) do if each == value then return true end end
  return false
end

local function hold_of(handler)
  local entry = call('HGET', held_key, handler)
  if not entry then return nil, 0 end
  local until_ms, words = string.match(entry, '^(%d+) (.*)$')
  local hold = read_record(words)
  if not hold or hold.back or type(hold.pause) ~= 'number' then return nil, 0 end
  return hold, tonumber(until_ms)
end
-- The handler's lanes become due when it may start again: what arrives meanwhile does not make them due.
local function put_hold(handler, until_ms, hold)
  call('HSET', held_key, handler, text(until_ms) .. ' ' .. cjson.encode(hold))
  local version = call('HGET', prefix .. 'newest', handler)
  if not version then return end
  local queue = queue_of(handler, version)
  if not queue then return end
  local due = prefix .. 'due:' .. queue
  for lane = 0, lanes - 1 do
    if not is_leased(handler, lane) then call('ZADD', due, math.max(until_ms, now), handler .. '|' .. lane) end
  end
end
local function release(handler) put_hold(handler, 0, {v = 1, back = now}) end

-- Join the two outages with the least time between them. How long both lasted stays true, and when the later one ended.
local function join_two(past)
  local best, least = 1, nil
  for i = 1, #past - 1 do
    local between = past[i + 1][1] - past[i][2]
    if not least or between < least then best, least = i, between end
  end
  local first, second = past[best], table.remove(past, best + 1)
  past[best] = {second[1] - (first[2] - first[1]), second[2]}
end

-- The service answers again: one event of each of its handlers tries, the given one has done so.
local function is_back(tried)
  if record.away then
    table.insert(record.past, {record.away, now})
    while #record.past > KEPT_TIMES do join_two(record.past) end
  end
  record.away, record.next, record.pause = nil, nil, nil
  record.n, record.who, record.back = 0, {}, now
  for _, handler in ipairs(record.handlers) do
    local hold, until_ms = hold_of(handler)
    if hold and hold.service == service and handler ~= tried and until_ms > now then
      hold.pause = first_ms
      put_hold(handler, now, hold)
    end
  end
end

local held_ms = 0
if verb == 'failed' then
  local handler, why, needed, entities_needed = take(), take(), take_number(), take_number()
  local is_probed, asked_ms = take() == '1', take_number()
  if not record.away and record.n > 0 and now - record.last > FORGET_MS then record.n, record.who = 0, {} end
  if record.n == 0 then record.first = now end
  while has_more() do
    local entity = take()
    record.n = record.n + 1
    if #record.who < entities_needed and not has(record.who, entity) then table.insert(record.who, entity) end
  end
  record.last, record.why = now, why
  if not has(record.handlers, handler) then table.insert(record.handlers, handler) end
  if not record.away and record.n >= needed and #record.who >= entities_needed then
    record.away, record.since, record.pause = now, record.first, math.max(first_ms, math.min(asked_ms, longest_ms))
    if is_probed then record.next = now + record.pause end
  end
  local hold, until_ms = hold_of(handler)
  local pause_ms
  if hold and until_ms <= now then -- its trial failed
    pause_ms = math.min(2 * hold.pause, longest_ms)
  elseif record.away and (not hold or hold.service ~= service) then
    pause_ms = record.pause or first_ms
  end
  if pause_ms then
    until_ms = now + math.max(pause_ms, math.min(asked_ms, longest_ms))
    if record.next then until_ms = math.max(until_ms, record.next + probe_ms) end
    put_hold(handler, until_ms, {v = 1, service = service, why = why, since = hold and hold.since or now, pause = pause_ms})
  end
  save()
  held_ms = (pause_ms or (hold and until_ms > now)) and until_ms or 0
elseif verb == 'answered' then
  local at, tried = now - take_number(), take()
  if tried ~= '' then release(tried) end
  if found and (record.n > 0 or record.away) then
    if record.away and (tried ~= '' or at > record.away) then
      is_back(tried)
    elseif not record.away and at >= (record.first or 0) then
      record.n, record.who = 0, {}
    end
    save()
  end
elseif verb == 'probed' and record.away then
  local is_there, why, asked_ms = take() == '1', take(), take_number()
  if is_there then
    is_back('')
  else
    record.why, record.pause = why, math.min(2 * (record.pause or first_ms), longest_ms)
    record.next = now + math.max(record.pause, math.min(asked_ms, longest_ms))
    for _, handler in ipairs(record.handlers) do
      local hold = hold_of(handler)
      if hold and hold.service == service then
        hold.why = why
        put_hold(handler, record.next + probe_ms, hold)
      end
    end
  end
  save()
end
return {record.away and text(record.away) or '0', text(held_ms), text(now)}
