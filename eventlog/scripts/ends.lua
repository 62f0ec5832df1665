#!lua flags=allow-oom,no-writes
-- Ends of the deliveries of one entity or event to one handler, from a part of its history; others are left out.
-- ARGV: prefix, handler, lane, id to begin at, 'on' or 'back', most entries to read, packed id of the event (8 bytes) or
--   hash of the entity's key (4 bytes), most bytes to return; beyond them, deliveries are returned without their text.
--   For an event, 'around' reads where its delivery ended if deliveries ended in order, not before the id.
-- Returns: last id that was read ('' = none), whether that was all, then id of the entry, packed deliveries.
-- An entry is packed as `history.py` says: 8 bytes id, 4 bytes hash, 1 byte outcome, and from 128 on a text.
prefix = take()
local stream = prefix .. 'history:' .. take() .. ':' .. take()
local from, way, looks, sought, most = take(), take(), take_number(), take(), take_number()
local HEAD = 13
local first = #sought == 8 and 0 or 8 -- where in a delivery it is

-- Place and size of each delivery of an entry.
local function each_delivery(packed)
  local at, size = 1, 0
  return function()
    at, size = at + size, HEAD
    if at + HEAD - 1 > #packed then return nil end
    if string.byte(packed, at + HEAD - 1) >= 128 then
      local a, b, c, d = string.byte(packed, at + HEAD, at + HEAD + 3)
      if not d then return nil end
      size = HEAD + 4 + ((a * 256 + b) * 256 + c) * 256 + d
    end
    return at, size
  end
end

local function packed_of(entry)
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 'd' then return entry[2][i + 1] end
  end
  return ''
end

local function sought_in(packed, with_text)
  local found = {}
  for at, size in each_delivery(packed) do
    if string.sub(packed, at + first, at + first + #sought - 1) == sought then
      local outcome = string.byte(packed, at + HEAD - 1) % 128
      found[#found + 1] = with_text and string.sub(packed, at, at + size - 1)
        or string.sub(packed, at, at + HEAD - 2) .. string.char(outcome)
    end
  end
  return table.concat(found)
end

local answer, looked, bytes = {'', 0}, 0, 0
local function read(goes_on, until_looked)
  local at = from
  while looked < until_looked and bytes < most do
    local size = math.min(100, until_looked - looked)
    local page = goes_on and call('XRANGE', stream, at, '+', 'COUNT', size)
      or call('XREVRANGE', stream, at, '-', 'COUNT', size)
    for _, entry in ipairs(page) do
      answer[1], looked = entry[1], looked + 1
      local packed = packed_of(entry)
      if string.find(packed, sought, 1, true) then
        local own = sought_in(packed, true)
        if bytes + #own > most then own = sought_in(packed, false) end
        if own ~= '' then
          answer[#answer + 1] = entry[1]
          answer[#answer + 1] = own
        end
        bytes = bytes + #own
      end
    end
    if #page < size then
      answer[2] = 1
      return
    end
    at = '(' .. answer[1]
  end
end

-- The first 6 bytes of an id: the time, and the first bits of the number.
local function place_of(packed, at)
  local a, b, c, d, e, f = string.byte(packed, at, at + 5)
  return ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f
end

-- The time from which on entries hold the event or later ones. Some entries are read each time, since those of retries
-- hold only older ones.
local function crossing()
  local last, place = call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1], place_of(sought, 1)
  local low, high = parts(from .. '-0'), last and parts(last[1]) or 0
  while high - low > 1 do
    local middle, is_beyond = math.floor((low + high) / 2), false
    for _, entry in ipairs(call('XRANGE', stream, string.format('%d', middle), '+', 'COUNT', 20)) do
      local packed = packed_of(entry)
      for at in each_delivery(packed) do is_beyond = is_beyond or place_of(packed, at) >= place end
    end
    if is_beyond then high = middle else low = middle end
  end
  return string.format('%d', high)
end

if way == 'around' then
  from = crossing()
  read(true, math.ceil(looks / 2))
  from = '(' .. from .. '-0'
  read(false, looks)
  answer[2] = 0
else
  read(way == 'on', looks)
end
return answer
