#!lua flags=allow-oom
-- Note the totals of this minute, unless they are noted, and forget the minutes that are too old. What was accepted and
-- handled in this minute also goes into the history of a day, which `minute_history.py` reads; the attempts of the last
-- minutes, and how many of them failed, into `attempted`, which `rates.py` reads.
-- ARGV: prefix, minutes to keep
prefix = take()
local kept, now = take_number(), now_ms()
local minutes, minute = prefix .. 'minutes', math.floor(now / 60000)
local row = {string.format('%d', now)}
for _, total in ipairs({'accepted', 'duplicates', 'quarantined'}) do
  row[#row + 1] = call('HGET', prefix .. 'counts', total) or '0'
end
if call('HSETNX', minutes, string.format('%d', minute), table.concat(row, ' ')) == 0 then return end
for _, field in ipairs(call('HKEYS', minutes)) do
  -- A minute from the future is one from before the clock of Redis went back.
  local noted = number_of(field)
  if not noted or math.abs(minute - noted) > kept then call('HDEL', minutes, field) end
end

-- The history. `minuted` has the totals of the last note, and `minutes:<six hours>` three bytes per minute for each
-- name: how many in that minute, 0xFFFFFF where that is unknown. What went wrong at a handler has three bytes for each
-- five minutes, under its name and `!`.
local CHUNK, SLOT, LIFE_S, MOST_NAMES, HANDLERS, LEAST_MS, RECENT = 360, 5, 30 * 3600, 128, 50, 15000, 5
local UNKNOWN = '\255\255\255'
local last, all = {}, call('HGETALL', prefix .. 'minuted')
for i = 1, #all, 2 do last[all[i]] = number_of(all[i + 1]) end
local took = last['@'] and now - last['@']
if took and took >= 0 and took < LEAST_MS then return end -- too short for a rate; the next minute has it

local put = {'@', string.format('%d', now)}
local function grown(name, total)
  put[#put + 1] = name
  put[#put + 1] = total
  local by = took and took > 0 and last[name] and total - last[name]
  return by and by >= 0 and by or nil
end
local function per_minute(by)
  if not by then return nil end
  local rate = math.floor(by * 60000 / took + 0.5)
  return by > 0 and math.max(1, rate) or 0
end

local chunk = prefix .. 'minutes:' .. string.format('%d', math.floor(minute / CHUNK))
-- Add a number to its place; one place is for some minutes. An unknown number leaves the place as it is.
local function write(name, count, minutes_each)
  local place = 3 * math.floor(minute % CHUNK / minutes_each)
  local packed = call('HGET', chunk, name) or ''
  if packed == '' and call('HLEN', chunk) >= MOST_NAMES then return end
  local before, at_place = string.sub(packed, 1, place), string.sub(packed, place + 1, place + 3)
  if minutes_each == 1 or #at_place < 3 then at_place = UNKNOWN end
  if count then
    local high, middle, low = string.byte(at_place, 1, 3)
    if at_place ~= UNKNOWN then count = count + high * 65536 + middle * 256 + low end
    count = math.min(count, 0xFFFFFE)
    at_place = string.char(math.floor(count / 65536), math.floor(count / 256) % 256, count % 256)
  end
  call('HSET', chunk, name, before .. string.rep(UNKNOWN, (place - #before) / 3) .. at_place)
end

write('+', per_minute(grown('+', count_of(call('HGET', prefix .. 'counts', 'accepted')))), 1)
local handlers, handled = call('HKEYS', prefix .. 'newest'), nil
local earlier, attempted, rows_before = {}, {}, call('HGETALL', prefix .. 'attempted')
for i = 1, #rows_before, 2 do earlier[rows_before[i]] = rows_before[i + 1] end
-- The last minutes of a handler, each `attempts/failed`, the newest at the end.
local function note_attempts(handler, by, failed_by)
  if not by or not failed_by then return end
  local rows = {}
  for row in string.gmatch(earlier[handler] or '', '%S+') do rows[#rows + 1] = row end
  if #rows >= RECENT then table.remove(rows, 1) end
  rows[#rows + 1] = string.format('%d/%d', by, failed_by)
  attempted[#attempted + 1] = handler
  attempted[#attempted + 1] = table.concat(rows, ' ')
end
table.sort(handlers)
for i, handler in ipairs(handlers) do
  local total = 0
  local counts = redis.pcall('HMGET', prefix .. 'stats:' .. handler,
    'done', 'skipped', 'filtered', 'superseded', 'dead', 'retried')
  for n = 1, 5 do total = total + count_of(counts[n]) end
  local retried = count_of(counts[6])
  local failed_by = grown(handler .. '!', count_of(counts[5]) + retried)
  note_attempts(handler, grown('*' .. handler, total + retried), failed_by)
  local by = grown(handler, total)
  if by then handled = (handled or 0) + by end
  if i <= HANDLERS then
    write(handler, per_minute(by), 1)
    write(handler .. '!', per_minute(failed_by), SLOT)
  end
end
write('=', per_minute(handled), 1)
call('EXPIRE', chunk, LIFE_S)
local function replace(name, fields)
  call('DEL', prefix .. name)
  for i = 1, #fields, 2 do call('HSET', prefix .. name, fields[i], fields[i + 1]) end
end
replace('minuted', put)
replace('attempted', attempted)
call('EXPIRE', prefix .. 'attempted', 60 * RECENT * 2)
