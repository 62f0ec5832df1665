-- Precedes every script, since Redis gives a script no way to load another.
local call = redis.call
local prefix -- of every key; each script that needs it sets it first

-- Arguments are read in order: take() returns the next one, take(n) a list of the next n. Lua 5.1 evaluates lists from
-- left to right, so `local a, b = take(), take()` is in order.
local taken = 0
local function take(n)
  if not n then
    taken = taken + 1
    return ARGV[taken]
  end
  local first = taken + 1
  taken = taken + n
  return {unpack(ARGV, first, taken)}
end
local function take_number() return tonumber(take()) end
local function has_more() return taken < #ARGV end

-- Unix time by the clock of Redis.
local function now_ms()
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Another client may write into our keys. A record of JSON; nil for what is not one.
local function read_record(text)
  local is_json, record = pcall(cjson.decode, text or '')
  return is_json and type(record) == 'table' and record or nil
end
-- A stored number; nil for what is not one, and for infinity. A stored count; 0 for what is not a number.
local function number_of(value)
  local number = tonumber(value or nil)
  return number and number - number == 0 and number or nil
end
local function count_of(value) return number_of(value) or 0 end

-- Stream ids are <ms>-<number>. What is not an id counts as the first one: nothing before it is settled.
local function parts(id)
  local ms, number = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms) or 0, tonumber(number) or 0
end
-- Handler and lane of a pair; nil for what is none, since another client may write into our keys.
local function pair_parts(pair) return string.match(pair, '^(.*)|(%d+)$') end
local function later(a, b)
  local a_ms, a_number = parts(a)
  local b_ms, b_number = parts(b)
  return a_ms > b_ms or (a_ms == b_ms and a_number > b_number)
end

-- Whether an id, or '(' and an id, lies before all that a stream has. Asked for what is there, XREVRANGE reads the whole
-- stream from its end.
local function is_before_all(stream, id)
  if id == '+' then return false end
  local oldest = call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  if not oldest then return true end
  local ms, number = string.match(id, '^%(?(%d+)%-?(%d*)$')
  ms, number = tonumber(ms), tonumber(number) or math.huge
  local oldest_ms, oldest_number = parts(oldest[1])
  if ms ~= oldest_ms then return ms < oldest_ms end
  return number < oldest_number or (number == oldest_number and string.sub(id, 1, 1) == '(')
end

-- Internal events: what this service announces about itself. Their types begin with `receiver.`, and `*` does not stand
-- for them.
local INTERNAL = 'receiver.'
local function is_internal(type_name) return string.sub(type_name or '', 1, #INTERNAL) == INTERNAL end
-- Timers of handlers that fell due; the handler's name follows.
local TIMER = INTERNAL .. 'timer:'
local function is_timer(type_name) return string.sub(type_name, 1, #TIMER) == TIMER end
local function is_wanted(set, type_name)
  return set[type_name or ''] or (set['*'] and not is_internal(type_name)) or false
end

-- Queue and name of each handler in one entry of the `routes` hash.
local function each_route(route) return string.gmatch(route or '', '([^\t\n]+)\t([^\t\n]+)') end

-- A declaration as a worker wrote it; nil for what is none.
local function read_declaration(text)
  local record = read_record(text)
  local said = record and record.declaration
  if type(said) ~= 'table' or type(said.queue) ~= 'string' or type(said.types) ~= 'table' then return nil end
  for _, name in pairs(said.types) do if type(name) ~= 'string' then return nil end end
  if type(record.first_seen) ~= 'number' or type(record.last_seen) ~= 'number' then return nil end
  return record
end
local function queue_of(handler, version)
  local record = read_declaration(call('HGET', prefix .. 'handlers', handler .. '|' .. version))
  return record and record.declaration.queue
end

-- The record of an entity's timers, without what is not a timer.
local function read_timers(text)
  local record = read_record(text)
  if not record or type(record.t) ~= 'table' then return {v = 1, t = {}} end
  local KINDS = {'number', 'string', 'string', 'string', 'string', 'number'}
  for name, timer in pairs(record.t) do
    for at, kind in ipairs(KINDS) do
      if type(timer) ~= 'table' or type(timer[at]) ~= kind then record.t[name] = nil end
    end
  end
  return record
end

local function paused_handlers()
  local paused = {}
  for _, name in ipairs(call('HKEYS', prefix .. 'paused')) do paused[name] = true end
  return paused
end

-- Holds of handlers (`held`: handler) and of pairs (handler|lane): an entry begins with the ms until when nothing starts
-- there. No longer one is believed, since clocks go back.
local LONGEST_HOLD_MS = 3600000
local function hold_end(entry, now)
  local until_ms = entry and tonumber(string.match(entry, '^%d+'))
  return until_ms and until_ms > now and until_ms <= now + LONGEST_HOLD_MS and until_ms or nil
end
local function holds(now)
  local held, all = {}, call('HGETALL', prefix .. 'held')
  for i = 1, #all, 2 do held[all[i]] = hold_end(all[i + 1], now) end
  return held
end
local function held_in(held, handler, lane)
  local all_lanes, this = held[handler], held[handler .. '|' .. lane]
  return all_lanes and this and math.max(all_lanes, this) or all_lanes or this
end
local function held_until(handler, lane)
  local pair = handler .. '|' .. lane
  local found = call('HMGET', prefix .. 'held', handler, pair)
  if not found[1] and not found[2] then return nil end
  local now = now_ms()
  return held_in({[handler] = hold_end(found[1], now), [pair] = hold_end(found[2], now)}, handler, lane)
end

-- When a receiver was last open and able to write (ms, 0 = never). A beat after `latest_ms` is one from before the clock
-- of Redis went back: it would hide every hole until then.
local function last_beat(latest_ms)
  local last = 0
  for _, beat in ipairs(call('HVALS', prefix .. 'door')) do
    local at = count_of(beat)
    if at <= latest_ms then last = math.max(last, at) end
  end
  return last
end

local function is_leased(handler, lane)
  return call('EXISTS', prefix .. 'lease:' .. handler .. ':' .. lane) == 1
end

-- The key of the pairs that are due. What another client put in its place goes: recompute.lua finds what was due.
local function due_key(queue)
  local due = prefix .. 'due:' .. queue
  local kind = call('TYPE', due).ok
  if kind ~= 'zset' and kind ~= 'none' then call('DEL', due) end
  return due
end

-- Make a pair due, a held one when its hold ends. A pair with a drain needs nothing: its next step reads on, or checks
-- again before it sleeps.
local function mark_due(queue, handler, lane, at_ms)
  if not queue or is_leased(handler, lane) then return false end -- without a declaration that can be read, no queue
  local until_ms = held_until(handler, lane)
  call('ZADD', prefix .. 'due:' .. queue, 'LT', until_ms or at_ms, handler .. '|' .. lane)
  return not until_ms
end

-- What follows is for the lag; "Lag" in the README says what these numbers mean.
local function passed_key(handler, lane) return prefix .. 'passed:' .. handler .. ':' .. lane end

-- The types of one entry of `wants`: as a set, and as sorted text that says by what `passed` is counted. Older code
-- wrote them in any order, and counted internal events for `*`.
local function wanted_set(text)
  local set, list = {}, {}
  for name in string.gmatch(text, '[^\n]+') do
    set[name] = true
    list[#list + 1] = name
  end
  table.sort(list)
  if set['*'] then list[#list + 1] = '-' .. INTERNAL end
  return set, table.concat(list, '\n')
end

-- How many wanted events were ever added to a lane. The entry without a type counts all of them, the entry `receiver.`
-- all internal ones.
local function wanted_sum(set, lane)
  local fields, sum = {}, 0
  for name in pairs(set) do
    if not set['*'] or is_internal(name) then fields[#fields + 1] = lane .. '|' .. name end
  end
  if set['*'] then
    local all, internal = unpack(redis.pcall('HMGET', prefix .. 'added', lane .. '|', lane .. '|' .. INTERNAL), 1, 2)
    sum = count_of(all) - count_of(internal)
  end
  if #fields == 0 then return sum end
  for _, by in ipairs(redis.pcall('HMGET', prefix .. 'added', unpack(fields))) do sum = sum + count_of(by) end
  return sum
end

-- A lane's length, last id ('' = empty), and how many events were added without being counted.
local function lane_state(lane)
  local stream, state, ever = prefix .. 'events:' .. lane, {length = 0, last = ''}, 0
  if call('TYPE', stream).ok == 'stream' then
    local info = call('XINFO', 'STREAM', stream)
    for i = 1, #info, 2 do
      if info[i] == 'length' then state.length = info[i + 1]
      elseif info[i] == 'entries-added' then ever = info[i + 1]
      elseif info[i] == 'last-entry' and info[i + 1] then state.last = info[i + 1][1] end
    end
  end
  state.uncounted = ever - count_of(redis.pcall('HGET', prefix .. 'added', lane .. '|'))
  return state
end
local function is_at_end(state, cur) return state.last == '' or not later(state.last, cur) end

-- The append script marks (lane, type) in `fresh`. Here each handler that wants the type becomes due on that lane,
-- unless it is paused, is held (then it is due when the hold ends), or has a drain, which reads on by itself. Many
-- pairs take long, so those wait a moment between
-- two times.
local SPREAD_PER_MS, SPREAD_PAUSE_MS = 200, 20
local function spread_fresh()
  local kind = call('TYPE', prefix .. 'fresh').ok
  if kind == 'none' then return end
  if kind ~= 'set' then -- another client wrote it; recompute.lua finds what was marked
    call('DEL', prefix .. 'fresh')
    return
  end
  local pauses_ms = call('PTTL', prefix .. 'spread') -- for longer only if the clock of Redis went back meanwhile
  if pauses_ms >= 0 and pauses_ms <= SPREAD_PAUSE_MS then return end
  local marks = call('SMEMBERS', prefix .. 'fresh')
  call('DEL', prefix .. 'fresh')
  local now, paused, wanting, by_queue, count = now_ms(), paused_handlers(), {}, {}, 0
  local held = holds(now)
  local function add(name, lane, done)
    if not wanting[name] then
      wanting[name] = {}
      for queue, handler in each_route(call('HGET', prefix .. 'routes', name)) do
        if not paused[handler] then table.insert(wanting[name], {queue, handler}) end
      end
    end
    for _, route in ipairs(wanting[name]) do
      local pair = route[2] .. '|' .. lane
      if not done[pair] and not held_in(held, route[2], lane) then
        done[pair] = true
        count = count + 1
        local pairs_of = by_queue[route[1]] or {}
        by_queue[route[1]] = pairs_of
        pairs_of[#pairs_of + 1] = pair
      end
    end
  end
  local done = {}
  for _, mark in ipairs(marks) do
    local lane, name = string.match(mark, '^(%d+)|(.*)$')
    if lane then add(name, lane, done) end
    if lane and not is_internal(name) then add('*', lane, done) end
  end
  for queue, found in pairs(by_queue) do
    local due = due_key(queue)
    for first = 1, #found, 1000 do
      local last, put = math.min(first + 999, #found), {}
      local scores = call('ZMSCORE', due, unpack(found, first, last))
      for i = first, last do
        local at = scores[i - first + 1]
        -- A pair with a drain has a time in the future; so may one that sleeps until a retry.
        if not at or (tonumber(at) > now and not is_leased(pair_parts(found[i]))) then
          put[#put + 1] = now
          put[#put + 1] = found[i]
        end
      end
      if #put > 0 then call('ZADD', due, unpack(put)) end
    end
  end
  local pause_ms = math.min(SPREAD_PAUSE_MS, math.floor(count / SPREAD_PER_MS))
  if pause_ms > 0 then call('SET', prefix .. 'spread', '1', 'PX', pause_ms) end
end

-- Put an event of our own into a lane. Its time is stored as the endpoint stores that of a payload.
local function put_internal(lane, type_name, key, body, at_ms)
  local id = call('XADD', prefix .. 'events:' .. lane, '*', 'v', '1', 't', type_name, 'k', key, 'b', body,
    'r', string.format('%d', now_ms()), 's', '', 'm', 'at=' .. string.format('%d', at_ms * 1000))
  -- A spoiled counter must not end a script that has put an event into the log.
  for _, name in ipairs({type_name, INTERNAL, ''}) do redis.pcall('HINCRBY', prefix .. 'added', lane .. '|' .. name, 1) end
  redis.pcall('HINCRBY', prefix .. 'counts', 'internal:' .. type_name, 1)
  return id
end

-- Append an internal event, in the script that changes what it is about. A full log takes it, so it is bounded:
-- * One that no handler wants is not appended, except those that show when events may be missing.
-- * After one of a type and key there is a pause. What comes meanwhile is counted, and the next one says it (`held`).
-- * All of an hour together have a limit, except the one that makes AMPECO send again what it could not deliver.
-- Takes the arguments that `InternalEvent.arguments` makes: lane, type, key, body (a JSON object).
-- Returns its id and the queues to wake; nothing when it was not appended.
local function append_internal(lane, type_name, key, body)
  local MOST_PER_HOUR, MINUTE_MS, DAY_MS = 1000, 60000, 86400000
  local SHOWS_GAPS = {['receiver.gap.opened'] = true, ['receiver.gap.closed'] = true}
  local PAUSES_MS = {
    ['receiver.started'] = MINUTE_MS,
    ['receiver.registration.failed'] = 15 * MINUTE_MS,
    ['receiver.handler.behind'] = 60 * MINUTE_MS,
    ['receiver.handler.faulty'] = 60 * MINUTE_MS,
    ['receiver.delivery.dead'] = 5 * MINUTE_MS,
    ['receiver.quarantine.added'] = 5 * MINUTE_MS,
    ['receiver.log.full'] = 60 * MINUTE_MS,
    ['receiver.shape.drifted'] = 60 * MINUTE_MS,
  }
  local route = call('HGET', prefix .. 'routes', type_name)
  if not route and not SHOWS_GAPS[type_name] then return end
  -- The key keeps its name: releases that run at the same time must share these pauses.
  local now, announced, pause_ms = now_ms(), prefix .. 'told:' .. type_name .. '|' .. key, PAUSES_MS[type_name] or 0
  local at, held = unpack(call('HMGET', announced, 'at', 'held'), 1, 2)
  at, held = number_of(at), number_of(held)
  local since_ms = now - (at or -pause_ms) -- below 0 when the clock of Redis went back
  local is_held = since_ms >= 0 and since_ms < pause_ms
  if not is_held and type_name ~= 'receiver.gap.closed' then
    local hour = prefix .. 'told:' .. string.format('%d', math.floor(now / 3600000))
    is_held = call('INCR', hour) > MOST_PER_HOUR
    call('EXPIRE', hour, 7200)
  end
  if is_held then
    call('HINCRBY', announced, 'held', 1)
    call('PEXPIRE', announced, DAY_MS)
    return
  end
  if held and held > 0 then body = string.sub(body, 1, -2) .. ',"held":' .. string.format('%d', held) .. '}' end
  call('HSET', announced, 'at', string.format('%d', now), 'held', '0')
  call('PEXPIRE', announced, DAY_MS)
  local id = put_internal(lane, type_name, key, body, now)
  local paused, wake = paused_handlers(), {}
  for queue, handler in each_route(route) do
    if not paused[handler] and mark_due(queue, handler, lane, now) then wake[#wake + 1] = queue end
  end
  return id, wake
end
