#!lua flags=allow-oom,no-writes
-- A page of the open records of one entity at one (handler, lane), without the bodies.
-- ARGV: prefix, handler, lane, cursor (0 to begin), how many to read, key
-- Returns: next cursor (0 = that was all), then id, record without body, bytes of the body.
prefix = take()
local open = prefix .. 'open:' .. take() .. ':' .. take()
local cursor, reads, key = take(), take(), take()
local page = call('HSCAN', open, cursor, 'COUNT', reads)
local found = {page[1]}
for i = 1, #page[2], 2 do
  local record = page[2][i + 1]
  local head = string.match(record, '^[^\n]*\n') or ''
  local read, fields = pcall(cjson.decode, head)
  if read and fields.key == key then
    found[#found + 1] = page[2][i]
    found[#found + 1] = head
    found[#found + 1] = #record - #head
  end
end
return found
