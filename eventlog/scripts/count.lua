#!lua flags=allow-oom
-- Count the wanted events after the cursor of one pair, one slice per call. Steps and appends go on in between: the
-- pair's record counts from zero meanwhile, so the slices and the steps start at the same cursor.
-- ARGV: prefix, handler, lane, most entries to read
-- Returns: the result: 'done', 'more', 'held' (a drain still has events that it read by earlier types) or
--   'unknown'; and how many entries were read.
prefix = take()
local handler, lane, most = take(), take(), take_number()
local pair, passed = handler .. '|' .. lane, passed_key(handler, lane)
local stream = prefix .. 'events:' .. lane
local cur, text = call('HGET', prefix .. 'cur', pair), call('HGET', prefix .. 'wants', handler)
if not cur or not text then return {'unknown', 0} end
local wants, sorted = wanted_set(text)
if call('HGET', prefix .. 'counted', handler) ~= sorted then return {'unknown', 0} end -- until a worker declares it
local lease_gen = call('HGET', prefix .. 'lease:' .. handler .. ':' .. lane, 'gen')
if lease_gen and lease_gen ~= (call('HGET', prefix .. 'gen', pair) or '0') then return {'held', 0} end

local n, stored_cur, pos, counted = unpack(call('HMGET', passed, 'n', 'cur', 'pos', 'counted'), 1, 4)
if stored_cur ~= cur then call('HDEL', passed, 'oldest') end -- moved by code that does not keep it
if not n or not pos or stored_cur ~= cur then n, pos, counted = 0, cur, 0 end
n, counted = tonumber(n), tonumber(counted)
if later(cur, pos) then pos, counted = cur, n end -- the drain was faster

local function type_of(fields)
  for i = 1, #fields, 2 do
    if fields[i] == 't' then return fields[i + 1] end
  end
end
local looked, ended = 0, false
while looked < most and not ended do
  local size = math.min(100, most - looked)
  local page = call('XRANGE', stream, '(' .. pos, '+', 'COUNT', size)
  for _, entry in ipairs(page) do
    pos = entry[1]
    if is_wanted(wants, type_of(entry[2])) then counted = counted + 1 end
  end
  looked = looked + #page
  ended = #page < size
end
if not ended then
  call('HSET', passed, 'n', n, 'cur', cur, 'beyond', 0, 'pos', pos, 'counted', counted)
  return {'more', looked}
end

-- The end. Of what lies after the cursor, the settled and the open do not wait.
local beyond, oldest = 0, nil
local function look(id)
  if not later(id, cur) then return end
  local entry = call('XRANGE', stream, id, id)[1]
  if entry and is_wanted(wants, type_of(entry[2])) then beyond = beyond + 1 end
end
for _, id in ipairs(call('SMEMBERS', prefix .. 'ahead:' .. handler .. ':' .. lane)) do look(id) end
for _, id in ipairs(call('HKEYS', prefix .. 'open:' .. handler .. ':' .. lane)) do
  look(id)
  if not oldest or later(oldest, id) then oldest = id end
end
local state = lane_state(lane)
call('HSET', passed, 'n', wanted_sum(wants, lane) - (counted - n), 'cur', cur, 'beyond', beyond,
  'uncounted', state.uncounted)
call('HDEL', passed, 'pos', 'counted')
-- An event after the cursor may be older than an open one after the cursor.
if oldest and not later(oldest, cur) then call('HSET', passed, 'oldest', oldest) end
return {'done', looked}
