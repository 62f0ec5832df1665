#!lua flags=allow-oom,no-writes
-- The last event before one that has its body. No body leaves Redis.
-- ARGV: prefix, lane, id of the event, highest id to read, most to read
-- Returns: last id that was read ('' = none), whether that was all, id of the event ('' = not found).
prefix = take()
local stream, event, high, looks = prefix .. 'events:' .. take(), take(), take(), take_number()
local MOST_BYTES = 16 * 1024 * 1024

local function body_of(fields)
  for i = 1, #fields, 2 do
    if fields[i] == 'b' then return fields[i + 1] end
  end
  return ''
end

local own = call('XRANGE', stream, event, event)[1]
if not own or is_before_all(stream, high) then return {'', 1, ''} end
local body, scanned, looked, bytes = body_of(own[2]), '', 0, 0
while looked < looks and bytes < MOST_BYTES do
  local size = math.min(20, looks - looked) -- few at once: each has a body
  local page = call('XREVRANGE', stream, high, '-', 'COUNT', size)
  for _, entry in ipairs(page) do
    local other = body_of(entry[2])
    scanned, looked, bytes = entry[1], looked + 1, bytes + #other
    if other == body then return {scanned, 0, scanned} end
  end
  if #page < size then return {scanned, 1, ''} end
  high = '(' .. scanned
end
return {scanned, 0, ''}
