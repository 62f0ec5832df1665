#!lua flags=allow-oom
-- Learn how many events usually arrive in each hour of the week, and notice when none arrive for too long.
-- The hash `usual` has: at, count (the last look); hour, got, watched (the present hour, its events, ms observed);
--   w<0-167>, d<0-23> (usual events of an hour of the week, of the day); since, expected, silent (since when none arrived,
--   how many should have, 1 = reported).
-- ARGV: prefix, longest pause between two looks (ms), receivers beat within (ms), silent after (ms), silent after so many
--   missing events
-- Returns: 1 when silence began, -1 when it ended, else 0; for how long none arrived (ms); how many should have (text).
prefix = take()
local longest_ms, beat_ms, after_ms, after_events = take_number(), take_number(), take_number(), take_number()
local HOUR_MS, WHOLE_HOUR, NEWEST_SHARE = 3600000, 0.8, 0.3
local usual, now = prefix .. 'usual', now_ms()
local names = {'at', 'count', 'hour', 'got', 'watched', 'since', 'expected', 'silent'}
local known = {}
for i, value in ipairs(call('HMGET', usual, unpack(names))) do known[names[i]] = number_of(value) end

local function text(number) return string.format('%.3f', number) end
local function is_open()
  for _, at in ipairs(call('HVALS', prefix .. 'door')) do
    if math.abs(now - count_of(at)) <= beat_ms then return true end
  end
  return false
end
local function fields_of(hour) return 'w' .. hour % 168, 'd' .. hour % 24 end
local function learn(hour, events)
  for _, field in ipairs({fields_of(hour)}) do
    local before = number_of(call('HGET', usual, field))
    local learned = before and before * (1 - NEWEST_SHARE) + events * NEWEST_SHARE or events
    call('HSET', usual, field, text(learned))
  end
end
local function usual_of(hour)
  local of_week, of_day = unpack(call('HMGET', usual, fields_of(hour)))
  return number_of(of_week) or count_of(of_day)
end

local counts = call('HMGET', prefix .. 'counts', 'accepted', 'reconstructed')
local count = count_of(counts[1]) - count_of(counts[2])
local hour = math.floor(now / HOUR_MS)
local elapsed = known.at and now - known.at
local got, watched, since, expected, silent = known.got or 0, known.watched or 0, known.since or now, known.expected or 0,
  known.silent or 0
if not (elapsed and known.count and known.hour) or elapsed < 0 or elapsed > longest_ms or count < known.count
    or not is_open() then
  got, watched, since, expected = 0, 0, now, 0 -- no receiver was open, so no event could arrive
else
  if hour ~= known.hour then
    if watched >= WHOLE_HOUR * HOUR_MS then learn(known.hour, got * HOUR_MS / watched) end
    got, watched = 0, 0
  end
  got, watched = got + count - known.count, watched + elapsed
  if count > known.count then
    since, expected = now, 0
  else
    expected = expected + usual_of(hour) * elapsed / HOUR_MS
  end
end
local turn = 0
if now - since >= after_ms and expected >= after_events then
  if silent == 0 then turn, silent = 1, 1 end
elseif silent == 1 then
  turn, silent = -1, 0
end
call('HSET', usual, 'at', now, 'count', count, 'hour', hour, 'got', got, 'watched', watched, 'since', since,
  'expected', text(expected), 'silent', silent)
return {turn, now - since, text(expected)}
