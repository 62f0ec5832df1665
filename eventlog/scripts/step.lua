#!lua flags=allow-oom
-- One step of a drain: settle, renew the lease, read on, or fall asleep. A seq is applied once; a repeated call with
-- the same seq changes nothing and reads again.
-- ARGV: prefix, handler, lane, queue, token, seq, ttl (ms; 0 = the lease need not be renewed yet), mode (work, sleep, release, give, leave, hold, stop), new cur ('' = unchanged),
--   read after, count, max bytes, claim (last id of a range to hand out instead of reading, '' = read), wants (as the
--   drain knows them; the claimed range was chosen by them), types to read for other handlers (one a line),
--   lane of internal events about this handler, then six lists, each after its length:
--   puts (id, due ms and longest wait in ms or '', record), dels (id),
--   dead (id, type, key, reason, trace, record), stats (field, by),
--   ahead (id: settled although the cursor is not there yet), passed (id: the cursor is there now); then
--   four for the lag, counted only where the cursor is given: wanted events that the cursor passes with this step,
--   those after it that are settled or open, id of the oldest unsettled one ('-' = none), how many are parked; last,
--   one entry of the history ('' = nothing was settled), and what the handler keeps of entities, in groups:
--   'timer', key, entity, name, generation, delay (ms), event that sets it, data (JSON, '' = none);
--   'drop', key, name, generation ('' = any); 'state', key, time to live (ms), document ('' = none)
-- Events are answered as (id, type, key, body, received, key id, marks), and as (id, fields) where they hold anything
-- else: half of what a read costs is the number of values in the answer. One value more says which calls of handlers
-- an event may be the echo of.
-- As the last argument, when a drain that falls asleep has its first retry to start, in ms: the clock of Redis may have gone back
-- since that was written ('' = it has none). For `hold`: for how long the pair is to be held (ms), and why.
-- Returns after the last event read, whether more follow, events and newest version: whether the handler is paused (1)
-- or the pair held (2), so that nothing starts.
-- Returns last, in a step that goes on: ids of retries whose wait an operator ended (hurry.lua)
prefix = take()
local handler, lane, queue, token, seq, ttl_ms = take(), take(), take(), take(), take(), take_number()
local mode, new_cur, after, count, max_bytes = take(), take(), take(), take_number(), take_number()
local claim, known_wants, others, announced_in = take(), take(), take(), take()
local pair = handler .. '|' .. lane
local lease = prefix .. 'lease:' .. handler .. ':' .. lane
local open = prefix .. 'open:' .. handler .. ':' .. lane
local open_due = prefix .. 'opendue:' .. handler .. ':' .. lane
local ahead = prefix .. 'ahead:' .. handler .. ':' .. lane
local due = prefix .. 'due:' .. queue

-- Take in what the handler keeps of entities. A record of timers holds, by name: when the timer is due (ms), generation,
-- event that it became ('' = not due yet), event that set it, data, delay (ms), and the entity where that is not the key.
local function keep_records(handler, lane, pair)
  local records = prefix .. 'timers:' .. handler .. ':' .. lane
  local due_at = prefix .. 'timersdue:' .. handler .. ':' .. lane
  local function change_timers(key, change)
    local record, next_ms = read_timers(call('HGET', records, key)), nil
    change(record.t)
    for _, timer in pairs(record.t) do
      if timer[3] == '' and (not next_ms or timer[1] < next_ms) then next_ms = timer[1] end
    end
    if next(record.t) then call('HSET', records, key, cjson.encode(record)) else call('HDEL', records, key) end
    if next_ms then call('ZADD', due_at, next_ms, key) else call('ZREM', due_at, key) end
  end
  while taken < #ARGV - 1 do
    local what, key = take(), take()
    if what == 'state' then
      local live_ms, document, state = take(), take(), prefix .. 'state:' .. handler .. ':' .. key
      if document == '' then call('DEL', state) else call('SET', state, document, 'PX', live_ms) end
    elseif what == 'drop' then
      local name, generation = take(), take()
      change_timers(key, function(timers)
        if timers[name] and (generation == '' or timers[name][2] == generation) then timers[name] = nil end
      end)
    else
      local entity, name, generation, delay_ms, event, data = take(), take(), take(), take_number(), take(), take()
      change_timers(key, function(timers)
        timers[name] = {now_ms() + delay_ms, generation, '', event, data, delay_ms, entity ~= key and entity or nil}
      end)
    end
  end
  local head = call('ZRANGE', due_at, 0, 0, 'WITHSCORES')
  if head[1] then call('ZADD', prefix .. 'timers', head[2], pair) else call('ZREM', prefix .. 'timers', pair) end
end

local holder = call('HMGET', lease, 'token', 'seq', 'gen', 'hurry', 'told')
if holder[1] ~= token then return {'lost'} end
local wants = call('HGET', prefix .. 'wants', handler)
if not wants then return {'lost'} end

local changed = (call('HGET', prefix .. 'gen', pair) or '0') ~= (holder[3] or '0') and 1 or 0
local passed = passed_key(handler, lane)
local told = holder[5] or '' -- a repeated call gets the same answer again
if holder[2] ~= seq then
  if tonumber(holder[2]) + 1 ~= tonumber(seq) then return {'lost'} end
  local old_cur = call('HGET', prefix .. 'cur', pair)
  -- A key that another client spoiled ends the script here, and nothing is rolled back. So what must not be lost is
  -- written before what it replaces is removed, and the cursor moves last. What only counts or remembers ends nothing.
  for _ = 1, take_number() do
    local id, due_ms, record = take(), take(), take()
    call('HSET', open, id, record)
    if due_ms == '' then
      call('ZREM', open_due, id)
    else
      local at_ms, wait_ms = string.match(due_ms, '^(%d+) (%d+)$')
      if at_ms then due_ms = math.min(at_ms, now_ms() + wait_ms) end -- two clocks: that of the worker may be ahead
      call('ZADD', open_due, string.format('%d', due_ms), id)
    end
  end
  local lists = taken
  for _, values in ipairs({1, 6, 2, 1, 1}) do
    local number = take_number()
    taken = taken + number * values
  end
  taken = taken + 5 -- the lag and the history
  if taken < #ARGV - 1 then keep_records(handler, lane, pair) end
  taken = lists
  local gone = {} -- may be too many for unpack
  for i = 1, take_number() do gone[i] = take() end
  for _ = 1, take_number() do
    local event_id, type_name, key, reason = lane .. '-' .. take(), take(), take(), take()
    call('XADD', prefix .. 'dead:' .. handler, '*', 'v', '1', 'event', event_id,
      't', type_name, 'k', key, 'reason', reason, 'trace', take(), 'record', take())
    if not is_internal(type_name) or is_timer(type_name) then
      pcall(append_internal, announced_in, 'receiver.delivery.dead', 'handler:' .. handler, cjson.encode({
        notification = 'receiver.delivery.dead', handler = handler, eventId = event_id, eventType = type_name,
        entity = key ~= '' and key or nil, reason = reason,
      }))
    end
  end
  for _ = 1, take_number() do redis.pcall('HINCRBY', prefix .. 'stats:' .. handler, take(), take()) end
  for _ = 1, take_number() do call('SADD', ahead, take()) end
  for _, id in ipairs(gone) do
    call('HDEL', open, id)
    call('ZREM', open_due, id)
  end
  for _ = 1, take_number() do call('SREM', ahead, take()) end
  local passes, beyond, oldest, parked = take_number(), take_number(), take(), take_number()
  if new_cur ~= '' then
    call('HSET', prefix .. 'cur', pair, new_cur)
    local known, set = redis.pcall('HMGET', passed, 'n', 'cur'), {}
    if number_of(known[1]) and known[2] == old_cur then
      set = {'n', known[1] + passes, 'cur', new_cur, 'beyond', beyond}
    end
    -- An older event may be open that this drain does not know: a change from outside, or what newer code opened.
    local function know(name, value, is_known)
      if not is_known then redis.pcall('HDEL', passed, name) return end
      set[#set + 1] = name
      set[#set + 1] = value
    end
    know('oldest', oldest, mode ~= 'leave' and changed == 0)
    know('parked', parked, mode ~= 'leave') -- only drains park
    if #set > 0 then redis.pcall('HSET', passed, unpack(set)) end
  end
  local history = take()
  if history ~= '' then redis.pcall('XADD', prefix .. 'history:' .. handler .. ':' .. lane, '*', 'd', history) end
  call('HSET', lease, 'seq', seq)
  if holder[4] or holder[5] then
    told = holder[4] or ''
    call('HDEL', lease, 'hurry', 'told')
    if told ~= '' then call('HSET', lease, 'told', told) end
  end
end

local paused = call('HEXISTS', prefix .. 'paused', handler)
local held_ms = held_until(handler, lane)
if held_ms and paused == 0 then paused = 2 end
if mode == 'release' or mode == 'give' or mode == 'leave' or mode == 'hold' or mode == 'stop' then
  -- After a clean release nothing in (cur, runto] runs, so none of it is suspect. A drain that leaves has not read all
  -- of it: events that were running when a worker died stay suspect, and settled ones stay settled.
  if mode ~= 'leave' and mode ~= 'stop' then
    call('HSET', prefix .. 'runto', pair, call('HGET', prefix .. 'cur', pair))
  else
    redis.pcall('HDEL', passed, 'n') -- it did not see all that is settled after the cursor
  end
  -- The half marks a pair that was given back for a fair share (see due.lua).
  local at_ms = mode == 'give' and now_ms() - 0.5 or now_ms()
  if mode == 'hold' or mode == 'stop' then
    local hold_ms, why = string.match(ARGV[#ARGV], '^(%d+) (.*)$')
    local head = call('ZRANGE', open_due, 0, 0, 'WITHSCORES')
    local ends_ms = why == 'open-full' and tonumber(head[2]) or math.huge -- a retry makes room
    held_ms = math.max(held_ms or 0, math.min(now_ms() + hold_ms, ends_ms))
    redis.pcall('HSET', prefix .. 'held', pair, string.format('%d ', held_ms) .. cjson.encode({v = 1, why = why, since = now_ms()}))
  end
  at_ms = held_ms or at_ms
  if paused == 1 then call('ZREM', due, pair) else call('ZADD', due, at_ms, pair) end
  call('DEL', lease)
  return {'released'}
end
if ttl_ms > 0 then
  call('PEXPIRE', lease, ttl_ms)
  call('ZADD', due, now_ms() + ttl_ms, pair)
end

-- As the append script writes an event without a traceparent.
local function is_plain(f)
  return #f == 14 and f[1] == 'v' and f[2] == '1' and f[3] == 't' and f[5] == 'k' and f[7] == 'b' and f[9] == 'r'
    and f[11] == 's' and f[13] == 'm'
end
local function values_of(id, f) return {id, f[4], f[6], f[8], f[10], f[12], f[14]} end
local function type_and_body(f)
  if f[3] == 't' and f[7] == 'b' then return f[4], f[8] end
  local type_name, body
  for i = 1, #f, 2 do
    if f[i] == 't' then type_name = f[i + 1] elseif f[i] == 'b' then body = f[i + 1] end
  end
  return type_name, body
end

local function key_of(entry)
  if type(entry[2]) == 'string' then return entry[3] end
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 'k' then return entry[2][i + 1] end
  end
  return ''
end

local entries, own, scanned, exhausted = {}, 0, after, 0
-- runto only grows: a takeover reads again what was handed out, and the rest of it stays handed out.
local function hand_out()
  if later(scanned, call('HGET', prefix .. 'runto', pair) or '0-0') then
    call('HSET', prefix .. 'runto', pair, scanned)
  end
end
-- Only a range that was chosen by what the handler wants now, or it would miss events; and only one that this Redis
-- still has.
local is_claimed = claim ~= '' and wants == known_wants
  and #call('XRANGE', prefix .. 'events:' .. lane, claim, claim) == 1
if is_claimed then
  entries, scanned = false, claim
  hand_out()
elseif count > 0 then
  local wanted, ours = {}, {}
  for name in string.gmatch(others, '[^\n]+') do wanted[name] = true end
  for name in string.gmatch(wants, '[^\n]+') do
    wanted[name] = true
    ours[name] = true
  end
  -- Small pages, since bodies can be large; a limited number, since unwanted events can be many.
  local bytes, full, pages = 0, false, 0
  repeat
    local size = math.min(32, count - #entries)
    local page = call('XRANGE', prefix .. 'events:' .. lane, '(' .. scanned, '+', 'COUNT', size)
    for _, entry in ipairs(page) do
      scanned = entry[1]
      local fields = entry[2]
      local type_name, body = type_and_body(fields)
      if is_wanted(wanted, type_name) then
        entries[#entries + 1] = is_plain(fields) and values_of(entry[1], fields) or entry
        if others == '' or is_wanted(ours, type_name) then own = own + 1 end
        bytes = bytes + #(body or '')
        if bytes >= max_bytes then full = true break end
      end
    end
    pages = pages + 1
    if not full and #page < size then exhausted = 1 end
  until full or exhausted == 1 or #entries >= count or pages >= 32
  if own > 0 then hand_out() end
  -- Calls of handlers that an event may be the echo of (act.lua). Unless one was made lately, this asks nothing more.
  if #entries > 0 and call('EXISTS', prefix .. 'acting') == 1 then
    local names = {}
    for i, entry in ipairs(entries) do names[i] = prefix .. 'acted:' .. key_of(entry) end
    for i, acts in ipairs(call('MGET', unpack(names))) do
      if acts then table.insert(entries[i], acts) end
    end
  end
end

if mode == 'sleep' and exhausted == 1 and own == 0 and paused + changed == 0 then
  local head = call('ZRANGE', open_due, 0, 0, 'WITHSCORES')
  while head[1] and call('HEXISTS', open, head[1]) == 0 do -- of no record: another client wrote it
    call('ZREM', open_due, head[1])
    head = call('ZRANGE', open_due, 0, 0, 'WITHSCORES')
  end
  if not head[1] or tonumber(head[2]) > now_ms() then
    call('HSET', prefix .. 'cur', pair, scanned)
    call('HSET', prefix .. 'runto', pair, scanned)
    -- Nothing waits, so the count is known, even if older code left events out.
    redis.pcall('HSET', passed, 'n', wanted_sum((wanted_set(wants)), lane), 'cur', scanned, 'beyond', 0)
    redis.pcall('HDEL', passed, 'pos', 'counted')
    if head[1] then
      call('ZADD', due, math.min(tonumber(head[2]), now_ms() + (tonumber(ARGV[#ARGV]) or math.huge)), pair)
    else
      call('ZREM', due, pair)
    end
    call('DEL', lease)
    return {'asleep'}
  end
end
return {'ok', scanned, exhausted, entries, call('HGET', prefix .. 'newest', handler) or '', paused, changed,
  wants == known_wants and '' or wants, told}
